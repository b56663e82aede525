// Workflows saved on the server, in the user's folder.

import type { App } from "../app.ts"
import { t } from "../i18n/index.ts"
import type { Files } from "../io/files.ts"
import { iconButton } from "../ui/bar.ts"
import { confirmDialog } from "../ui/dialog.ts"
import { fill, h } from "../ui/dom.ts"
import type { Panel } from "../ui/shell.ts"
import { failure, quiet } from "./state.ts"

export function workflowsPanel(app: App, files: Files): Panel {
  return {
    id: "workflows",
    title: t("panel.workflows"),
    icon: "workflows",
    place: "side",
    key: "w",
    build: (body) => {
      const show = () => void list(app, files, body)
      app.editor.on("changed", ({ structural }) => !structural && show())
      return { shown: show }
    },
  }
}

async function list(app: App, files: Files, body: HTMLElement): Promise<void> {
  try {
    const saved = (await app.api.userFiles("workflows")).filter((f) => f.path.endsWith(".json")).sort((a, b) => b.modified - a.modified)
    fill(body, saved.length ? h("ul", { class: "rows" }, ...saved.map((f) => row(app, files, f.path, () => list(app, files, body)))) : quiet(t("workflows.none")))
  } catch (error) {
    fill(body, failure(error))
  }
}

function row(app: App, files: Files, path: string, again: () => void): HTMLElement {
  const name = path.replace(/\.json$/, "")
  const remove = async () => {
    if (!(await confirmDialog(t("file.delete", { name })))) return
    await app.api.deleteUserFile(`workflows/${path}`)
    again()
  }
  return h("li", { class: "row" }, h("button", { type: "button", class: "row-main", title: t("workflows.open", { name }), onclick: () => void files.openSaved(path) }, name), iconButton("trash", t("queue.delete"), () => void remove()))
}
