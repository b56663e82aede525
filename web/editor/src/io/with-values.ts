// A workflow with some inputs set to other values, by execution id and name.

import { cloneJson } from "../doc/json.ts"
import type { DocGraph, DocNode, Workflow } from "../doc/types.ts"
import { valueSlots } from "../schema/inputs.ts"
import type { ObjectInfo } from "../schema/types.ts"

export interface Setting {
  node: string
  input: string
  /** The text that the value takes the place of; without it, the value is all there is. */
  search?: string
  value: unknown
}

export function workflowWithValues(source: Workflow, settings: readonly Setting[], schemas: ObjectInfo): Workflow {
  const workflow = cloneJson(source)
  for (const { node: id, input, search, value } of settings) {
    const node = find(workflow, id)
    const info = node && schemas[node.type]
    if (!node || !info) continue
    const changed = (old: unknown) => (search && typeof old === "string" ? old.replaceAll(search, String(value)) : value)
    const stored = node.widgets_values
    if (stored && !Array.isArray(stored)) stored[input] = changed(stored[input])
    else {
      const slots = valueSlots(info)
      const at = slots.findIndex((s) => s.name === input && s.role === "value")
      const values = Array.isArray(stored) ? stored : []
      if (at >= 0) values[at] = changed(values[at])
      // A swept seed is meant to stay.
      if (slots[at + 1]?.role === "control") values[at + 1] = "fixed"
      node.widgets_values = values
    }
  }
  return workflow
}

function find(workflow: Workflow, id: string): DocNode | undefined {
  const parts = id.split(":")
  let graph: DocGraph | undefined = workflow
  let node: DocNode | undefined
  for (const part of parts) {
    node = graph?.nodes.find((n) => String(n.id) === part)
    graph = workflow.definitions?.subgraphs?.find((d) => d.id === node?.type)
  }
  return node
}
