// Short messages that go by themselves; screen readers speak them.

import { h } from "./dom.ts"
import { t } from "../i18n/index.ts"

const SHOWN_MS = 6000

let region: HTMLElement | null = null

export function toast(text: string, options: { kind?: "info" | "error"; action?: { label: string; run: () => void } } = {}): void {
  region ??= document.body.appendChild(h("div", { class: "toasts", role: "status", "aria-live": "polite" }))
  const { kind = "info", action } = options
  const item = h(
    "div",
    { class: `toast ${kind}`, role: kind === "error" ? "alert" : "status" },
    h("span", { class: "toast-text" }, text),
    h("button", { type: "button", class: "toast-close", "aria-label": t("toast.dismiss"), onclick: () => item.remove() }, "×"),
    action ? h("button", { type: "button", class: "link toast-action", onclick: () => (item.remove(), action.run()) }, action.label) : null,
  )
  region.append(item)
  while (region.children.length > 4) region.firstElementChild?.remove()
  setTimeout(() => item.remove(), kind === "error" ? SHOWN_MS * 2 : SHOWN_MS)
}
