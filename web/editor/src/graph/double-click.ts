// A double click is what the person's system says that it is: some press slowly, and say so in its settings. The canvas
// library counts its own 300 ms; what it does not take for one is told in its words here.

import type { App } from "../app.ts"

export function systemDoubleClick(app: App): void {
  const { canvas } = app.editor
  const element = canvas.canvas
  let taken = false
  element.addEventListener("pointerdown", () => (taken = false), { capture: true })
  element.addEventListener("litegraph:canvas", (event) => {
    if ((event as CustomEvent<{ subType: string }>).detail.subType.endsWith("double-click")) taken = true
  })
  element.addEventListener("dblclick", (event) => {
    if (taken || event.button !== 0 || !canvas.graph || canvas.read_only) return
    const [x, y] = canvas.convertEventToCanvasOffset(event)
    const e = Object.assign(event, { canvasX: x, canvasY: y }) as any
    const node = canvas.graph.getNodeOnPos(x, y, canvas.visible_nodes) ?? undefined
    if (node) {
      // A widget or a slot has its own meaning for a press.
      if (!node.getWidgetOnPos(x, y) && !node.getSlotInPosition(x, y)) canvas.emitEvent({ subType: "node-double-click", originalEvent: e, node })
      return
    }
    const group = canvas.graph.getGroupOnPos(x, y)
    if (group) canvas.emitEvent({ subType: "group-double-click", originalEvent: e, group })
    else canvas.emitEvent({ subType: "empty-double-click", originalEvent: e })
  })
}
