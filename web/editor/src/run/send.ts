// The Queue button: from the workflow on screen to jobs on the server.

import { ApiError } from "../api/client.ts"
import type { PromptFailure } from "../api/types.ts"
import { type Prompt, toPrompt } from "../export/index.ts"
import type { Workflow } from "../doc/types.ts"
import type { Editor } from "../graph/editor.ts"
import { t } from "../i18n/index.ts"
import { applyControls } from "../widgets/control.ts"
import { type Problem, problemsOf, showProblems } from "./errors.ts"
import type { Runs } from "./runs.ts"

export interface SendResult {
  sent: string[]
  problems: Problem[]
  /** What is wrong with the workflow as a whole. */
  message: string | null
}

export async function sendWorkflow(editor: Editor, runs: Runs, count: number, front: boolean): Promise<SendResult> {
  const sent: string[] = []
  for (let i = 0; i < count; i++) {
    const workflow = editor.current()
    const { prompt, problems } = preparePrompt(workflow, editor)
    if (problems.length) return refuse(editor, sent, problems, null)
    if (Object.keys(prompt).length === 0) return refuse(editor, sent, [], t("run.nothing"))
    try {
      // Marks of before go now: a run may fail, and mark its node, before the answer is here.
      if (i === 0) showProblems(editor, [])
      sent.push(await runs.send({ prompt, front, extra_data: { extra_pnginfo: { workflow } } }))
    } catch (error) {
      if (!(error instanceof ApiError)) return refuse(editor, sent, [], error instanceof Error ? error.message : String(error))
      const body = error.body as PromptFailure | null
      const found = problemsOf(body?.node_errors ?? {})
      const general = typeof body?.error === "object" && body.error.type === "prompt_no_outputs" ? t("run.nothing") : error.message
      return refuse(editor, sent, found, found.length ? null : general)
    }
    stepSeeds(editor)
  }
  return { sent, problems: [], message: null }
}

/** The prompt, and what can be told to be wrong before anyone is asked. */
export function preparePrompt(workflow: Workflow, editor: Editor): { prompt: Prompt; problems: Problem[] } {
  let prompt: Prompt
  try {
    prompt = toPrompt(workflow, editor.schemas)
  } catch (error) {
    return { prompt: {}, problems: [{ node: "", input: null, text: error instanceof Error ? error.message : String(error) }] }
  }
  const problems: Problem[] = []
  for (const [id, node] of Object.entries(prompt)) {
    if (node.class_type) continue
    const type = editor.nodeForExecution(id)?.type ?? node._meta.title ?? id
    problems.push({ node: id, input: null, text: t("run.unknownType", { type }) })
  }
  return { prompt, problems }
}

function refuse(editor: Editor, sent: string[], problems: Problem[], message: string | null): SendResult {
  showProblems(editor, problems)
  return { sent, problems, message }
}

/** Seeds move on after each job, so that the next one differs. */
function stepSeeds(editor: Editor): void {
  let changed = false
  for (const graph of [editor.graph, ...editor.graph.subgraphs.values()]) {
    for (const node of graph.nodes) if (node.widgets && applyControls(node.widgets as never)) changed = true
  }
  if (!changed) return
  editor.record()
  editor.canvas.setDirty(true, true)
}
