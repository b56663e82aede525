// What queue and gallery both need to know about a job.

import type { App } from "../app.ts"
import type { HistoryEntry, ImageRef, QueueItem } from "../api/types.ts"
import type { Workflow } from "../doc/types.ts"
import type { Files } from "../io/files.ts"
import { workflowFromApi } from "../io/api-import.ts"

export interface Picture {
  image: ImageRef
  entry: HistoryEntry
}

export function picturesOf(entry: HistoryEntry): Picture[] {
  return Object.values(entry.outputs).flatMap((o) => (o.images ?? []).map((image) => ({ image, entry })))
}

/** The workflow a job was made from: the one it carries, or its prompt laid out. */
export function workflowOf(item: QueueItem, app: App): Workflow {
  const carried = item[3]?.extra_pnginfo?.workflow as Workflow | undefined
  return carried ?? workflowFromApi(item[2] as never, app.editor.schemas)
}

export const openWorkflow = (item: QueueItem, app: App, files: Files) => void files.show(workflowOf(item, app), null)

/** The workflow that made one picture. A sweep makes many: what each came from is in the picture itself. */
export async function openPicture({ image, entry }: Picture, app: App, files: Files): Promise<void> {
  if (!entry.prompt[3]?.ebb_sweep) return openWorkflow(entry.prompt, app, files)
  const answer = await fetch(app.api.view(image))
  await files.openFile(new File([await answer.blob()], image.filename, { type: "image/png" }))
}

/** A job in few words: its first text or its first node. */
export function titleOf(item: QueueItem): string {
  for (const node of Object.values(item[2])) {
    const text = node.inputs.text
    if (typeof text === "string" && text.trim()) return text.trim().slice(0, 80)
  }
  return item[1].slice(0, 8)
}

export function took(entry: HistoryEntry): number | null {
  const time = (name: RegExp) => entry.status.messages.find(([type]) => name.test(type))?.[1].timestamp as number | undefined
  const start = time(/^execution_start$/)
  const end = time(/^execution_(success|error|interrupted)$/)
  return start && end ? (end - start) / 1000 : null
}
