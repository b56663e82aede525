// From a UI workflow to an API prompt. Rules and their sources: docs of the protocol, section "UI workflow to API prompt";
// the pairs in `tests/conformance/ui2api` are the ground truth.

import type { DocNode, Workflow } from "../doc/types.ts"
import { Mode } from "../doc/types.ts"
import { inputsOf } from "../schema/inputs.ts"
import type { NodeInfo, ObjectInfo } from "../schema/types.ts"
import { groupNodesAsSubgraphs } from "./group-nodes.ts"
import { followLink } from "./resolve.ts"
import { Scope } from "./scope.ts"
import { dynamicPrompt, fillPrefix } from "./text.ts"
import { boxed, widgetValues } from "./values.ts"

export interface PromptNode {
  class_type?: string
  inputs: Record<string, unknown>
  _meta: { title?: string }
}
export type Prompt = Record<string, PromptNode>

export interface ExportOptions {
  random?: () => number
  now?: Date
}

const VIRTUAL = new Set(["Note", "MarkdownNote", "Reroute", "PrimitiveNode"])

export function toPrompt(source: Workflow, schemas: ObjectInfo, options: ExportOptions = {}): Prompt {
  const workflow = groupNodesAsSubgraphs(source, schemas)
  const prompt: Prompt = {}
  emitScope(Scope.root(workflow), schemas, options, prompt, false)
  dropDangling(prompt)
  return prompt
}

/**
 * `inert`: inside an instance that is muted or bypassed within another subgraph. The reference emits such nodes although
 * nothing consumes them; here they come along too, so that prompts compare equal, except those that would run: outputs.
 */
function emitScope(scope: Scope, schemas: ObjectInfo, options: ExportOptions, prompt: Prompt, inert: boolean): void {
  for (const node of scope.graph.nodes) {
    if (VIRTUAL.has(node.type)) continue
    const off = node.mode === Mode.muted || node.mode === Mode.bypassed
    if (scope.definition(node)) {
      if (!off || scope.parent) emitScope(scope.enter(node), schemas, options, prompt, inert || off)
    } else if (!off && !(inert && schemas[node.type]?.output_node)) {
      prompt[scope.id(node.id)] = emitNode(scope, node, schemas, options)
    }
  }
}

function emitNode(scope: Scope, node: DocNode, schemas: ObjectInfo, options: ExportOptions): PromptNode {
  const info = schemas[node.type]
  if (!info) return emitUnknown(scope, node)
  const decls = new Map(inputsOf(info).map((d) => [d.name, d]))
  const literals: Record<string, unknown> = {}
  for (const [name, value] of widgetValues(node, info)) {
    const decl = decls.get(name)
    let text = value
    if (typeof text === "string" && decl?.options.dynamicPrompts) text = dynamicPrompt(text, options.random)
    if (typeof text === "string" && name === "filename_prefix") text = fillPrefix(text, prefixLookup(scope, schemas), options.now)
    literals[name] = boxed(text)
  }

  const links: Record<string, unknown> = {}
  for (const input of node.inputs ?? []) {
    if (input.link == null) continue
    const from = followLink(scope, input.link)
    if (from.kind === "link") {
      delete literals[input.name]
      links[input.name] = [from.id, from.slot]
    } else if (from.kind === "value") {
      literals[input.name] = boxed(from.value)
    } else if (from.kind === "none" && !input.widget) {
      delete literals[input.name]
    }
  }
  return { inputs: { ...literals, ...links }, class_type: node.type, _meta: { title: titleOf(node, info) } }
}

/** Nobody knows this node's inputs; the server names it in its error, and the editor marks it before that. */
function emitUnknown(scope: Scope, node: DocNode): PromptNode {
  const inputs: Record<string, unknown> = {}
  const values = Array.isArray(node.widgets_values) ? node.widgets_values : Object.values(node.widgets_values ?? {})
  values.forEach((value, index) => (inputs[index === 0 ? "UNKNOWN" : `UNKNOWN_${index}`] = boxed(value)))
  for (const input of node.inputs ?? []) {
    const from = input.link == null ? null : followLink(scope, input.link)
    if (from?.kind === "link") inputs[input.name] = [from.id, from.slot]
    else if (from?.kind === "value") inputs[input.name] = boxed(from.value)
  }
  return { inputs, _meta: { title: node.title ?? "" } }
}

const titleOf = (node: DocNode, info: NodeInfo) => node.title ?? info.display_name ?? node.type

/** `%Title.widget%`: the node is found by its "Node name for S&R" or its title, in the graph the prefix stands in. */
function prefixLookup(scope: Scope, schemas: ObjectInfo) {
  return (name: string, widget: string): unknown => {
    const named = (n: DocNode) => n.properties?.["Node name for S&R"] === name
    const titled = (n: DocNode) => n.title === name || (!n.title && schemas[n.type]?.display_name === name)
    const node = scope.graph.nodes.find(named) ?? scope.graph.nodes.find(titled)
    const info = node && schemas[node.type]
    return info ? widgetValues(node, info).get(widget) : undefined
  }
}

/** An input that names a node which is not in the prompt would fail validation without saying anything useful. */
function dropDangling(prompt: Prompt): void {
  for (const node of Object.values(prompt)) {
    for (const [name, value] of Object.entries(node.inputs)) {
      if (Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && !(value[0] in prompt)) delete node.inputs[name]
    }
  }
}
