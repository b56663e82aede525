// Every picture made, newest first, and the workflow behind each.

import type { App } from "../app.ts"
import { t } from "../i18n/index.ts"
import type { Files } from "../io/files.ts"
import { iconButton } from "../ui/bar.ts"
import { debounce, fill, h } from "../ui/dom.ts"
import type { Panel } from "../ui/shell.ts"
import { openPicture, type Picture, picturesOf } from "./jobs.ts"
import { failure, quiet } from "./state.ts"

export function galleryPanel(app: App, files: Files): Panel {
  return {
    id: "gallery",
    title: t("panel.gallery"),
    icon: "gallery",
    place: "side",
    key: "g",
    build: (body) => {
      let visible = false
      const show = debounce(() => visible && void render(app, files, body), 80)
      app.runs.on("finished", show)
      return { shown: () => ((visible = true), show()), hidden: () => (visible = false) }
    },
  }
}

async function render(app: App, files: Files, body: HTMLElement): Promise<void> {
  try {
    const { history } = await app.runs.lists()
    const pictures = history.flatMap(picturesOf)
    const cell = (picture: Picture, index: number) =>
      h("button", { type: "button", class: "gallery-cell", "aria-label": t("gallery.picture", { name: picture.image.filename }), onclick: () => openViewer(app, files, pictures, index) }, h("img", { src: app.api.view(picture.image, "webp;80"), alt: "", loading: "lazy" }))
    fill(body, pictures.length ? h("div", { class: "gallery" }, ...pictures.map(cell)) : quiet(t("gallery.empty")))
  } catch (error) {
    fill(body, failure(error))
  }
}

/** One picture, large; arrow keys go on to the next. */
export function openViewer(app: App, files: Files, pictures: readonly Picture[], start: number): void {
  let index = start
  const image = h("img", { class: "viewer-image" })
  const caption = h("span", { class: "viewer-name" })
  const step = (by: number) => {
    index = (index + by + pictures.length) % pictures.length
    show()
  }
  const close = () => dialog.close()
  const dialog = h(
    "dialog",
    { class: "viewer", "aria-label": t("panel.gallery") },
    h(
      "div",
      { class: "viewer-bar" },
      caption,
      iconButton("left", t("gallery.previous"), () => step(-1)),
      iconButton("right", t("gallery.next"), () => step(1)),
      iconButton("open", t("gallery.open"), () => (close(), void openPicture(pictures[index]!, app, files))),
      iconButton("download", t("gallery.download"), () => h("a", { href: image.src, download: pictures[index]!.image.filename }).click()),
      iconButton("close", t("panel.close"), close),
    ),
    image,
  )
  const show = () => {
    const { image: ref } = pictures[index]!
    image.src = app.api.view(ref)
    image.alt = t("gallery.picture", { name: ref.filename })
    caption.textContent = `${ref.filename} · ${index + 1}/${pictures.length}`
    // Small pictures are shown larger, pixel by pixel.
    image.onload = () => image.classList.toggle("pixels", image.naturalWidth <= 128)
  }
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1)
    if (event.key === "ArrowRight") step(1)
  })
  dialog.addEventListener("click", (event) => event.target === dialog && close())
  dialog.addEventListener("close", () => dialog.remove())
  document.body.append(dialog)
  show()
  dialog.showModal()
}
