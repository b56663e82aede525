// Keyboard shortcuts, those of ComfyUI where it has one.

import type { App } from "../app.ts"
import { copySelected } from "../graph/clipboard.ts"
import { addGroup, convertToSubgraph, deleteSelected, refreshNodes, selectedNodes, setMode, toggleCollapse, togglePin, viewCenter, zoom } from "../graph/commands.ts"
import { menuOfSelection } from "../graph/context-menu.ts"
import { toggleMinimap } from "../graph/minimap.ts"
import { openSearch } from "../graph/search.ts"
import { Mode } from "../doc/types.ts"
import { type StringKey, t } from "../i18n/index.ts"
import type { Files } from "../io/files.ts"
import type { QueueAction } from "../run/action.ts"
import { infoDialog } from "./dialog.ts"
import { h, isTyping } from "./dom.ts"

interface Shortcut {
  /** Modifiers in the order Ctrl, Alt, Shift. */
  keys: string
  label: StringKey
  group: "run" | "graph"
  /** Works while a text field has the focus, too. */
  always?: boolean
  /** Works while the canvas has the focus, or nothing has: elsewhere the key belongs to what has it. */
  canvas?: boolean
  /** The browser goes on with it: it tells of copying and pasting by events of their own. */
  native?: boolean
  run(app: App, files: Files, queue: QueueAction): unknown
}

const SHORTCUTS: Shortcut[] = [
  { keys: "Ctrl+Enter", label: "run.queue", group: "run", always: true, run: (_, __, queue) => queue.run({}) },
  { keys: "Ctrl+Shift+Enter", label: "run.queueFront", group: "run", always: true, run: (_, __, queue) => queue.run({ front: true }) },
  { keys: "Ctrl+Alt+Enter", label: "run.cancel", group: "run", always: true, run: (_, __, queue) => queue.cancel() },
  { keys: "Ctrl+Z", label: "edit.undo", group: "graph", run: (app) => app.editor.undo() },
  { keys: "Ctrl+Y", label: "edit.redo", group: "graph", run: (app) => app.editor.redo() },
  { keys: "Ctrl+Shift+Z", label: "edit.redo", group: "graph", run: (app) => app.editor.redo() },
  { keys: "Ctrl+S", label: "file.save", group: "graph", always: true, run: (_, files) => void files.save() },
  { keys: "Ctrl+Shift+S", label: "file.saveAs", group: "graph", always: true, run: (_, files) => void files.saveAs() },
  { keys: "Ctrl+O", label: "file.open", group: "graph", always: true, run: (_, files) => files.choose() },
  { keys: "Ctrl+A", label: "edit.selectAll", group: "graph", run: (app) => app.editor.canvas.selectItems() },
  { keys: "Ctrl+C", label: "edit.copy", group: "graph", native: true, run: (app) => copySelected(app.editor.canvas) },
  { keys: "Ctrl+X", label: "edit.cut", group: "graph", native: true, run: (app) => copySelected(app.editor.canvas) && deleteSelected(app) },
  // The `paste` event does the work; here it is kept from the library, which would paste as well.
  { keys: "Ctrl+V", label: "edit.paste", group: "graph", native: true, run: () => undefined },
  { keys: "Ctrl+Shift+V", label: "edit.pasteConnected", group: "graph", native: true, run: () => undefined },
  { keys: "Ctrl+M", label: "node.mute", group: "graph", run: (app) => setMode(app, Mode.muted) },
  { keys: "Ctrl+B", label: "node.bypass", group: "graph", run: (app) => setMode(app, Mode.bypassed) },
  { keys: "Alt+C", label: "node.collapse", group: "graph", run: toggleCollapse },
  { keys: "P", label: "node.pin", group: "graph", run: togglePin },
  { keys: "Ctrl+G", label: "group.make", group: "graph", run: addGroup },
  { keys: "Ctrl+Shift+E", label: "subgraph.make", group: "graph", run: convertToSubgraph },
  { keys: "Delete", label: "edit.delete", group: "graph", canvas: true, run: deleteSelected },
  { keys: "Backspace", label: "edit.delete", group: "graph", canvas: true, run: deleteSelected },
  { keys: ".", label: "view.fit", group: "graph", run: (app) => app.editor.fit() },
  { keys: "Alt++", label: "view.zoomIn", group: "graph", run: (app) => zoom(app.editor.canvas, 1.2) },
  { keys: "Alt+=", label: "view.zoomIn", group: "graph", run: (app) => zoom(app.editor.canvas, 1.2) },
  { keys: "Alt+-", label: "view.zoomOut", group: "graph", run: (app) => zoom(app.editor.canvas, 1 / 1.2) },
  { keys: "Alt+M", label: "view.minimap", group: "graph", run: toggleMinimap },
  { keys: "R", label: "nodes.refresh", group: "graph", run: (app) => void refreshNodes(app) },
  { keys: "Shift+F10", label: "canvas.menu", group: "graph", canvas: true, run: menuOfSelection },
  { keys: "ContextMenu", label: "canvas.menu", group: "graph", canvas: true, run: menuOfSelection },
  { keys: "A", label: "canvas.addNode", group: "graph", run: searchInTheMiddle },
  { keys: "Shift+?", label: "view.shortcuts", group: "graph", run: showShortcuts },
  { keys: "Escape", label: "subgraph.root", group: "graph", run: (app) => app.editor.path.length && app.editor.leave(app.editor.path.length - 1) },
]

