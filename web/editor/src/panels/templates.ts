// Finished workflows, with a picture each.

import type { App } from "../app.ts"
import { type Template, v1 } from "../api/v1.ts"
import { t } from "../i18n/index.ts"
import { templateWords } from "../i18n/templates.ts"
import type { Files } from "../io/files.ts"
import { fill, h } from "../ui/dom.ts"
import type { Panel } from "../ui/shell.ts"
import { toast } from "../ui/toast.ts"
import { failure, quiet } from "./state.ts"

export function templatesPanel(app: App, files: Files): Panel {
  return { id: "templates", title: t("panel.templates"), icon: "templates", place: "side", key: "t", build: (body) => ({ shown: () => void show(app, files, body) }) }
}

async function show(app: App, files: Files, body: HTMLElement): Promise<void> {
  try {
    const templates = await v1.templates(app.api)
    fill(body, templates.length ? h("div", { class: "cards" }, ...templates.map((x) => card(app, files, x))) : quiet(t("templates.none")))
  } catch (error) {
    fill(body, failure(error))
  }
}

function card(app: App, files: Files, template: Template): HTMLElement {
  const { title, description } = templateWords(template)
  const open = async () => {
    try {
      await files.showFrom(template.url, title)
    } catch (error) {
      toast((error as Error).message, { kind: "error" })
    }
  }
  return h(
    "button",
    { type: "button", class: "card", onclick: () => void open() },
    template.thumbnail ? h("img", { src: app.api.url(template.thumbnail.replace(/^\//, "")), alt: "", loading: "lazy" }) : h("span", { class: "card-blank", "aria-hidden": "true" }),
    h("strong", {}, title),
    h("span", { class: "small quiet" }, description),
    template.ready ? h("span", { class: "tag good" }, t("templates.ready")) : h("span", { class: "tag" }, t("templates.missing", { names: template.models.join(", ") })),
  )
}
