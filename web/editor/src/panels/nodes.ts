// The library: every node of the server by category, with a search over all of them.

import type { App } from "../app.ts"
import { addNode } from "../graph/commands.ts"
import { findNodes } from "../graph/search.ts"
import { t } from "../i18n/index.ts"
import type { NodeInfo } from "../schema/types.ts"
import { fill, h } from "../ui/dom.ts"
import type { Panel } from "../ui/shell.ts"
import { acceptDrops, dragSource } from "./drag.ts"

export function nodesPanel(app: App): Panel {
  return { id: "nodes", title: t("panel.nodes"), icon: "nodes", place: "side", key: "n", build: (body) => build(app, body) }
}

interface Branch {
  branches: Map<string, Branch>
  nodes: NodeInfo[]
}

function build(app: App, body: HTMLElement): void {
  acceptDrops(app)
  const field = h("input", { type: "search", class: "panel-search", placeholder: t("nodes.search"), "aria-label": t("nodes.search") })
  const list = h("div", { class: "tree" })
  fill(body, field, h("p", { class: "quiet small" }, t("nodes.addHint")), list)
  const all = Object.values(app.editor.schemas)
  const render = () => {
    const query = field.value.trim()
    if (query) {
      const found = findNodes(all, query, "", "").slice(0, 200)
      fill(list, found.length ? found.map((info) => row(app, info)) : h("p", { class: "quiet" }, t("nodes.none")))
    } else fill(list, ...branchRows(app, grow(all)))
  }
  field.addEventListener("input", render)
  render()
}

function grow(all: readonly NodeInfo[]): Branch {
  const root: Branch = { branches: new Map(), nodes: [] }
  for (const info of all) {
    let at = root
    for (const part of (info.category || t("nodes.other")).split("/")) {
      if (!at.branches.has(part)) at.branches.set(part, { branches: new Map(), nodes: [] })
      at = at.branches.get(part)!
    }
    at.nodes.push(info)
  }
  return root
}

const count = (branch: Branch): number => branch.nodes.length + [...branch.branches.values()].reduce((sum, b) => sum + count(b), 0)

function branchRows(app: App, branch: Branch): HTMLElement[] {
  const folders = [...branch.branches].sort(([a], [b]) => a.localeCompare(b)).map(([name, inner]) => {
    const details = h("details", {}, h("summary", {}, name, h("span", { class: "count" }, count(inner))))
    // Hundreds of rows are made only when someone looks.
    details.addEventListener("toggle", () => details.children.length === 1 && details.append(h("div", { class: "branch" }, ...branchRows(app, inner))), { once: true })
    return details
  })
  const nodes = [...branch.nodes].sort((a, b) => (a.display_name ?? a.name).localeCompare(b.display_name ?? b.name)).map((info) => row(app, info))
  return [...folders, ...nodes]
}

function row(app: App, info: NodeInfo): HTMLElement {
  const button = h("button", { type: "button", class: "tree-item", title: info.description || info.name, onclick: () => addNode(app, info.name) }, info.display_name || info.name)
  dragSource(button, { node: info.name })
  return button
}
