// The library's widgets, with three changes: sums are computed without eval, combos open a list that can be filtered, and
// everything asked of people goes through the page's own fields.

import { ComboWidget, LGraphCanvas, NumberWidget } from "@comfyorg/litegraph"
import { evaluate } from "./arithmetic.ts"
import { openChoice } from "./choice.ts"
import { openField } from "./field.ts"
import { screenRect } from "./place.ts"

interface WidgetEvent {
  e: { canvasX: number; canvasY: number }
  node: any
  canvas: any
}

/** Presses this near to an edge hit the arrows. */
const ARROW = 40

export function patchWidgets(): void {
  NumberWidget.prototype.onClick = function (this: any, { e, node, canvas }: any) {
    const x = e.canvasX - node.pos[0]
    const width = this.width || node.size[0]
    const delta = x < ARROW ? -1 : x > width - ARROW ? 1 : 0
    if (delta) return this.setValue(Number(this.value) + delta * stepOf(this.options), { e, node, canvas })
    openField(this.displayName, String(this.value), below(canvas, node, this), (text) => {
      const value = evaluate(text)
      if (value !== null) commit(this, value, { e, node, canvas })
    })
  }

  ComboWidget.prototype.onClick = function (this: any, { e, node, canvas }: any) {
    const x = e.canvasX - node.pos[0]
    const width = this.width || node.size[0]
    if (x < ARROW) return this.decrementValue({ e, node, canvas })
    if (x > width - ARROW) return this.incrementValue({ e, node, canvas })
    const values = Array.isArray(this.options.values) ? this.options.values : Object.values(this.options.values ?? {})
    openChoice(values, this.value, below(canvas, node, this), this.displayName, (value) => commit(this, value, { e, node, canvas }))
  }

  // Single-line texts, titles of groups and the names of slots ask through here.
  LGraphCanvas.prototype.prompt = function (title: string, value: unknown, callback: (text: string) => void, event: any, multiline?: boolean) {
    const at = { x: event?.clientX ?? innerWidth / 2, y: event?.clientY ?? innerHeight / 3 }
    return openField(title, String(value ?? ""), at, (text) => {
      this.emitBeforeChange()
      callback(text)
      this.emitAfterChange()
      this.setDirty(true, true)
    }, multiline) as HTMLDivElement
  }
}

/** Sets a value after the press that asked for it is long over, so the canvas has to be told. */
function commit(widget: any, value: unknown, event: WidgetEvent): void {
  const { canvas, node } = event
  canvas.emitBeforeChange()
  node.graph?.beforeChange()
  widget.setValue(value, event)
  node.graph?.afterChange()
  canvas.emitAfterChange()
  canvas.setDirty(true, true)
}

const below = (canvas: any, node: any, widget: any) => {
  const rect = screenRect(canvas, node, 15, widget.y + widget.height, node.size[0] - 30, 0)
  return { x: rect.x, y: rect.y + 2 }
}

const stepOf = (options: { step2?: number; step?: number }) => options.step2 || (options.step || 10) * 0.1
