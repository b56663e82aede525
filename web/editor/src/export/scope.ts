// A scope is one graph as it is reached: the workflow itself, or a definition through the instance that stands for it.

import type { Definition, DocGraph, DocNode, LinkObject, NodeId, Workflow } from "../doc/types.ts"
import { linkObject } from "../doc/types.ts"

export class Scope {
  readonly nodes = new Map<string, DocNode>()
  readonly links = new Map<number, LinkObject>()
  private readonly children = new Map<string, Scope>()

  constructor(
    readonly graph: DocGraph,
    readonly definitions: ReadonlyMap<string, Definition>,
    /** The ids of the instances on the way in; empty for the workflow itself. */
    readonly path: string,
    readonly parent: Scope | null,
    readonly instance: DocNode | null,
  ) {
    for (const node of graph.nodes) this.nodes.set(String(node.id), node)
    for (const link of graph.links ?? []) {
      if (!link) continue
      const object = linkObject(link)
      this.links.set(object.id, object)
    }
  }

  static root(workflow: Workflow): Scope {
    const definitions = new Map((workflow.definitions?.subgraphs ?? []).map((d) => [d.id, d]))
    return new Scope(workflow, definitions, "", null, null)
  }

  id(node: NodeId): string {
    return this.path ? `${this.path}:${node}` : String(node)
  }

  definition(node: DocNode): Definition | undefined {
    return this.definitions.get(node.type)
  }

  /** The inside of an instance. A definition that contains itself is an error in the file, not an endless walk. */
  enter(node: DocNode): Scope {
    const key = String(node.id)
    const known = this.children.get(key)
    if (known) return known
    const definition = this.definition(node)
    if (!definition) throw new Error(`node ${this.id(node.id)} is not a subgraph`)
    for (let up: Scope | null = this; up; up = up.parent) {
      if (up.graph === definition) throw new Error(`subgraph "${definition.name ?? definition.id}" contains itself (node ${this.id(node.id)})`)
    }
    const child = new Scope(definition, this.definitions, this.id(node.id), this, node)
    this.children.set(key, child)
    return child
  }
}
