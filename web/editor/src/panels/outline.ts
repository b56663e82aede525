// The graph as a list: to find a node, and to walk through all of them without a mouse.

import type { LGraphNode } from "@comfyorg/litegraph"
import type { App } from "../app.ts"
import { t } from "../i18n/index.ts"
import { debounce, fill, h } from "../ui/dom.ts"
import { fuzzyScore } from "../ui/fuzzy.ts"
import type { Panel } from "../ui/shell.ts"
import { nodeState } from "../graph/node-state.ts"
import { quiet } from "./state.ts"

export function outlinePanel(app: App): Panel {
  return { id: "outline", title: t("panel.outline"), icon: "outline", place: "side", key: "o", build: (body) => build(app, body) }
}

function build(app: App, body: HTMLElement): { shown(): void; hidden(): void } {
  const { editor } = app
  let visible = false
  const field = h("input", { type: "search", class: "panel-search", placeholder: t("outline.find"), "aria-label": t("outline.find") })
  const list = h("ul", { class: "rows outline", "aria-label": t("panel.outline") })
  fill(body, field, list)
  const render = debounce(() => {
    if (!visible) return
    const nodes = inOrder(editor.canvas.graph?.nodes ?? []).filter((n) => fuzzyScore(field.value, `${n.title} ${n.type} ${n.id}`) > 0)
    // Rows are made anew; who stood on one of them stands on it still.
    const stood = list.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.node : undefined
    fill(list, nodes.length ? nodes.map((n) => row(app, n)) : quiet(t("outline.empty")))
    if (stood !== undefined) list.querySelector<HTMLElement>(`[data-node="${CSS.escape(stood)}"]`)?.focus({ preventScroll: true })
  }, 60)
  field.addEventListener("input", render)
  editor.on("changed", render)
  editor.on("view", render)
  editor.on("selection", render)
  list.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll<HTMLElement>("button")]
    const at = all.indexOf(document.activeElement as HTMLElement)
    const next = event.key === "ArrowDown" ? at + 1 : event.key === "ArrowUp" ? at - 1 : -1
    if (next < 0 || !all[next]) return
    event.preventDefault()
    all[next].focus()
  })
  return { shown: () => ((visible = true), render()), hidden: () => (visible = false) }
}

/** From the sources to the results. */
const inOrder = (nodes: readonly LGraphNode[]) => [...nodes].sort((a, b) => (a.order ?? 0) - (b.order ?? 0))

function row(app: App, node: LGraphNode): HTMLElement {
  const { editor } = app
  const state = nodeState(node)
  const selected = editor.canvas.selectedItems.has(node)
  const choose = () => {
    editor.canvas.selectItems([node])
    editor.canvas.centerOnNode(node)
    editor.canvas.setDirty(true, true)
    editor.emit("selection", undefined)
    app.shell.show("inspector")
  }
  return h(
    "li",
    { class: selected ? "row current" : "row" },
    h("button", { type: "button", class: "row-main", "aria-current": selected ? "true" : undefined, onclick: choose, dataset: { node: String(node.id) } }, node.title, h("span", { class: "small quiet" }, ` #${node.id}`), state.error ? h("span", { class: "tag bad" }, "!") : null),
    node.isSubgraphNode() ? h("button", { type: "button", class: "link", onclick: () => editor.enter(node) }, "⤢") : null,
  )
}
