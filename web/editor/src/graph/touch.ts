// Two fingers on a tablet: move and zoom. One finger is the library's own pointer.

import type { LGraphCanvas } from "@comfyorg/litegraph"

export function addTouch(element: HTMLCanvasElement, canvas: LGraphCanvas): void {
  let last: { x: number; y: number; distance: number } | null = null

  const read = (event: TouchEvent) => {
    const [a, b] = [event.touches[0]!, event.touches[1]!]
    return { x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2, distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) }
  }
  element.addEventListener("touchstart", (event) => {
    if (event.touches.length !== 2) return
    last = read(event)
    // What the first finger began (a box, a drag) is not meant.
    canvas.pointer.reset()
  })
  element.addEventListener("touchmove", (event) => {
    if (!last || event.touches.length !== 2) return
    event.preventDefault()
    const now = read(event)
    const bounds = element.getBoundingClientRect()
    canvas.ds.offset[0] += (now.x - last.x) / canvas.ds.scale
    canvas.ds.offset[1] += (now.y - last.y) / canvas.ds.scale
    if (last.distance > 0) canvas.ds.changeScale((canvas.ds.scale * now.distance) / last.distance, [now.x - bounds.x, now.y - bounds.y])
    last = now
    canvas.setDirty(true, true)
  }, { passive: false })
  element.addEventListener("touchend", () => (last = null))
}
