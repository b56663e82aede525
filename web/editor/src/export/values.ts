// From a node's `widgets_values` to named values.

import type { DocNode } from "../doc/types.ts"
import { defaultValue, inputsOf, isWidget, valueSlots } from "../schema/inputs.ts"
import type { NodeInfo } from "../schema/types.ts"

export type Values = Map<string, unknown>

/** The literal values of a node's widgets by input name, in declaration order. */
export function widgetValues(node: DocNode, info: NodeInfo): Values {
  const values: Values = new Map()
  const stored = node.widgets_values
  if (stored && !Array.isArray(stored)) {
    for (const decl of inputsOf(info).filter(isWidget)) values.set(decl.name, decl.name in stored ? stored[decl.name] : defaultValue(decl))
    return values
  }
  const slots = valueSlots(info)
  slots.forEach((slot, position) => {
    if (slot.role !== "value") return
    values.set(slot.name, stored && position < stored.length ? stored[position] : defaultValue(slot.decl))
  })
  return values
}

/** An array literal would be read as a link, so it travels in a box. */
export const boxed = (value: unknown): unknown => (Array.isArray(value) ? { __value__: value } : value)
