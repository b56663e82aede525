// Picking one of many: a list with a filter, for the mouse and for the keyboard.

import { h } from "../ui/dom.ts"
import { rank } from "../ui/fuzzy.ts"
import { t } from "../i18n/index.ts"
import { openPopover } from "./popover.ts"

export function openChoice(values: readonly unknown[], current: unknown, at: { x: number; y: number }, label: string, choose: (value: unknown) => void): void {
  const filter = h("input", { type: "search", class: "choice-filter", placeholder: t("widget.filter"), "aria-label": t("widget.filter"), role: "combobox", "aria-expanded": "true", "aria-controls": "choice-list" })
  const list = h("ul", { class: "choice-list", role: "listbox", id: "choice-list", "aria-label": label })
  const box = h("div", { class: "choice" }, values.length > 8 ? filter : null, list)
  const popover = openPopover(box, at, { label })
  let shown: unknown[] = []
  let active = 0

  const render = () => {
    const query = filter.value
    shown = query ? rank(values, query, (v) => [String(v)]).map((r) => r.item) : [...values]
    active = Math.max(0, query ? 0 : shown.indexOf(current))
    list.replaceChildren(
      ...shown.map((value, i) =>
        h("li", { role: "option", id: `choice-${i}`, "aria-selected": String(value === current), class: value === current ? "current" : "", onclick: () => pick(value) }, String(value)),
      ),
    )
    mark()
  }
  const mark = () => {
    list.querySelectorAll(".active").forEach((e) => e.classList.remove("active"))
    const item = list.children[active]
    item?.classList.add("active")
    item?.scrollIntoView({ block: "nearest" })
    filter.setAttribute("aria-activedescendant", `choice-${active}`)
    list.setAttribute("aria-activedescendant", `choice-${active}`)
  }
  const pick = (value: unknown) => {
    popover.close()
    choose(value)
  }
  popover.element.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") active = Math.min(shown.length - 1, active + 1)
    else if (event.key === "ArrowUp") active = Math.max(0, active - 1)
    else if (event.key === "Enter" && shown.length) return void (event.preventDefault(), pick(shown[active]))
    else return
    event.preventDefault()
    mark()
  })
  filter.addEventListener("input", render)
  render()
  list.tabIndex = 0
  ;(values.length > 8 ? filter : list).focus()
}
