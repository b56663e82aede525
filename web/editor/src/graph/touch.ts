// Two fingers on a tablet: move and zoom. One finger is the library's own pointer, but when it rests: that opens the menu,
// as the other mouse button does.

import type { LGraphCanvas } from "@comfyorg/litegraph"

const REST_MS = 550
const REST_PX = 8

/** A finger that stays where it was put down. */
function addRest(element: HTMLCanvasElement, canvas: LGraphCanvas): void {
  let timer: ReturnType<typeof setTimeout> | undefined
  let from = { x: 0, y: 0 }
  element.addEventListener("touchstart", (event) => {
    clearTimeout(timer)
    if (event.touches.length !== 1) return
    const { clientX, clientY } = event.touches[0]!
    from = { x: clientX, y: clientY }
    timer = setTimeout(() => {
      const bounds = element.getBoundingClientRect()
      const canvasX = (clientX - bounds.x) / canvas.ds.scale - canvas.ds.offset[0]
      const canvasY = (clientY - bounds.y) / canvas.ds.scale - canvas.ds.offset[1]
      canvas.pointer.reset()
      const node = canvas.graph?.getNodeOnPos(canvasX, canvasY) ?? undefined
      canvas.processContextMenu(node, { clientX, clientY, canvasX, canvasY } as never)
    }, REST_MS)
  })
  element.addEventListener("touchmove", (event) => {
    const touch = event.touches[0]!
    if (Math.hypot(touch.clientX - from.x, touch.clientY - from.y) > REST_PX) clearTimeout(timer)
  })
  for (const end of ["touchend", "touchcancel"]) element.addEventListener(end, () => clearTimeout(timer))
}

export function addTouch(element: HTMLCanvasElement, canvas: LGraphCanvas): void {
  addRest(element, canvas)
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
