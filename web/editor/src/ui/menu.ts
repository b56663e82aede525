// Menus: from a button or at the pointer, walked by arrow keys, with one level of submenus.

import { h } from "./dom.ts"
import { openPopover } from "../widgets/popover.ts"

export interface MenuItem {
  label: string
  keys?: string
  run?: () => void
  disabled?: boolean
  checked?: boolean
  /** A colour to show beside the label. */
  swatch?: string
  submenu?: MenuItem[]
}

export function openMenu(items: (MenuItem | null)[], at: { x: number; y: number }, label: string): void {
  const list = h("ul", { class: "menu", role: "menu", "aria-label": label })
  const popover = openPopover(list, at, { class: "menu-popover", label })
  const show = (shown: (MenuItem | null)[], back: (() => void) | null) => {
    list.replaceChildren()
    if (back) list.append(entry({ label: "‹", run: back }, true))
    for (const item of shown) list.append(item ? entry(item, Boolean(item.submenu)) : h("li", { class: "menu-line", role: "separator" }))
    focusAt(0)
  }
  const entry = (item: MenuItem, stays: boolean) => {
    const run = () => {
      if (item.disabled) return
      if (item.submenu) return show(item.submenu, () => show(items, null))
      if (!stays) popover.close()
      item.run?.()
    }
    return h(
      "li",
      { role: "none" },
      h(
        "button",
        { class: "menu-item", role: item.checked === undefined ? "menuitem" : "menuitemcheckbox", "aria-checked": item.checked, disabled: item.disabled, onclick: run, type: "button" },
        item.swatch ? h("span", { class: "swatch", style: { background: item.swatch } }) : null,
        h("span", { class: "menu-label" }, item.label),
        item.checked ? h("span", { "aria-hidden": "true" }, "✓") : null,
        item.keys ? h("kbd", {}, item.keys) : null,
        item.submenu ? h("span", { "aria-hidden": "true" }, "›") : null,
      ),
    )
  }
  const buttons = () => [...list.querySelectorAll<HTMLButtonElement>("button:not(:disabled)")]
  const focusAt = (index: number) => {
    const all = buttons()
    all[(index + all.length) % all.length]?.focus()
  }
  list.addEventListener("keydown", (event) => {
    const at = buttons().indexOf(document.activeElement as HTMLButtonElement)
    if (event.key === "ArrowDown") focusAt(at + 1)
    else if (event.key === "ArrowUp") focusAt(at - 1)
    else if (event.key === "Home") focusAt(0)
    else if (event.key === "End") focusAt(-1)
    else if (event.key === "ArrowRight" || event.key === "ArrowLeft") (document.activeElement as HTMLButtonElement | null)?.click()
    else return
    event.preventDefault()
    event.stopPropagation()
  })
  show(items, null)
}

export const menuBelow = (button: HTMLElement) => {
  const rect = button.getBoundingClientRect()
  return { x: rect.left, y: rect.bottom + 4 }
}
