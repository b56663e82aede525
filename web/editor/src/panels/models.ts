// What is on disk, what it is, and what of it is in memory.

import type { App } from "../app.ts"
import { type ModelFile, type ModelFolder, v1 } from "../api/v1.ts"
import { t } from "../i18n/index.ts"
import { fill, h } from "../ui/dom.ts"
import { bytes } from "../ui/format.ts"
import { fuzzyScore } from "../ui/fuzzy.ts"
import { iconButton } from "../ui/bar.ts"
import type { Panel } from "../ui/shell.ts"
import { toast } from "../ui/toast.ts"
import { acceptDrops, dragSource, place } from "./drag.ts"
import { loaderFor } from "./loaders.ts"
import { failure, quiet } from "./state.ts"

export function modelsPanel(app: App): Panel {
  return { id: "models", title: t("panel.models"), icon: "models", place: "side", key: "l", build: (body) => build(app, body) }
}

function build(app: App, body: HTMLElement): { shown(): void } {
  acceptDrops(app)
  const field = h("input", { type: "search", class: "panel-search", placeholder: t("models.search"), "aria-label": t("models.search") })
  const list = h("div", {})
  let folders: ModelFolder[] = []
  const render = () => {
    const sections = folders.map((folder) => section(app, folder, field.value)).filter((s) => s !== null)
    fill(list, sections.length ? sections : quiet(field.value ? t("nodes.none") : t("models.none")))
  }
  const load = async () => {
    try {
      folders = (await v1.models(app.api)).folders
      fill(body, h("div", { class: "with-button" }, field, iconButton("again", t("models.refresh"), () => void load())), h("p", { class: "quiet small" }, t("models.addHint")), list)
      render()
    } catch (error) {
      fill(body, failure(error))
    }
  }
  field.addEventListener("input", render)
  app.runs.on("finished", () => body.isConnected && void load())
  return { shown: () => void load() }
}

function section(app: App, folder: ModelFolder, query: string): HTMLElement | null {
  const files = folder.files.filter((f) => fuzzyScore(query, `${f.name} ${f.family ?? ""}`) > 0)
  if (!files.length) return null
  return h("section", { class: "list-section" }, h("h3", {}, folder.name, h("span", { class: "count" }, `${files.length} · ${bytes(files.reduce((sum, f) => sum + f.bytes, 0))}`)), h("ul", { class: "rows" }, ...files.map((f) => row(app, folder.name, f))))
}

function row(app: App, folder: string, file: ModelFile): HTMLElement {
  const loader = loaderFor(folder, file.name, (type) => type in app.editor.schemas)
  const add = () => (loader ? void place(app, loader, null) : toast(t("models.noLoader", { folder })))
  const button = h(
    "button",
    { type: "button", class: "row-main model", onclick: add, title: file.error ?? file.name },
    h("div", { class: "model-name" }, file.name),
    h(
      "div",
      { class: "small quiet" },
      file.error ? h("span", { class: "problem" }, file.error) : [h("span", {}, [file.family ?? t("models.unknown"), ...file.parts, file.dtype, bytes(file.bytes)].filter(Boolean).join(" · ")), file.resident_bytes ? h("span", { class: "tag good" }, `${t("models.resident")} ${bytes(file.resident_bytes)}`) : null],
    ),
  )
  if (loader) dragSource(button, loader)
  return h("li", { class: "row" }, button)
}
