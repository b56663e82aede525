// The bar above: menus, the workflow's name, where one is in it, and the run controls.

import type { App } from "../app.ts"
import { copySelected, pasteNodes } from "../graph/clipboard.ts"
import { convertToSubgraph, deleteSelected, refreshNodes, step, viewCenter, zoom } from "../graph/commands.ts"
import { toggleMinimap } from "../graph/minimap.ts"
import { LANGUAGES, type Language, language, setLanguage, t } from "../i18n/index.ts"
import type { Files } from "../io/files.ts"
import type { QueueAction } from "../run/action.ts"
import { fill, h } from "./dom.ts"
import { type IconName, icon } from "./icons.ts"
import { type MenuItem, menuBelow, openMenu } from "./menu.ts"
import { showShortcuts } from "./keys.ts"
import { toggleTheme } from "./theme.ts"

export function buildBar(app: App, files: Files, queue: QueueAction): void {
  const { editor, shell } = app
  const menus: [string, () => (MenuItem | null)[]][] = [
    [t("menu.file"), () => fileMenu(files)],
    [t("menu.edit"), () => editMenu(app)],
    [t("menu.view"), () => viewMenu(app)],
  ]
  const menuButtons = menus.map(([label, items]) => {
    const button = h("button", { type: "button", class: "bar-menu", "aria-haspopup": "menu", onclick: () => openMenu(items(), menuBelow(button), label) }, label)
    return button
  })
  const undo = iconButton("undo", `${t("edit.undo")} (Ctrl+Z)`, () => editor.undo())
  const redo = iconButton("redo", `${t("edit.redo")} (Ctrl+Y)`, () => editor.redo())
  const name = h("span", { class: "workflow-name" })
  const crumbs = h("nav", { class: "crumbs", "aria-label": t("subgraph.root") })

  const update = () => {
    undo.disabled = !editor.canUndo
    redo.disabled = !editor.canRedo
    name.textContent = `${editor.name ?? t("file.untitled")}${editor.dirty ? " •" : ""}`
    document.title = `${editor.dirty ? "• " : ""}${editor.name ?? t("file.untitled")} – Ebb`
    fill(crumbs, editor.path.length ? trail(app) : null)
  }
  editor.on("changed", update)
  editor.on("view", update)
  update()

  fill(shell.bar, h("span", { class: "brand", "aria-hidden": "true" }, "ebb"), h("h1", { class: "visually-hidden" }, "Ebb"), ...menuButtons, undo, redo, h("div", { class: "bar-name" }, name, crumbs), runControls(app, queue))
}

function trail(app: App): HTMLElement[] {
  const { editor } = app
  const names = editor.path.map((_, i) => {
    const graph = editor.graphAt(editor.path.slice(0, i))
    return graph?.getNodeById(editor.path[i]!)?.title ?? editor.path[i]!
  })
  return [t("subgraph.root"), ...names].map((label, depth) =>
    depth === editor.path.length ? h("span", { class: "crumb", "aria-current": "page" }, label) : h("button", { type: "button", class: "crumb link", onclick: () => editor.leave(depth) }, label),
  )
}

