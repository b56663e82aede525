// A box that floats over the canvas, holds the focus while it is open, and leaves on Escape or a press outside.

import { h } from "../ui/dom.ts"

export interface Popover {
  element: HTMLElement
  close(): void
}

let open: Popover | null = null

export function openPopover(content: HTMLElement, at: { x: number; y: number }, options: { onClose?: () => void; class?: string; label?: string } = {}): Popover {
  open?.close()
  const back = document.activeElement instanceof HTMLElement ? document.activeElement : null
  const element = h("div", { class: `popover ${options.class ?? ""}`, role: "dialog", "aria-label": options.label }, content)
  document.body.append(element)
  place(element, at)

  const outside = (event: Event) => {
    if (event.target instanceof Node && !element.contains(event.target)) popover.close()
  }
  const escape = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return
    event.stopPropagation()
    popover.close()
  }
  const popover: Popover = {
    element,
    close() {
      if (open === popover) open = null
      if (!element.isConnected) return
      document.removeEventListener("pointerdown", outside, true)
      element.remove()
      options.onClose?.()
      back?.focus({ preventScroll: true })
    },
  }
  element.addEventListener("keydown", escape)
  // The press that opened it is still on its way.
  setTimeout(() => document.addEventListener("pointerdown", outside, true), 0)
  open = popover
  return popover
}

/** Keeps the whole box inside the window. */
export function place(element: HTMLElement, at: { x: number; y: number }): void {
  const { offsetWidth: width, offsetHeight: height } = element
  const x = Math.max(8, Math.min(at.x, innerWidth - width - 8))
  const y = at.y + height > innerHeight - 8 ? Math.max(8, Math.min(at.y - height, innerHeight - height - 8)) : at.y
  element.style.left = `${x}px`
  element.style.top = `${y}px`
}
