// What the canvas library would stumble over is set right in a copy before it sees it. The file itself stays as it is.

import { cloneJson } from "./json.ts"
import type { Definition, DocGraph, DocNode, Workflow } from "./types.ts"

export function prepare(workflow: Workflow): Workflow {
  const copy = cloneJson(workflow)
  const definitions = new Map((copy.definitions?.subgraphs ?? []).map((d) => [d.id, d]))
  // Links as rows belong to version 0.4, links as objects to version 1; some files say otherwise.
  const rows = (copy.links ?? []).some(Array.isArray)
  copy.version = rows || !copy.links?.length ? 0.4 : 1
  if (copy.version === 0.4 && copy.links?.length === 0 && workflow.version === 1) copy.version = 1
  copy.links = cleanLinks(copy)
  copy.nodes = copy.nodes.map((n) => prepareNode(n, definitions))
  for (const definition of definitions.values()) {
    definition.links = cleanLinks(definition)
    definition.nodes = definition.nodes.map((n) => prepareNode(n, definitions))
  }
  return copy
}

const cleanLinks = (graph: DocGraph) => (graph.links ?? []).filter((l) => l !== null && typeof l === "object")

function prepareNode(node: DocNode, definitions: ReadonlyMap<string, Definition>): DocNode {
  node.pos = pair(node.pos, [0, 0])
  if (node.size !== undefined) node.size = pair(node.size, [210, 80])
  node.flags ??= {}
  const definition = definitions.get(node.type)
  if (definition) {
    // An instance may be older than its definition: an input that is gone cannot be shown.
    const names = new Set((definition.inputs ?? []).map((i) => i.name))
    const kept = (node.inputs ?? []).filter((i) => names.has(i.name))
    // One that came since has to be there, since links count slots.
    const had = new Set(kept.map((i) => i.name))
    const added = (definition.inputs ?? []).filter((i) => !had.has(i.name)).map((i) => ({ name: i.name, type: i.type, link: null, ...(i.label ? { label: i.label } : {}) }))
    node.inputs = [...kept, ...added]
  }
  return node
}

function pair(value: unknown, fallback: [number, number]): [number, number] {
  const v = value as Record<number, unknown> | null | undefined
  const [a, b] = [Number(v?.[0]), Number(v?.[1])]
  return Number.isFinite(a) && Number.isFinite(b) ? [a, b] : fallback
}

/** All node types a workflow uses, its definitions' included, without the definitions themselves. */
export function typesOf(workflow: Workflow): Set<string> {
  const definitions = workflow.definitions?.subgraphs ?? []
  const own = new Set(definitions.map((d) => d.id))
  const all = [workflow, ...definitions].flatMap((g) => g.nodes.map((n) => n.type))
  return new Set(all.filter((type) => !own.has(type)))
}

export const emptyWorkflow = (): Workflow => ({ last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: [], config: {}, extra: {}, version: 0.4 })
