// Follows a link backwards through whatever runs nothing: reroutes, primitives, bypassed nodes, the walls of subgraphs.

import type { DocNode, LinkObject } from "../doc/types.ts"
import { Mode, SUBGRAPH_INPUT } from "../doc/types.ts"
import { typesMatch } from "../schema/match.ts"
import type { Scope } from "./scope.ts"

/** Where an input's value comes from in the end. */
export type Source = { kind: "link"; id: string; slot: number } | { kind: "value"; value: unknown } | { kind: "none" } | { kind: "unset" }

const NONE: Source = { kind: "none" }
/** Nothing is connected and nothing is said, so the input keeps its own value. */
const UNSET: Source = { kind: "unset" }

/** Far beyond any real chain; a loop of reroutes ends here instead of never. */
const MAX_HOPS = 2000

export function followLink(scope: Scope, linkId: number, hops = 0): Source {
  const link = scope.links.get(linkId)
  return link ? followOutput(scope, link, link.type, hops) : NONE
}

function followOutput(scope: Scope, link: LinkObject, wanted: unknown, hops: number): Source {
  if (hops > MAX_HOPS) return NONE
  if (Number(link.origin_id) === SUBGRAPH_INPUT) return followInstanceInput(scope, link.origin_slot, hops + 1)
  const node = scope.nodes.get(String(link.origin_id))
  if (!node) return NONE
  if (node.mode === Mode.muted) return NONE
  if (node.mode === Mode.bypassed) return bypass(scope, node, link.origin_slot, wanted, hops)
  if (node.type === "Reroute") {
    const input = node.inputs?.[0]
    return input?.link != null ? followLink(scope, input.link, hops + 1) : NONE
  }
  if (node.type === "PrimitiveNode") return { kind: "value", value: Array.isArray(node.widgets_values) ? node.widgets_values[0] : undefined }
  const definition = scope.definition(node)
  if (!definition) return { kind: "link", id: scope.id(node.id), slot: link.origin_slot }
  const inner = scope.enter(node)
  const innerLink = definition.outputs?.[link.origin_slot]?.linkIds?.[0]
  return innerLink === undefined ? NONE : followLink(inner, innerLink, hops + 1)
}

/** From inside a subgraph through its input to what feeds the instance. */
function followInstanceInput(scope: Scope, slot: number, hops: number): Source {
  const { parent, instance } = scope
  if (!parent || !instance) return NONE
  const declared = scope.parent!.definition(instance)?.inputs ?? []
  const name = declared[slot]?.name
  const inputs = instance.inputs ?? []
  const input = inputs.find((i) => i.name === name)
  if (input?.link != null) {
    const from = followLink(parent, input.link, hops)
    return from.kind === "none" && input.widget ? UNSET : from
  }
  return promotedValue(scope, slot)
}

/**
 * The value an instance gives to an input that shows a widget. `widgets_values` of the instance are positional over its
 * promoted widgets, that is over those inputs of the definition that end in a widget. A list of another length was
 * written by a front end that keeps the values inside, so the inner values stand.
 */
function promotedValue(scope: Scope, slot: number): Source {
  const instance = scope.instance!
  const values = instance.widgets_values
  const declared = scope.parent!.definition(instance)?.inputs ?? []
  const promoted = declared.map((_, index) => index).filter((index) => endsInWidget(scope, index))
  const position = promoted.indexOf(slot)
  if (position < 0) return NONE
  if (!Array.isArray(values) || position >= values.length) return UNSET
  // Only a value the instance was loaded with at the top level counts: inside a definition, instances share the
  // definition's widgets and the inner value is the one that runs.
  if (scope.parent!.parent) return UNSET
  return { kind: "value", value: values[position] }
}

function endsInWidget(scope: Scope, slot: number): boolean {
  const declared = scope.parent!.definition(scope.instance!)?.inputs?.[slot]
  return (declared?.linkIds ?? []).some((id) => {
    const link = scope.links.get(id)
    if (!link) return false
    const target = scope.nodes.get(String(link.target_id))
    return target?.inputs?.[link.target_slot]?.widget !== undefined
  })
}

/** Which input stands in for an output of a bypassed node. */
export function bypassInput(node: DocNode, slot: number, wanted: unknown): number {
  const inputs = node.inputs ?? []
  if (inputs.length === 0) return -1
  if (wanted === "*" || wanted === "" || wanted === 0) return slot < inputs.length ? slot : 0
  const output = node.outputs?.[slot]
  const opposite = inputs[slot]
  if (opposite && output && typesMatch(opposite.type, output.type) && typesMatch(opposite.type, wanted)) return slot
  const exact = inputs.findIndex((i) => i.type === wanted)
  return exact >= 0 ? exact : inputs.findIndex((i) => typesMatch(i.type, wanted))
}

function bypass(scope: Scope, node: DocNode, slot: number, wanted: unknown, hops: number): Source {
  const index = bypassInput(node, slot, wanted)
  const link = index >= 0 ? node.inputs![index]!.link : null
  if (link == null) return NONE
  const from = scope.links.get(link)
  return from ? followOutput(scope, from, wanted, hops + 1) : NONE
}