function runControls(app: App, queue: QueueAction): HTMLElement {
  const { runs } = app
  const count = h("input", { type: "number", min: "1", max: "999", value: "1", class: "run-count", title: t("run.count"), "aria-label": t("run.count") })
  const run = h("button", { type: "button", class: "primary run", id: "queue-button", title: t("run.queueHint"), onclick: (e: MouseEvent) => queue.run({ count: amount(), front: e.shiftKey }) })
  run.append(icon("play"), h("span", {}, t("run.queue")))
  const amount = () => Number(count.value) || 1
  const more = iconButton("more", t("run.more"), () =>
    openMenu(
      [
        { label: t("run.queue"), keys: "Ctrl+Enter", run: () => void queue.run({ count: amount() }) },
        { label: t("run.queueFront"), keys: "Ctrl+Shift+Enter", run: () => void queue.run({ count: amount(), front: true }) },
        { label: t("run.cancel"), keys: "Ctrl+Alt+Enter", disabled: !runs.current, run: () => queue.cancel() },
      ],
      menuBelow(more),
      t("run.more"),
    ),
  )
  more.setAttribute("aria-haspopup", "menu")
  const cancel = iconButton("stop", t("run.cancelHint"), () => queue.cancel())
  cancel.disabled = true
  const fillBar = h("div", { class: "progress-fill" })
  const text = h("span", { class: "progress-text" }, t("run.idle"))
  const bar = h("div", { class: "progress", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": t("run.running") }, fillBar, text)

  const show = () => {
    const { current, remaining } = runs
    cancel.disabled = !current
    const waiting = Math.max(0, remaining - (current ? 1 : 0))
    const suffix = waiting ? ` · ${t("run.pending", { count: waiting })}` : ""
    if (!current) {
      fillBar.style.width = "0"
      text.textContent = (remaining ? t("run.running") : t("run.idle")) + suffix
      bar.removeAttribute("aria-valuenow")
      return
    }
    const done = new Set([...current.done, ...current.cached])
    const part = current.current ? current.progress.get(current.current) : undefined
    const within = part && part.max > 0 ? part.value / part.max : 0
    const share = current.total ? Math.min(1, (done.size + (done.has(current.current ?? "") ? 0 : within)) / current.total) : 0
    fillBar.style.width = `${share * 100}%`
    bar.setAttribute("aria-valuenow", String(Math.round(share * 100)))
    const steps = part && part.max > 1 ? ` · ${part.value}/${part.max}` : ""
    text.textContent = (current.total ? t("run.progress", { done: done.size, total: current.total }) : t("run.running")) + steps + suffix
  }
  for (const event of ["status", "started", "progress", "finished"] as const) runs.on(event, show)
  return h("div", { class: "run-controls" }, bar, cancel, count, run, more)
}

export function iconButton(name: IconName, label: string, run: () => void): HTMLButtonElement {
  const button = h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, onclick: run })
  button.append(icon(name))
  return button
}

function fileMenu(files: Files): (MenuItem | null)[] {
  return [
    { label: t("file.new"), run: () => void files.fresh() },
    { label: t("file.open"), keys: "Ctrl+O", run: () => files.choose() },
    null,
    { label: t("file.save"), keys: "Ctrl+S", run: () => void files.save() },
    { label: t("file.saveAs"), keys: "Ctrl+Shift+S", run: () => void files.saveAs() },
    null,
    { label: t("file.download"), run: () => files.download() },
    { label: t("file.exportApi"), run: () => files.exportApi() },
  ]
}

function editMenu(app: App): (MenuItem | null)[] {
  const { editor } = app
  return [
    { label: t("edit.undo"), keys: "Ctrl+Z", run: () => editor.undo(), disabled: !editor.canUndo },
    { label: t("edit.redo"), keys: "Ctrl+Y", run: () => editor.redo(), disabled: !editor.canRedo },
    null,
    { label: t("edit.cut"), keys: "Ctrl+X", run: () => copySelected(editor.canvas) && deleteSelected(app) },
    { label: t("edit.copy"), keys: "Ctrl+C", run: () => copySelected(editor.canvas) },
    { label: t("edit.paste"), keys: "Ctrl+V", run: () => step(app, () => pasteNodes(editor.canvas, viewCenter(editor.canvas))) },
    { label: t("edit.selectAll"), keys: "Ctrl+A", run: () => editor.canvas.selectItems() },
    { label: t("subgraph.make"), keys: "Ctrl+Shift+E", run: () => convertToSubgraph(app) },
    null,
    { label: t("edit.clear"), run: () => (editor.graph.clear(), editor.record()) },
  ]
}

function viewMenu(app: App): (MenuItem | null)[] {
  const { canvas } = app.editor
  return [
    { label: t("view.fit"), keys: ".", run: () => app.editor.fit() },
    { label: t("view.zoomIn"), keys: "Alt++", run: () => zoom(canvas, 1.2) },
    { label: t("view.zoomOut"), keys: "Alt+-", run: () => zoom(canvas, 1 / 1.2) },
    { label: t("view.minimap"), keys: "Alt+M", run: toggleMinimap },
    { label: t("nodes.refresh"), keys: "R", run: () => void refreshNodes(app) },
    null,
    { label: t("view.theme"), run: () => toggleTheme(canvas) },
    { label: t("view.language"), submenu: Object.entries(LANGUAGES).map(([id, label]) => ({ label, checked: id === language(), run: () => setLanguage(id as Language) })) },
    null,
    { label: t("view.shortcuts"), keys: "?", run: () => showShortcuts(app) },
  ]
}