function searchInTheMiddle(app: App): void {
  const rect = app.editor.canvas.canvas.getBoundingClientRect()
  openSearch(app, { x: rect.x + rect.width / 2 - 160, y: rect.y + 80 }, viewCenter(app.editor.canvas))
}

export function keysOf(event: KeyboardEvent): string {
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key
  const shift = event.shiftKey && (key.length > 1 || /[A-Z?]/.test(key))
  return `${event.ctrlKey || event.metaKey ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${key}`
}

/** How far an arrow key moves what is selected. */
const NUDGE = 10

export function listenForKeys(app: App, files: Files, queue: QueueAction): void {
  // In the capture phase: the canvas library has keys of its own for some of these.
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return
    const typing = isTyping(event.target)
    const keys = keysOf(event)
    const shortcut = SHORTCUTS.find((s) => s.keys === keys)
    if (shortcut && (!typing || shortcut.always) && !(keys === "Escape" && document.querySelector(".popover"))) {
      // Text that is marked is what people mean to copy.
      if (shortcut.native && String(getSelection() ?? "")) return
      if (shortcut.canvas && event.target !== app.editor.canvas.canvas && event.target !== document.body) return
      // Escape that ends a link being dragged belongs to the canvas.
      if (keys === "Escape" && app.editor.canvas.linkConnector.isConnecting) return
      if (!shortcut.native) event.preventDefault()
      event.stopPropagation()
      return void shortcut.run(app, files, queue)
    }
    if (typing || event.ctrlKey || event.altKey || event.metaKey || document.querySelector(".popover")) return
    const panel = app.shell.panelForKey(event.key.toLowerCase())
    if (panel) {
      event.preventDefault()
      return app.shell.toggle(panel.id)
    }
    if (event.target === app.editor.canvas.canvas) nudge(app, event)
  }, true)
}

function nudge(app: App, event: KeyboardEvent): void {
  const by = { ArrowLeft: [-NUDGE, 0], ArrowRight: [NUDGE, 0], ArrowUp: [0, -NUDGE], ArrowDown: [0, NUDGE] }[event.key]
  const nodes = selectedNodes(app.editor.canvas)
  if (!by || !nodes.length) return
  event.preventDefault()
  for (const node of nodes) node.move(by[0]!, by[1]!)
  app.editor.touch()
  app.editor.canvas.setDirty(true, true)
}

export function showShortcuts(app: App): void {
  const rows = (group: string) => SHORTCUTS.filter((s) => s.group === group).map((s) => h("div", { class: "key-row" }, h("span", {}, t(s.label)), h("kbd", {}, s.keys)))
  const panels = app.shell.keyed.map((p) => h("div", { class: "key-row" }, h("span", {}, p.title), h("kbd", {}, p.key!.toUpperCase())))
  infoDialog(t("keys.title"), h("div", { class: "keys", tabIndex: 0, role: "region", "aria-label": t("keys.title") }, h("h3", {}, t("keys.run")), ...rows("run"), h("h3", {}, t("keys.panels")), ...panels, h("h3", {}, t("keys.graph")), ...rows("graph")))
}
