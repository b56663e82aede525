// Texts of many lines: drawn on the canvas, so that a thousand nodes stay cheap, and edited in a real text field laid exactly over them.

import { BaseWidget, type LGraphCanvas, type LGraphNode, LiteGraph } from "@comfyorg/litegraph"
import { getHost } from "../graph/host.ts"
import { h } from "../ui/dom.ts"
import { screenRect } from "./place.ts"
import { wrap } from "./wrap.ts"

const LINE = 16
const PADDING = 8

export class MultilineWidget extends BaseWidget<any> {
  private wrapped: { text: string; width: number; lines: string[] } | null = null

  override computeLayoutSize() {
    return { minHeight: 60, minWidth: 120, maxHeight: 1_000_000 }
  }

  override get height(): number {
    return this.computedHeight ?? 60
  }

  drawWidget(ctx: CanvasRenderingContext2D, { width = 200, showText = true }: { width?: number; showText?: boolean }): void {
    const { margin } = BaseWidget
    const inner = width - margin * 2
    const height = this.height - 6
    ctx.save()
    ctx.fillStyle = this.background_color
    ctx.strokeStyle = this.outline_color
    ctx.beginPath()
    ctx.roundRect(margin, this.y, inner, height, [6])
    ctx.fill()
    ctx.stroke()
    if (showText && height > LINE) {
      ctx.clip()
      ctx.textAlign = "left"
      ctx.font = `12px ${LiteGraph.NODE_FONT}`
      const text = String(this.value ?? "")
      ctx.fillStyle = this.computedDisabled || !text ? this.disabledTextColor : this.text_color
      const lines = text ? this.lines(ctx, text, inner - PADDING * 2) : [String(this.options?.placeholder ?? this.displayName)]
      const shown = Math.ceil((height - PADDING) / LINE)
      lines.slice(0, shown).forEach((line, i) => ctx.fillText(line, margin + PADDING, this.y + PADDING + 10 + i * LINE))
    }
    ctx.restore()
  }

  /** Wrapping is measured once for a text and a width. */
  private lines(ctx: CanvasRenderingContext2D, text: string, width: number): string[] {
    if (this.wrapped?.text === text && this.wrapped.width === width) return this.wrapped.lines
    const lines = wrap(text, width, (s) => ctx.measureText(s).width)
    this.wrapped = { text, width, lines }
    return lines
  }

  onClick({ node, canvas }: { node: LGraphNode; canvas: LGraphCanvas }): void {
    if (!this.computedDisabled) editInPlace(this, node, canvas)
  }
}

/** Lays a text field over the widget. It follows the canvas while that moves, and gives its text back when it loses the focus. */
function editInPlace(widget: MultilineWidget, node: LGraphNode, canvas: LGraphCanvas): void {
  const area = h("textarea", { class: "widget-text", value: String(widget.value ?? ""), "aria-label": `${node.title}: ${widget.displayName}`, spellcheck: false })
  document.body.append(area)
  const follow = () => {
    if (!area.isConnected) return
    const margin = BaseWidget.margin
    const rect = screenRect(canvas, node, margin, widget.y, node.size[0] - margin * 2, widget.height - 6)
    Object.assign(area.style, { left: `${rect.x}px`, top: `${rect.y}px`, width: `${rect.width}px`, height: `${rect.height}px`, fontSize: `${12 * canvas.ds.scale}px`, lineHeight: `${LINE * canvas.ds.scale}px`, padding: `${PADDING * canvas.ds.scale * 0.6}px ${PADDING * canvas.ds.scale}px` })
    requestAnimationFrame(follow)
  }
  const before = widget.value
  const finish = () => {
    if (!area.isConnected) return
    area.remove()
    if (widget.value !== before) getHost().changed(node)
    canvas.setDirty(true, true)
  }
  area.addEventListener("input", () => {
    widget.value = area.value
    widget.callback?.(area.value, canvas, node)
    canvas.setDirty(true)
  })
  area.addEventListener("blur", finish)
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") area.blur()
    event.stopPropagation()
    // Running from within a text is what people do most.
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      area.blur()
      document.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, shiftKey: event.shiftKey, bubbles: true }))
    }
  })
  // Wheel over the field zooms the canvas unless the text itself can scroll.
  area.addEventListener("wheel", (event) => {
    if (area.scrollHeight <= area.clientHeight || event.ctrlKey) canvas.canvas.dispatchEvent(new WheelEvent("wheel", event))
  }, { passive: true })
  follow()
  area.focus({ preventScroll: true })
}
