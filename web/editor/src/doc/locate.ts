// The graph a path of instance ids leads to, in the file.

import { cloneJson } from "./json.ts"
import { type Definition, type DocGraph, type LinkObject, type LinkRow, linkObject, type NodeId, type Workflow } from "./types.ts"

export interface Located {
  /** A copy that may be changed. */
  workflow: Workflow
  graph: DocGraph
  /** Null when the graph is the workflow itself. */
  definition: Definition | null
}

export function locate(source: Workflow, path: readonly string[]): Located {
  const workflow = cloneJson(source)
  let graph: DocGraph = workflow
  let definition: Definition | null = null
  for (const id of path) {
    const instance = graph.nodes.find((n) => String(n.id) === id)
    definition = workflow.definitions?.subgraphs?.find((d) => d.id === instance?.type) ?? null
    if (!definition) throw new Error(`there is no subgraph at ${path.join(":")}`)
    graph = definition
  }
  return { workflow, graph, definition }
}

/** Definitions have links as objects; a workflow has what its version says. */
export function writeLinks(located: Located, links: LinkObject[]): void {
  const rows = !located.definition && ((located.graph.links ?? []).some(Array.isArray) || located.workflow.version !== 1)
  located.graph.links = rows ? links.map((l): LinkRow => [l.id, l.origin_id, l.origin_slot, l.target_id, l.target_slot, l.type]) : links
}

export const readLinks = (graph: DocGraph): LinkObject[] => (graph.links ?? []).filter(Boolean).map((l) => ({ ...linkObject(l) }))

/** Ids that are free in this graph, and the counters the file keeps of them. */
export class Ids {
  private node: number
  private link: number
  constructor(private readonly located: Located) {
    const { graph } = located
    const state = (graph.state ?? {}) as { lastNodeId?: number; lastLinkId?: number }
    const number = (id: NodeId) => (Number.isFinite(Number(id)) ? Number(id) : 0)
    this.node = Math.max(0, Number(graph.last_node_id ?? 0), state.lastNodeId ?? 0, ...graph.nodes.map((n) => number(n.id)))
    this.link = Math.max(0, Number(graph.last_link_id ?? 0), state.lastLinkId ?? 0, ...readLinks(graph).map((l) => l.id))
  }
  nextNode = () => ++this.node
  nextLink = () => ++this.link

  write(): void {
    const { graph } = this.located
    if ("last_node_id" in graph) graph.last_node_id = this.node
    if ("last_link_id" in graph) graph.last_link_id = this.link
    if (graph.state) Object.assign(graph.state, { lastNodeId: this.node, lastLinkId: this.link })
  }
}

/** Sets every slot's record of its links from the links themselves, which are the truth. */
export function relink(graph: DocGraph): void {
  const links = readLinks(graph)
  for (const node of graph.nodes) {
    node.inputs?.forEach((input, slot) => {
      input.link = links.find((l) => String(l.target_id) === String(node.id) && l.target_slot === slot)?.id ?? null
    })
    node.outputs?.forEach((output, slot) => {
      output.links = links.filter((l) => String(l.origin_id) === String(node.id) && l.origin_slot === slot).map((l) => l.id)
    })
  }
}

export function bounds(nodes: readonly { pos: unknown; size?: unknown }[]): { x: number; y: number; width: number; height: number } {
  const xs = nodes.map((n) => Number((n.pos as number[])[0]))
  const ys = nodes.map((n) => Number((n.pos as number[])[1]))
  const right = nodes.map((n, i) => xs[i]! + Number((n.size as number[] | undefined)?.[0] ?? 200))
  const lower = nodes.map((n, i) => ys[i]! + Number((n.size as number[] | undefined)?.[1] ?? 100))
  const [x, y] = [Math.min(...xs), Math.min(...ys)]
  return { x, y, width: Math.max(...right) - x, height: Math.max(...lower) - y }
}
