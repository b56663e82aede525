// Turns some nodes of a graph into a subgraph, computed on the file: what goes in and what comes out becomes its slots.

import { bounds, Ids, locate, readLinks, relink, writeLinks } from "./locate.ts"
import { type Definition, type DocNode, type LinkObject, type NodeId, SUBGRAPH_INPUT, SUBGRAPH_OUTPUT, type SubgraphSlot, type Workflow } from "./types.ts"

export function makeSubgraph(source: Workflow, path: readonly string[], ids: readonly NodeId[], name: string): Workflow {
  const located = locate(source, path)
  const { workflow, graph } = located
  const chosen = new Set(ids.map(String))
  const inner = graph.nodes.filter((n) => chosen.has(String(n.id)))
  if (inner.length === 0) throw new Error("no nodes are selected")
  const links = readLinks(graph)
  const isInner = (id: NodeId) => chosen.has(String(id))

  const ids_ = new Ids(located)
  const instanceId = ids_.nextNode()
  const innerLinks: LinkObject[] = links.filter((l) => isInner(l.origin_id) && isInner(l.target_id))
  const outerLinks: LinkObject[] = links.filter((l) => !isInner(l.origin_id) && !isInner(l.target_id))
  const inputs: SubgraphSlot[] = []
  const outputs: SubgraphSlot[] = []
  // Everything fed by the same output shares one input.
  const inputFor = new Map<string, number>()
  const outputFor = new Map<string, number>()

  for (const link of links) {
    if (isInner(link.target_id) && !isInner(link.origin_id)) {
      const key = `${link.origin_id}.${link.origin_slot}`
      const target = inner.find((n) => String(n.id) === String(link.target_id))!
      let slot = inputFor.get(key)
      if (slot === undefined) {
        const wanted = target.inputs?.[link.target_slot]
        slot = inputs.push({ id: uuid(), name: unique(wanted?.label ?? wanted?.name ?? "input", inputs), type: typeName(wanted?.type ?? link.type), linkIds: [] }) - 1
        inputFor.set(key, slot)
        outerLinks.push({ id: ids_.nextLink(), origin_id: link.origin_id, origin_slot: link.origin_slot, target_id: instanceId, target_slot: slot, type: link.type })
      }
      innerLinks.push({ ...link, origin_id: SUBGRAPH_INPUT, origin_slot: slot })
      inputs[slot]!.linkIds!.push(link.id)
    }
    if (isInner(link.origin_id) && !isInner(link.target_id)) {
      const key = `${link.origin_id}.${link.origin_slot}`
      const origin = inner.find((n) => String(n.id) === String(link.origin_id))!
      let slot = outputFor.get(key)
      if (slot === undefined) {
        const given = origin.outputs?.[link.origin_slot]
        slot = outputs.push({ id: uuid(), name: unique(given?.label ?? given?.name ?? "output", outputs), type: typeName(given?.type ?? link.type), linkIds: [] }) - 1
        outputFor.set(key, slot)
        const id = ids_.nextLink()
        innerLinks.push({ id, origin_id: link.origin_id, origin_slot: link.origin_slot, target_id: SUBGRAPH_OUTPUT, target_slot: slot, type: link.type })
        outputs[slot]!.linkIds!.push(id)
      }
      outerLinks.push({ ...link, origin_id: instanceId, origin_slot: slot })
    }
  }

  const box = bounds(inner)
  const definition: Definition = {
    id: uuid(),
    version: 1,
    state: { lastGroupId: 0, lastNodeId: Math.max(0, ...inner.map((n) => Number(n.id) || 0)), lastLinkId: Math.max(0, ...innerLinks.map((l) => l.id)), lastRerouteId: 0 },
    revision: 0,
    config: {},
    name,
    inputNode: { id: SUBGRAPH_INPUT, bounding: [box.x - 200, box.y, 120, 60 + inputs.length * 20] },
    outputNode: { id: SUBGRAPH_OUTPUT, bounding: [box.x + box.width + 80, box.y, 120, 60 + outputs.length * 20] },
    inputs,
    outputs,
    widgets: [],
    nodes: inner,
    groups: [],
    links: innerLinks,
    extra: {},
  }
  const instance: DocNode = {
    id: instanceId,
    type: definition.id,
    pos: [box.x + box.width / 2 - 110, box.y + box.height / 2 - 50],
    size: [220, 60 + Math.max(inputs.length, outputs.length) * 20],
    flags: {},
    order: 0,
    mode: 0,
    inputs: inputs.map((s) => ({ name: s.name, type: s.type, link: null })),
    outputs: outputs.map((s) => ({ name: s.name, type: s.type, links: [] })),
    title: name,
    properties: {},
    widgets_values: [],
  }
  graph.nodes = [...graph.nodes.filter((n) => !isInner(n.id)), instance]
  writeLinks(located, outerLinks)
  relink(graph)
  relink(definition)
  ids_.write()
  workflow.definitions = { ...workflow.definitions, subgraphs: [...(workflow.definitions?.subgraphs ?? []), definition] }
  return workflow
}

const typeName = (type: unknown) => (Array.isArray(type) ? "COMBO" : String(type))

function unique(name: string, slots: readonly SubgraphSlot[]): string {
  const taken = new Set(slots.map((s) => s.name))
  if (!taken.has(name)) return name
  for (let i = 1; ; i++) if (!taken.has(`${name}_${i}`)) return `${name}_${i}`
}

/** A random id in the form the file format uses. */
export function uuid(): string {
  const b = crypto.getRandomValues(new Uint8Array(16))
  b[6] = (b[6]! & 0x0f) | 0x40
  b[8] = (b[8]! & 0x3f) | 0x80
  const hex = [...b].map((x) => x.toString(16).padStart(2, "0")).join("")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
