// The grid of a sweep, filling as its cells finish. A reload finds it again.

import type { App } from "../app.ts"
import { type Axis, type SweepCell, type SweepState, v1 } from "../api/v1.ts"
import type { Workflow } from "../doc/types.ts"
import { t } from "../i18n/index.ts"
import type { Files } from "../io/files.ts"
import { workflowWithValues } from "../io/with-values.ts"
import type { Choosable } from "../run/axes.ts"
import { debounce, fill, h } from "../ui/dom.ts"
import { toast } from "../ui/toast.ts"
import { workflowOf } from "./jobs.ts"

const STORED = "ebb.sweep"
const OVER = ["completed", "failed", "cancelled"]

interface Shown {
  index: number[]
  prompt: string
  status: string
  box: HTMLButtonElement
}

export class SweepGrid {
  readonly element = h("div", { class: "sweep-grid" })
  private axes: Axis[] = []
  private id: string | null = null
  /** What was on the canvas when the sweep began; after a reload the job itself tells. */
  private source: Workflow | null = null
  private cells: Shown[] = []

  constructor(
    private readonly app: App,
    private readonly files: Files,
  ) {
    const refresh = debounce(() => void this.refresh(), 150)
    for (const event of ["started", "output", "finished", "lists"] as const) app.runs.on(event, refresh)
  }

  start(axes: Axis[], started: { id: string | null; cells: SweepCell[] }, source: Workflow, options: readonly Choosable[]): void {
    this.id = started.id
    this.source = source
    if (started.id) sessionStorage.setItem(STORED, started.id)
    this.show(axes, started.cells, options)
  }

  /** Shows the sweep that this tab ran last, if the server still knows it. */
  async restore(options: readonly Choosable[]): Promise<void> {
    const id = sessionStorage.getItem(STORED)
    if (!id || this.id) return
    const state = await v1.sweepState(this.app.api, id).catch(() => null)
    if (!state?.axes) return
    this.id = id
    this.show(state.axes, state.cells, options)
    this.update(state)
  }

  private show(axes: Axis[], cells: SweepCell[], options: readonly Choosable[]): void {
    this.axes = axes
    this.cells = cells.map(({ index, prompt_id, status }) => {
      const label = this.label(index)
      const cell: Shown = { index, prompt: prompt_id, status: status ?? "pending", box: null as never }
      cell.box = h("button", { type: "button", class: "sweep-cell", title: label, "aria-label": label, disabled: true, onclick: () => void this.open(cell) })
      return cell
    })
    fill(this.element, ...this.tables(options))
  }

  private label(index: readonly number[]): string {
    return index.map((v, a) => `${nameOf(this.axes[a]!)} = ${String(this.axes[a]!.values[v])}`).join(", ")
  }

  /** The last axis runs across, the one before down; a third makes one table for each of its values. */
  private tables(options: readonly Choosable[]): HTMLElement[] {
    const across = this.axes.at(-1)!
    const down = this.axes.length > 1 ? this.axes.at(-2)! : null
    const planes = this.axes.length > 2 ? this.axes[0]!.values : [null]
    const title = (axis: Axis) => `${options.find((o) => o.node === axis.node)?.title ?? axis.node} · ${nameOf(axis)}`
    return planes.map((plane, p) => {
      const own = this.cells.filter((b) => plane === null || b.index[0] === p)
      const rows = (down?.values ?? [null]).map((value, r) => {
        const cells = own.filter((b) => !down || b.index.at(-2) === r)
        return h("tr", {}, down ? h("th", { scope: "row" }, short(value)) : null, ...cells.map((c) => h("td", {}, c.box)))
      })
      const head = h("tr", {}, down ? h("th", {}) : null, ...across.values.map((v) => h("th", { scope: "col" }, short(v))))
      const caption = [plane === null ? null : `${nameOf(this.axes[0]!)} = ${short(plane)}`, `${title(across)} →`, down ? `${title(down)} ↓` : null].filter(Boolean).join("   ")
      return h("table", {}, h("caption", { class: "small quiet" }, caption), h("thead", {}, head), h("tbody", {}, ...rows))
    })
  }

  private asking = false
  private async refresh(): Promise<void> {
    if (this.asking || !this.cells.some((c) => !OVER.includes(c.status))) return
    this.asking = true
    try {
      if (this.id) this.update(await v1.sweepState(this.app.api, this.id))
      else await this.askHistory()
    } catch {
      // The next event asks again.
    } finally {
      this.asking = false
    }
  }

  private update(state: SweepState): void {
    state.cells.forEach((told, i) => this.cells[i] && this.fillCell(this.cells[i], told))
  }

  /** A server without sweeps: each cell is a job of its own. */
  private async askHistory(): Promise<void> {
    const history = await this.app.api.history(this.cells.length + 20)
    for (const cell of this.cells) {
      const entry = history[cell.prompt]
      if (!entry || OVER.includes(cell.status)) continue
      const images = Object.values(entry.outputs).flatMap((o) => o.images ?? [])
      this.fillCell(cell, { index: cell.index, prompt_id: cell.prompt, status: entry.status.completed ? "completed" : "failed", images })
    }
  }

  private fillCell(cell: Shown, told: SweepCell): void {
    if (told.status === cell.status && OVER.includes(cell.status) && !cell.box.disabled) return
    cell.status = told.status ?? cell.status
    cell.box.classList.toggle("running", cell.status === "in_progress")
    cell.box.classList.toggle("failed", cell.status === "failed")
    cell.box.classList.toggle("done", cell.status === "completed")
    cell.box.disabled = !OVER.includes(cell.status)
    const [image] = told.images ?? []
    if (image) fill(cell.box, h("img", { src: this.app.api.view(image, "webp;80"), alt: "" }))
    else if (cell.status === "failed" || cell.status === "cancelled") fill(cell.box, h("span", { class: "small quiet" }, t(cell.status === "failed" ? "queue.failed" : "queue.stopped")))
  }

  /** The workflow with this cell's values set, so that it can be worked on. */
  private async open(cell: Shown): Promise<void> {
    const source = this.source ?? (await this.sourceOf(cell.prompt))
    if (!source) return
    const values = cell.index.map((v, a) => ({ ...this.axes[a]!, value: this.axes[a]!.values[v] }))
    const workflow = workflowWithValues(source, values, this.app.editor.schemas)
    if (await this.files.show(workflow, null)) toast(this.label(cell.index))
  }

  private async sourceOf(prompt: string): Promise<Workflow | null> {
    const entry = (await this.app.api.historyOf(prompt))[prompt]
    const item = entry?.prompt ?? (await this.app.runs.lists()).running.find((i) => i[1] === prompt)
    return item ? workflowOf(item, this.app) : null
  }
}

const nameOf = (axis: Axis) => (axis.search ? `“${axis.search}”` : axis.input)

const short = (value: unknown) => {
  const text = String(value)
  return text.length > 28 ? `${text.slice(0, 27)}…` : text
}
