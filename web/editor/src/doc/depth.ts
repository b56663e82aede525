// Which node lies over which. A press on a node brings it to the front, and the library writes its nodes in that order; alone,
// that is no change that people made: it is no step to undo, and nothing to save.

import { jsonEqual } from "./equal.ts"

interface Graph {
  nodes?: { id: unknown }[]
  definitions?: { subgraphs?: Graph[] }
}

export function differInDepthOnly(a: unknown, b: unknown): boolean {
  const [x, y] = [a as Graph, b as Graph]
  return x?.nodes?.length === y?.nodes?.length && jsonEqual(byId(x), byId(y))
}

const byId = (graph: Graph): Graph => ({
  ...graph,
  ...(graph.nodes ? { nodes: [...graph.nodes].sort((a, b) => (String(a.id) < String(b.id) ? -1 : 1)) } : {}),
  ...(graph.definitions?.subgraphs ? { definitions: { ...graph.definitions, subgraphs: graph.definitions.subgraphs.map(byId) } } : {}),
})
