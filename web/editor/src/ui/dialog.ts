// Modal questions.

import { h } from "./dom.ts"
import { t } from "../i18n/index.ts"

function openDialog(content: (Node | string)[], buttons: HTMLElement[], label: string): HTMLDialogElement {
  const dialog = h("dialog", { class: "dialog", "aria-label": label }, ...content, h("div", { class: "dialog-buttons" }, ...buttons))
  document.body.append(dialog)
  dialog.addEventListener("close", () => dialog.remove())
  dialog.showModal()
  return dialog
}

export function confirmDialog(text: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ok = h("button", { class: "primary", type: "button", onclick: () => (dialog.close(), resolve(true)) }, t("dialog.ok"))
    const cancel = h("button", { type: "button", onclick: () => dialog.close() }, t("dialog.cancel"))
    const dialog = openDialog([h("p", {}, text)], [cancel, ok], text)
    dialog.addEventListener("close", () => resolve(false))
    ok.focus()
  })
}

export function askText(label: string, value: string): Promise<string | null> {
  return new Promise((resolve) => {
    const field = h("input", { type: "text", value, "aria-label": label, class: "wide" })
    const accept = () => {
      resolve(field.value.trim() || null)
      dialog.close()
    }
    const ok = h("button", { class: "primary", type: "button", onclick: accept }, t("dialog.ok"))
    const cancel = h("button", { type: "button", onclick: () => dialog.close() }, t("dialog.cancel"))
    const dialog = openDialog([h("label", { class: "field" }, h("span", {}, label), field)], [cancel, ok], label)
    field.addEventListener("keydown", (event) => event.key === "Enter" && accept())
    dialog.addEventListener("close", () => resolve(null))
    field.select()
  })
}

export function infoDialog(title: string, content: HTMLElement): void {
  const close = h("button", { class: "primary", type: "button", onclick: () => dialog.close() }, t("dialog.ok"))
  const dialog = openDialog([h("h2", {}, title), content], [close], title)
  close.focus()
}
