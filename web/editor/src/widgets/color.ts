// A colour: a swatch that opens the browser's own picker.

import { BaseWidget, type LGraphCanvas, type LGraphNode } from "@comfyorg/litegraph"
import { getHost } from "../graph/host.ts"
import { h } from "../ui/dom.ts"
import { screenRect } from "./place.ts"

export class ColorWidget extends BaseWidget<any> {
  drawWidget(ctx: CanvasRenderingContext2D, { width = 200, showText = true }: { width?: number; showText?: boolean }): void {
    const { margin } = BaseWidget
    ctx.save()
    this.drawWidgetShape(ctx, { width, showText })
    if (showText) {
      this.drawTruncatingText({ ctx, width, leftPadding: 0, rightPadding: 24 })
      ctx.fillStyle = String(this.value)
      ctx.beginPath()
      ctx.roundRect(width - margin - 34, this.y + 4, 26, this.height - 8, [4])
      ctx.fill()
    }
    ctx.restore()
  }

  onClick({ node, canvas }: { node: LGraphNode; canvas: LGraphCanvas }): void {
    const rect = screenRect(canvas, node, node.size[0] - 60, this.y, 30, this.height)
    const input = h("input", { type: "color", class: "widget-color", value: String(this.value), style: { left: `${rect.x}px`, top: `${rect.y}px` } })
    document.body.append(input)
    input.addEventListener("input", () => {
      this.value = input.value
      canvas.setDirty(true)
    })
    const done = () => {
      input.remove()
      getHost().changed(node)
    }
    input.addEventListener("change", done)
    input.addEventListener("blur", done)
    input.focus()
    input.click()
  }
}
