// The grid of a sweep, filling as its jobs finish.

import type { App } from "../app.ts"
import type { Axis } from "../api/v1.ts"
import type { HistoryEntry } from "../api/types.ts"
import type { Files } from "../io/files.ts"
import { workflowWithValues } from "../io/with-values.ts"
import type { Choosable } from "../run/axes.ts"
import { fill, h } from "../ui/dom.ts"
import { toast } from "../ui/toast.ts"
import { picturesOf, workflowOf } from "./jobs.ts"
import type { Started } from "./sweep.ts"

export class SweepGrid {
  readonly element = h("div", { class: "sweep-grid" })
  private axes: Axis[] = []
  private readonly cells = new Map<string, { index: number[]; box: HTMLButtonElement; entry: HistoryEntry | null }>()

  constructor(
    private readonly app: App,
    private readonly files: Files,
  ) {
    app.runs.on("started", (run) => this.cells.get(run.id)?.box.classList.add("running"))
    app.runs.on("finished", (run) => void this.filled(run.id))
    // Frames may be missed; what is finished is in the history.
    app.runs.on("lists", () => void this.catchUp())
  }

  start(axes: Axis[], started: Started, options: readonly Choosable[]): void {
    this.axes = axes
    this.cells.clear()
    for (const { index, prompt_id } of started.cells) {
      const label = this.label(index)
      const box = h("button", { type: "button", class: "sweep-cell", title: label, "aria-label": label, disabled: true, onclick: () => void this.open(prompt_id) })
      this.cells.set(prompt_id, { index, box, entry: null })
    }
    fill(this.element, ...this.tables(options))
  }

  private label(index: readonly number[]): string {
    return index.map((v, a) => `${this.axes[a]!.input} = ${String(this.axes[a]!.values[v])}`).join(", ")
  }

  /** The last axis runs across, the one before down; a third makes one table for each of its values. */
  private tables(options: readonly Choosable[]): HTMLElement[] {
    const boxes = [...this.cells.values()]
    const across = this.axes.at(-1)!
    const down = this.axes.length > 1 ? this.axes.at(-2)! : null
    const planes = this.axes.length > 2 ? this.axes[0]!.values : [null]
    const title = (axis: Axis) => `${options.find((o) => o.node === axis.node)?.title ?? axis.node} · ${axis.input}`
    return planes.map((plane, p) => {
      const own = boxes.filter((b) => plane === null || b.index[0] === p)
      const rows = (down?.values ?? [null]).map((value, r) => {
        const cells = own.filter((b) => !down || b.index.at(-2) === r)
        return h("tr", {}, down ? h("th", { scope: "row" }, short(value)) : null, ...cells.map((c) => h("td", {}, c.box)))
      })
      const head = h("tr", {}, down ? h("th", {}) : null, ...across.values.map((v) => h("th", { scope: "col" }, short(v))))
      const caption = [plane === null ? null : `${this.axes[0]!.input} = ${short(plane)}`, `${title(across)} →`, down ? `${title(down)} ↓` : null].filter(Boolean).join("   ")
      return h("table", {}, h("caption", { class: "small quiet" }, caption), h("thead", {}, head), h("tbody", {}, ...rows))
    })
  }

  private async catchUp(): Promise<void> {
    const open = [...this.cells].filter(([, c]) => !c.entry)
    if (!open.length) return
    const history = await this.app.api.history(this.cells.size + 20).catch(() => ({}) as Record<string, HistoryEntry>)
    for (const [id] of open) if (history[id]) this.show(id, history[id])
  }

  private async filled(id: string): Promise<void> {
    if (!this.cells.has(id)) return
    const entry = (await this.app.api.historyOf(id).catch(() => ({}) as Record<string, HistoryEntry>))[id]
    if (entry) this.show(id, entry)
  }

  private show(id: string, entry: HistoryEntry): void {
    const cell = this.cells.get(id)!
    cell.entry = entry
    cell.box.classList.remove("running")
    cell.box.disabled = false
    const picture = picturesOf(entry)[0]
    if (picture) fill(cell.box, h("img", { src: this.app.api.view(picture.image, "webp;80"), alt: "" }))
    else cell.box.classList.add(entry.status.completed ? "done" : "failed")
  }

  /** The workflow with this cell's values set, so that it can be worked on. */
  private async open(id: string): Promise<void> {
    const cell = this.cells.get(id)
    if (!cell?.entry) return
    const values = cell.index.map((v, a) => ({ node: this.axes[a]!.node, input: this.axes[a]!.input, value: this.axes[a]!.values[v] }))
    const workflow = workflowWithValues(workflowOf(cell.entry.prompt, this.app), values, this.app.editor.schemas)
    if (await this.files.show(workflow, null)) toast(this.label(cell.index))
  }
}

const short = (value: unknown) => {
  const text = String(value)
  return text.length > 28 ? `${text.slice(0, 27)}…` : text
}
