// The work in progress, kept in the browser, so that a reload, a crash or a closed tab loses nothing.

import { parseJson, stringifyJson } from "../doc/json.ts"
import { isWorkflow, type Workflow } from "../doc/types.ts"
import type { Editor } from "../graph/editor.ts"
import { debounce } from "../ui/dom.ts"

const STORED = "ebb.draft"

interface Draft {
  workflow: Workflow
  name: string | null
  dirty: boolean
  view: { scale: number; offset: [number, number] }
  path: string[]
}

export function keepDraft(editor: Editor): void {
  const write = () => {
    const { scale, offset } = editor.canvas.ds
    const draft: Draft = { workflow: editor.current(), name: editor.name, dirty: editor.dirty, view: { scale, offset: [offset[0], offset[1]] }, path: editor.path }
    try {
      const text = stringifyJson(draft)
      // The tab's own, and one for the next tab that is opened.
      sessionStorage.setItem(STORED, text)
      localStorage.setItem(STORED, text)
    } catch {
      // Full or forbidden: the draft is a convenience, and saving still works.
    }
  }
  const soon = debounce(write, 400)
  editor.on("changed", soon)
  editor.on("view", soon)
  addEventListener("pagehide", write)
}

export function readDraft(): Draft | null {
  try {
    const draft = parseJson(sessionStorage.getItem(STORED) ?? localStorage.getItem(STORED) ?? "null") as Draft | null
    return draft && isWorkflow(draft.workflow) ? draft : null
  } catch {
    return null
  }
}

export function restoreDraft(editor: Editor): boolean {
  const draft = readDraft()
  if (!draft || draft.workflow.nodes.length === 0) return false
  editor.open(draft.workflow, draft.name)
  if (draft.dirty) editor.markUnsaved()
  let depth = 0
  for (const id of draft.path ?? []) {
    const node = editor.canvas.graph?.getNodeById(id)
    if (!node?.isSubgraphNode()) break
    editor.enter(node)
    depth++
  }
  if (draft.view && depth === (draft.path?.length ?? 0)) {
    editor.canvas.ds.scale = draft.view.scale
    editor.canvas.ds.offset = [...draft.view.offset]
    editor.canvas.setDirty(true, true)
  }
  return true
}
