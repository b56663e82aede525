// Opening and saving: from the disk, from the server's user folder, by dropping and pasting.

import type { App } from "../app.ts"
import { emptyWorkflow } from "../doc/prepare.ts"
import { stringifyJson } from "../doc/json.ts"
import type { Workflow } from "../doc/types.ts"
import { toPrompt } from "../export/index.ts"
import { fillSystemClipboard, pasteNodes, takeNodes } from "../graph/clipboard.ts"
import { addNode, step } from "../graph/commands.ts"
import { t } from "../i18n/index.ts"
import { askText, confirmDialog } from "../ui/dialog.ts"
import { isTyping } from "../ui/dom.ts"
import { toast } from "../ui/toast.ts"
import { pickFile, uploadInto } from "../widgets/create.ts"
import { download } from "./download.ts"
import { workflowFromFile, workflowFromJson, workflowFromText } from "./read.ts"

const FOLDER = "workflows"

export class Files {
  constructor(private readonly app: App) {
    this.listen()
  }

  async fresh(): Promise<void> {
    if (await this.mayLeave()) this.app.editor.open(emptyWorkflow(), null)
  }

  /** Shows a workflow in place of the open one, after asking if that has changes. */
  async show(workflow: Workflow, name: string | null): Promise<boolean> {
    if (!(await this.mayLeave())) return false
    this.app.editor.open(workflow, name)
    return true
  }

  /** Shows what an address of the server answers, a UI workflow or an API prompt. */
  async showFrom(url: string, name: string): Promise<void> {
    const { api, editor } = this.app
    const workflow = workflowFromJson(await api.json<unknown>(url.replace(/^\//, "")), editor.schemas)
    if (workflow) await this.show(workflow, null)
    else toast(t("file.unreadable", { name }), { kind: "error" })
  }

  choose(): void {
    pickFile(".json,.png,.webp,application/json,image/png,image/webp", (file) => void this.openFile(file))
  }

  async openFile(file: File): Promise<void> {
    const workflow = await workflowFromFile(file, this.app.editor.schemas).catch(() => null)
    if (workflow) await this.show(workflow, file.name.replace(/\.\w+$/, ""))
    else toast(t("file.unreadable", { name: file.name }), { kind: "error" })
  }

  async openSaved(path: string): Promise<void> {
    try {
      const workflow = await this.app.api.userFile(`${FOLDER}/${path}`)
      await this.show(workflow as Workflow, path.replace(/\.json$/, ""))
    } catch (error) {
      toast(t("panel.failed", { message: (error as Error).message }), { kind: "error" })
    }
  }

  async save(): Promise<void> {
    if (!this.app.editor.name) return this.saveAs()
    await this.write(this.app.editor.name)
  }

  async saveAs(): Promise<void> {
    const name = await askText(t("file.saveName"), this.app.editor.name ?? t("file.untitled"))
    if (name) await this.write(name)
  }

  private async write(name: string): Promise<void> {
    const { api, editor } = this.app
    try {
      await api.saveUserFile(`${FOLDER}/${name}.json`, editor.current())
      editor.markSaved(name)
      toast(t("file.saved", { name }))
    } catch (error) {
      toast((error as Error).message, { kind: "error" })
    }
  }

  download(): void {
    download(`${this.app.editor.name ?? "workflow"}.json`, stringifyJson(this.app.editor.current(), 2))
  }

  exportApi(): void {
    const { editor } = this.app
    download(`${editor.name ?? "workflow"}.api.json`, stringifyJson(toPrompt(editor.current(), editor.schemas), 2))
  }

  private async mayLeave(): Promise<boolean> {
    const { editor } = this.app
    return !editor.dirty || editor.empty || (await confirmDialog(t("file.discard")))
  }

  private listen(): void {
    const { stage } = this.app.shell
    document.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault()
    })
    document.addEventListener("drop", (event) => {
      const file = event.dataTransfer?.files[0]
      if (!file) return
      event.preventDefault()
      void this.dropped(file, event, stage)
    })
    document.addEventListener("copy", fillSystemClipboard)
    document.addEventListener("cut", fillSystemClipboard)
    // The event does not say whether Shift was held.
    let shift = false
    document.addEventListener("keydown", (event) => (shift = event.shiftKey), true)
    document.addEventListener("keyup", (event) => (shift = event.shiftKey), true)
    document.addEventListener("paste", (event) => void this.pasted(event, shift))
  }

  /** A picture dropped on a node that takes pictures goes into it; else its workflow is opened; else it becomes a node. */
  private async dropped(file: File, event: DragEvent, stage: HTMLElement): Promise<void> {
    const { canvas } = this.app.editor
    if (!stage.contains(event.target as Node)) return this.openFile(file)
    const at = canvas.convertEventToCanvasOffset(event)
    const node = canvas.graph?.getNodeOnPos(at[0], at[1])
    if (node?.onDropFile) return node.onDropFile(file)
    const workflow = await workflowFromFile(file, this.app.editor.schemas).catch(() => null)
    if (workflow) await this.show(workflow, file.name.replace(/\.\w+$/, ""))
    else if (file.type.startsWith("image/")) await this.imageNode(file, [at[0], at[1]])
    else toast(t("file.unreadable", { name: file.name }), { kind: "error" })
  }

  private async imageNode(file: File, at: [number, number] | null): Promise<void> {
    const node = addNode(this.app, "LoadImage", at)
    const widget = node?.widgets?.find((w) => w.name === "image")
    if (node && widget) await uploadInto(node, widget, file)
  }

  private async pasted(event: ClipboardEvent, connect: boolean): Promise<void> {
    if (isTyping(event.target)) return
    const image = [...(event.clipboardData?.files ?? [])].find((f) => f.type.startsWith("image/"))
    if (image) return this.imageNode(image, null)
    const text = event.clipboardData?.getData("text/plain") ?? ""
    const workflow = !takeNodes(text) && /^\s*\{/.test(text) ? workflowFromText(text, this.app.editor.schemas) : null
    if (workflow) await this.show(workflow, null)
    else step(this.app, () => pasteNodes(this.app.editor.canvas, null, connect))
  }
}
