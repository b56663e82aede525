// Makes the server's nodes, and the subgraphs of the open workflow, known to the canvas library.

import { type LGraph, LiteGraph, type Subgraph, SubgraphNode } from "@comfyorg/litegraph"
import type { ObjectInfo } from "../schema/types.ts"
import { nodeClass, unknownClass, watchState } from "./node.ts"
import { registerVirtualNodes } from "./virtual.ts"

export function registerNodes(schemas: ObjectInfo): void {
  registerVirtualNodes()
  for (const [type, info] of Object.entries(schemas)) {
    // Reroute and its kin are the editor's own even when a server lists them.
    if (type in VIRTUAL) continue
    const made = nodeClass(info)
    LiteGraph.registerNodeType(type, made as any)
    ;(made as any).category = info.category ?? ""
  }
}

const VIRTUAL = { Note: 1, MarkdownNote: 1, Reroute: 1, PrimitiveNode: 1 }

/** Types of a workflow that nothing is registered for get a stand-in. Answers their names. */
export function registerUnknown(types: Iterable<string>): string[] {
  const unknown: string[] = []
  for (const type of new Set(types)) {
    const known = LiteGraph.registered_node_types[type] as any
    if (known && !known.standIn) continue
    if (!known) {
      const made = unknownClass(type)
      ;(made as any).standIn = true
      LiteGraph.registerNodeType(type, made as any)
    }
    unknown.push(type)
  }
  return unknown
}

/** A subgraph's definition is a node type, for as long as its workflow is open. */
export function registerSubgraph(graph: LGraph, subgraph: Subgraph): void {
  const instanceData = { id: -1, type: subgraph.id, pos: [0, 0], size: [200, 80], flags: {}, order: 0, mode: 0, inputs: [], outputs: [] }
  class Instance extends SubgraphNode {
    static override title = subgraph.name
    constructor() {
      super(graph, subgraph, instanceData as any)
      this.serialize_widgets = true
      // The library's button shows a glyph of an icon font that is not here.
      this.title_buttons.length = 0
      this.addTitleButton({ name: "enter_subgraph", text: "⤢", yOffset: 0, xOffset: -8, fontSize: 16 } as any)
      watchState(this)
    }
  }
  LiteGraph.registerNodeType(subgraph.id, Instance as any)
  ;(Instance as any).category = "subgraphs"
  ;(Instance as any).isSubgraph = true
}
