// Widgets of nodes inside a subgraph that its instance shows as well, as newer front ends list them in
// `properties.proxyWidgets`: pairs of a node inside and a widget of it. There is one value, and it lives inside.

import { BaseWidget, type LGraph, type LGraphNode, type Subgraph, type SubgraphNode } from "@comfyorg/litegraph"

/** Shows the listed widgets on every instance, those deep inside first: an instance may show what one inside it shows. */
export function showProxies(graph: LGraph): void {
  const done = new Set<LGraph | Subgraph>()
  const visit = (where: LGraph | Subgraph): void => {
    if (done.has(where)) return
    done.add(where)
    for (const node of where.nodes) {
      if (!node.isSubgraphNode()) continue
      visit(node.subgraph)
      addProxies(node)
    }
  }
  visit(graph)
}

/** The pairs of an instance, as far as they are pairs. */
export function proxiesOf(node: { properties?: Record<string, unknown> }): [string, string][] {
  const listed = node.properties?.proxyWidgets
  if (!Array.isArray(listed)) return []
  return listed.filter((pair): pair is [string | number, string] => Array.isArray(pair) && pair.length >= 2 && typeof pair[1] === "string").map(([id, name]) => [String(id), name])
}

function addProxies(instance: SubgraphNode): void {
  const already = linkedWidgets(instance)
  for (const [id, name] of proxiesOf(instance)) {
    const inner = instance.subgraph.getNodeById(id) ?? instance.subgraph.getNodeById(Number(id))
    const source = inner?.widgets?.find((w) => w.name === name)
    if (!inner || !(source instanceof BaseWidget) || already.has(`${inner.id}.${name}`)) continue
    instance.widgets.push(proxy(instance, inner, source))
  }
}

function proxy(instance: SubgraphNode, inner: LGraphNode, source: BaseWidget): BaseWidget {
  const shown = source.createCopyForNode(instance as never) as BaseWidget & { linkedWidgets?: unknown }
  delete shown.linkedWidgets
  Object.defineProperties(shown, {
    value: {
      configurable: true,
      get: () => source.value,
      set: (value) => {
        source.value = value
      },
    },
    label: { configurable: true, value: source.label ?? source.name },
    // Its value is in the file already, with the node inside.
    serialize: { value: false },
    callback: { value: (value: unknown) => source.callback?.(value as never, undefined as never, inner) },
  })
  return shown
}

/** What the instance's own inputs show: `node.widget` inside. */
function linkedWidgets(instance: SubgraphNode): Set<string> {
  const linked = new Set<string>()
  for (const slot of instance.subgraph.inputNode.slots) {
    for (const id of slot.linkIds) {
      const link = instance.subgraph.getLink(id)
      const target = link && instance.subgraph.getNodeById(link.target_id)
      const name = target?.inputs[link!.target_slot]?.widget?.name
      if (name) linked.add(`${target!.id}.${name}`)
    }
  }
  return linked
}
