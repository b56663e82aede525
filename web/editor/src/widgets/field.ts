// A one-line field over the canvas: for numbers, texts and names.

import { h } from "../ui/dom.ts"
import { openPopover } from "./popover.ts"

export function openField(label: string, value: string, at: { x: number; y: number }, accept: (text: string) => void, multiline = false): HTMLElement {
  const field = multiline ? h("textarea", { class: "field-input", value, rows: 5, "aria-label": label }) : h("input", { class: "field-input", type: "text", value, "aria-label": label, spellcheck: false })
  const popover = openPopover(h("label", { class: "field" }, h("span", {}, label), field), at, { label })
  field.addEventListener("keydown", (event) => {
    const key = event as KeyboardEvent
    if (key.key !== "Enter" || (multiline && !key.ctrlKey)) return
    key.preventDefault()
    const text = field.value
    popover.close()
    accept(text)
  })
  field.focus()
  field.select()
  return popover.element
}
