import type { LGraphCanvas, LGraphNode } from "@comfyorg/litegraph"

/** Where a rectangle given relative to a node lies in the window. */
export function screenRect(canvas: LGraphCanvas, node: LGraphNode, x: number, y: number, width: number, height: number): DOMRect {
  const bounds = canvas.canvas.getBoundingClientRect()
  const { scale, offset } = canvas.ds
  return new DOMRect(bounds.x + (node.pos[0] + x + offset[0]) * scale, bounds.y + (node.pos[1] + y + offset[1]) * scale, width * scale, height * scale)
}
