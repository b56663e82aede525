// Queue and cancel, with what is said about it.

import type { App } from "../app.ts"
import { t } from "../i18n/index.ts"
import { toast } from "../ui/toast.ts"
import { sendWorkflow } from "./send.ts"

export interface QueueAction {
  run(options: { count?: number; front?: boolean }): Promise<void>
  cancel(): void
}

export function queueAction(app: App): QueueAction {
  const { editor, runs, api } = app
  runs.on("finished", (run) => {
    if (!run.failed) return
    const node = run.failed.node
    if (node === null) return toast(t("run.interrupted"))
    const title = editor.nodeForExecution(node)?.title ?? node
    toast(t("run.failed", { node: title, message: run.failed.message }), { kind: "error", action: { label: t("run.showNode"), run: () => editor.reveal(node) } })
  })
  return {
    async run({ count, front }) {
      const field = document.querySelector<HTMLInputElement>(".run-count")
      const result = await sendWorkflow(editor, runs, Math.min(999, Math.max(1, count ?? (Number(field?.value) || 1))), front ?? false)
      if (result.message) toast(result.message, { kind: "error" })
      if (!result.problems.length) return
      const first = result.problems[0]!
      const text = result.problems.length === 1 ? first.text : `${t("run.invalid", { count: result.problems.length })} ${first.text}`
      toast(text, { kind: "error", action: { label: t("run.showNode"), run: () => editor.reveal(first.node) } })
    },
    cancel() {
      void api.interrupt(runs.current?.id).catch((error: Error) => toast(error.message, { kind: "error" }))
    },
  }
}
