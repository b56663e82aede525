// The server's findings in words, and on the nodes and inputs they are about.

import type { NodeError, NodeErrors } from "../api/types.ts"
import type { Editor } from "../graph/editor.ts"
import { nodeState } from "../graph/node-state.ts"
import { en } from "../i18n/en.ts"
import { type StringKey, t } from "../i18n/index.ts"

export function inWords(error: NodeError): string {
  const key = `error.${error.type}`
  const info = error.extra_info ?? {}
  const [want, options] = (info.input_config ?? []) as [unknown, Record<string, unknown>?]
  const values = {
    input: info.input_name ?? error.details,
    value: String(info.received_value ?? ""),
    limit: String(options?.[error.type === "value_smaller_than_min" ? "min" : "max"] ?? ""),
    want: Array.isArray(want) ? "COMBO" : String(want ?? "?"),
    have: info.received_type ?? "?",
    details: error.details,
    message: error.message,
  }
  return t((key in en ? key : "error.other") as StringKey, values)
}

export interface Problem {
  node: string
  input: string | null
  text: string
}

export function problemsOf(errors: NodeErrors): Problem[] {
  return Object.entries(errors).flatMap(([node, { errors: list }]) => list.map((e) => ({ node, input: e.extra_info?.input_name ?? null, text: inWords(e) })))
}

/** Marks nodes and inputs; every mark from before goes away. */
export function showProblems(editor: Editor, problems: readonly Problem[]): void {
  const graphs = [editor.graph, ...editor.graph.subgraphs.values()]
  for (const graph of graphs) {
    for (const node of graph.nodes) {
      const state = nodeState(node)
      state.error = null
      state.badInputs.clear()
    }
  }
  for (const problem of problems) {
    for (const node of nodesOnTheWay(editor, problem.node)) {
      const state = nodeState(node)
      state.error = state.error ? `${state.error}\n${problem.text}` : problem.text
      if (problem.input) state.badInputs.add(problem.input)
    }
  }
  editor.canvas.setDirty(true, true)
}

/** The node itself and the subgraph instances that hold it, so that the mark can be found from outside. */
function nodesOnTheWay(editor: Editor, id: string) {
  const parts = id.split(":")
  return parts.flatMap((part, depth) => {
    const graph = editor.graphAt(parts.slice(0, depth))
    const node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part))
    return node ? [node] : []
  })
}
