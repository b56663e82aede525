// A canvas says nothing to a screen reader, so its label says what is on it, and changes of state are spoken.

import type { App } from "../app.ts"
import { t } from "../i18n/index.ts"
import { h } from "../ui/dom.ts"

export function describeCanvas(app: App): void {
  const { editor, runs, shell } = app
  const spoken = h("div", { class: "visually-hidden", role: "status", "aria-live": "polite" })
  document.body.append(spoken)
  const describe = () => {
    const graph = editor.canvas.graph
    shell.canvas.setAttribute("aria-label", t("canvas.label", { nodes: graph?.nodes.length ?? 0, links: graph?.links.size ?? 0 }))
  }
  editor.on("changed", describe)
  editor.on("view", describe)
  describe()
  runs.on("started", () => (spoken.textContent = t("run.running")))
  runs.on("finished", (run) => (spoken.textContent = run.failed ? run.failed.message || t("run.interrupted") : t("run.done")))
  editor.on("selection", () => {
    const nodes = Object.values(editor.canvas.selected_nodes)
    spoken.textContent = nodes.length === 1 ? nodes[0]!.title : nodes.length ? t("inspector.many", { count: nodes.length }) : ""
  })
}
