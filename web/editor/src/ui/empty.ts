// What an empty canvas says.

import type { App } from "../app.ts"
import { v1 } from "../api/v1.ts"
import { viewCenter } from "../graph/commands.ts"
import { openSearch } from "../graph/search.ts"
import { t } from "../i18n/index.ts"
import type { Files } from "../io/files.ts"
import { h } from "./dom.ts"
import { toast } from "./toast.ts"
import { type IconName, icon } from "./icons.ts"

export function emptyState(app: App, files: Files): void {
  const { editor, shell, api } = app
  const card = (name: IconName, title: string, text: string, run: () => void) => {
    const button = h("button", { type: "button", class: "empty-card", onclick: run })
    button.append(icon(name), h("strong", {}, title), h("span", {}, text))
    return button
  }
  const demo = card("play", t("empty.demo"), t("empty.demoText"), () => void openDemo())
  demo.hidden = true
  const box = h(
    "div",
    { class: "empty-state" },
    h("h2", {}, t("empty.title")),
    h("p", {}, t("empty.lead")),
    h(
      "div",
      { class: "empty-cards" },
      demo,
      card("templates", t("empty.templates"), t("empty.templatesText"), () => shell.show("templates")),
      card("plus", t("empty.add"), `${t("empty.addText")} (A)`, () => {
        const rect = shell.canvas.getBoundingClientRect()
        openSearch(app, { x: rect.x + rect.width / 2 - 160, y: rect.y + 80 }, viewCenter(editor.canvas))
      }),
    ),
    h("p", { class: "quiet" }, t("empty.drop")),
  )
  shell.stage.append(box)
  const update = () => (box.hidden = !editor.empty || editor.path.length > 0)
  editor.on("changed", update)
  editor.on("view", update)
  update()

  let demoUrl: string | null = null
  void v1.templates(api).then(
    (templates) => {
      const ready = templates.find((x) => /demo|text-to-image/i.test(x.name) && x.ready) ?? templates.find((x) => x.ready)
      demoUrl = ready?.url ?? null
      demo.hidden = !demoUrl
    },
    () => undefined,
  )
  async function openDemo(): Promise<void> {
    if (demoUrl) await files.showFrom(demoUrl, t("empty.demo")).catch((error: Error) => toast(error.message, { kind: "error" }))
  }
}
