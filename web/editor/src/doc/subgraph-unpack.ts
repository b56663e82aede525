// Puts the inside of a subgraph instance in its place. The definition goes when nothing uses it any more.

import { bounds, Ids, locate, readLinks, relink, writeLinks } from "./locate.ts"
import { cloneJson } from "./json.ts"
import { type Definition, type DocGraph, type DocNode, type LinkObject, type NodeId, SUBGRAPH_INPUT, SUBGRAPH_OUTPUT, type Workflow } from "./types.ts"

export function unpackSubgraph(source: Workflow, path: readonly string[], id: NodeId): Workflow {
  const located = locate(source, path)
  const { workflow, graph } = located
  const instance = graph.nodes.find((n) => String(n.id) === String(id))
  const definition = workflow.definitions?.subgraphs?.find((d) => d.id === instance?.type)
  if (!instance || !definition) throw new Error("this node is no subgraph")

  const ids = new Ids(located)
  const links = readLinks(graph)
  const innerLinks = readLinks(definition)
  const newId = new Map(definition.nodes.map((n) => [String(n.id), ids.nextNode()]))
  const nodes = placed(definition, instance).map((n) => ({ ...n, id: newId.get(String(n.id))! }))
  giveInstanceValues(definition, instance, nodes, newId)

  const added: LinkObject[] = []
  const connect = (origin_id: NodeId, origin_slot: number, target_id: NodeId, target_slot: number, type: LinkObject["type"]) =>
    added.push({ id: ids.nextLink(), origin_id, origin_slot, target_id, target_slot, type })
  /** What feeds an input of the instance from outside; slots of instance and definition are matched by name. */
  const feeding = (slot: number) => {
    const name = definition.inputs?.[slot]?.name
    const at = (instance.inputs ?? []).findIndex((i) => i.name === name)
    return links.find((l) => String(l.target_id) === String(instance.id) && l.target_slot === at)
  }
  const taking = (slot: number) => links.filter((l) => String(l.origin_id) === String(instance.id) && l.origin_slot === slot)

  for (const link of innerLinks) {
    const fromInput = Number(link.origin_id) === SUBGRAPH_INPUT
    const toOutput = Number(link.target_id) === SUBGRAPH_OUTPUT
    const outside = fromInput ? feeding(link.origin_slot) : undefined
    if (fromInput && !outside) continue
    const origin = fromInput ? { id: outside!.origin_id, slot: outside!.origin_slot } : { id: newId.get(String(link.origin_id))!, slot: link.origin_slot }
    if (toOutput) for (const out of taking(link.target_slot)) connect(origin.id, origin.slot, out.target_id, out.target_slot, out.type)
    else connect(origin.id, origin.slot, newId.get(String(link.target_id))!, link.target_slot, link.type)
  }

  graph.nodes = [...graph.nodes.filter((n) => n !== instance), ...nodes]
  writeLinks(located, [...links.filter((l) => String(l.origin_id) !== String(instance.id) && String(l.target_id) !== String(instance.id)), ...added])
  relink(graph)
  ids.write()
  dropUnused(workflow)
  return workflow
}

/** The inner nodes, moved so that their middle is where the instance was. */
function placed(definition: Definition, instance: DocNode): DocNode[] {
  const nodes = cloneJson(definition.nodes)
  if (nodes.length === 0) return nodes
  const from = bounds(nodes)
  const at = bounds([instance])
  const [dx, dy] = [at.x + at.width / 2 - from.x - from.width / 2, at.y + at.height / 2 - from.y - from.height / 2]
  for (const node of nodes) {
    const pos = node.pos as [number, number]
    node.pos = [Math.round(Number(pos[0]) + dx), Math.round(Number(pos[1]) + dy)]
  }
  return nodes
}

/** Values that were set on the instance go to the inner widgets they stood for. */
function giveInstanceValues(definition: Definition, instance: DocNode, nodes: DocNode[], newId: Map<string, number>): void {
  const values = instance.widgets_values
  if (!Array.isArray(values)) return
  let position = 0
  for (const input of definition.inputs ?? []) {
    const targets = (input.linkIds ?? []).flatMap((linkId) => {
      const link = readLinks(definition).find((l) => l.id === linkId)
      const node = link && nodes.find((n) => n.id === newId.get(String(link.target_id)))
      const slot = link && node?.inputs?.[link.target_slot]
      return node && slot?.widget ? [{ node, name: slot.widget.name }] : []
    })
    if (targets.length === 0) continue
    const value = values[position++]
    if (value === undefined) continue
    for (const { node, name } of targets) {
      // Widgets are positional; inputs that are widgets come in the same order.
      const at = (node.inputs ?? []).filter((i) => i.widget).findIndex((i) => i.widget!.name === name)
      if (Array.isArray(node.widgets_values) && at >= 0 && at < node.widgets_values.length && !followsControl(node, at)) node.widgets_values[at] = value
    }
  }
}

const CONTROL = new Set(["fixed", "increment", "decrement", "randomize"])

/** A control widget before this one shifts positions, so the value stays with the inner node rather than land wrong. */
const followsControl = (node: DocNode, at: number) => (node.widgets_values as unknown[]).slice(0, at + 1).some((v) => typeof v === "string" && CONTROL.has(v))

function dropUnused(workflow: Workflow): void {
  const all = workflow.definitions?.subgraphs
  if (!all) return
  const used = new Set<string>()
  const visit = (graph: DocGraph) => {
    for (const node of graph.nodes) {
      const definition = all.find((d) => d.id === node.type)
      if (!definition || used.has(definition.id)) continue
      used.add(definition.id)
      visit(definition)
    }
  }
  visit(workflow)
  workflow.definitions!.subgraphs = all.filter((d) => used.has(d.id))
  if (workflow.definitions!.subgraphs.length === 0 && Object.keys(workflow.definitions!).length === 1) delete workflow.definitions
}
