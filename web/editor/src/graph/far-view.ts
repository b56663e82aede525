// Seen from far away, nodes are plain boxes with a title that keeps its size on screen, and links are lines drawn in one go
// for each colour. That keeps a graph of a thousand nodes legible and smooth where its details would be neither.

import { type LGraphCanvas, type LGraphNode, LiteGraph } from "@comfyorg/litegraph"
import { contentBottom, drawNodeExtras, nodeState } from "./node-state.ts"

/** Titles are this tall on screen, however far away. */
const TITLE_PX = 11
/** Boxes narrower than this on screen go without a title. */
const NARROWEST_PX = 46
/** Boxes at least this wide on screen show their values, too, in letters of this size. */
const VALUES_FROM_PX = 76
const VALUES_PX = 9.5

export function useFarView(canvas: LGraphCanvas): void {
  const drawNode = canvas.drawNode.bind(canvas)
  const drawConnections = canvas.drawConnections.bind(canvas)
  canvas.drawNode = (node, ctx) => (canvas.low_quality ? farNode(canvas, node, ctx) : drawNode(node, ctx))
  canvas.drawConnections = (ctx) => {
    // Reroutes bend links in ways only the library knows; graphs that have them are drawn by it.
    if (canvas.low_quality && canvas.graph && canvas.graph.reroutes.size === 0) farLinks(canvas, ctx)
    else drawConnections(ctx)
  }
}

function farNode(canvas: LGraphCanvas, node: LGraphNode, ctx: CanvasRenderingContext2D): void {
  const title = LiteGraph.NODE_TITLE_HEIGHT
  const collapsed = Boolean(node.flags.collapsed)
  const width = collapsed ? (node._collapsed_width ?? LiteGraph.NODE_COLLAPSED_WIDTH) : node.size[0]
  const height = collapsed ? 0 : node.size[1]
  const { scale } = canvas.ds
  const state = nodeState(node)
  ctx.globalAlpha = node.mode === 0 ? 1 : 0.4
  ctx.fillStyle = node.renderingBgColor
  ctx.fillRect(0, -title, width, height + title)
  ctx.fillStyle = node.renderingColor
  ctx.fillRect(0, -title, width, title)
  const outline = state.error || state.unknown ? LiteGraph.NODE_ERROR_COLOUR : state.running ? "#3fb950" : node.selected ? LiteGraph.NODE_BOX_OUTLINE_COLOR : null
  if (outline) {
    ctx.strokeStyle = outline
    ctx.lineWidth = 2 / scale
    ctx.strokeRect(0, -title, width, height + title)
  }
  if (!collapsed && (state.preview || state.images.length || state.badge || state.error)) drawNodeExtras(node, ctx, canvas)
  if (width * scale >= NARROWEST_PX) {
    const size = Math.min(TITLE_PX / scale, Math.max(14, (height + title) * 0.5))
    ctx.font = `${size}px ${LiteGraph.NODE_FONT}`
    ctx.fillStyle = LiteGraph.NODE_SELECTED_TITLE_COLOR
    ctx.textAlign = "left"
    ctx.textBaseline = "top"
    ctx.fillText(shorten(node.title, width, size), size * 0.3, -title + 3, width - size * 0.4)
    if (!collapsed && width * scale >= VALUES_FROM_PX) farValues(node, ctx, width, height, VALUES_PX / scale)
    ctx.textBaseline = "alphabetic"
  }
  ctx.globalAlpha = 1
}

/** What can be read of a node's values at this distance: each on a line of its own, as many as there is room for. */
function farValues(node: LGraphNode, ctx: CanvasRenderingContext2D, width: number, height: number, size: number): void {
  const line = size * 1.35
  // A picture has the rest of the node.
  const state = nodeState(node)
  const bottom = state.preview || state.images.length ? Math.min(height, contentBottom(node)) : height
  const room = Math.floor((bottom - size * 0.4) / line)
  if (room < 1 || !node.widgets?.length) return
  ctx.font = `${size}px ${LiteGraph.NODE_FONT}`
  ctx.fillStyle = LiteGraph.NODE_TEXT_COLOR
  const letters = Math.max(3, Math.floor(width / (size * 0.54)))
  let row = 0
  for (const widget of node.widgets) {
    if (row >= room) return
    if (widget.hidden || widget.type === "button" || widget.name === "control_after_generate") continue
    const text = String(widget.value ?? "")
    if (!text) continue
    // Texts of many lines take what room there is; other values go with their name.
    const rows = widget.computeLayoutSize ? (text.match(new RegExp(`.{1,${letters}}`, "g")) ?? []) : [`${widget.label ?? widget.name} ${text}`]
    for (const part of rows) {
      if (row >= room) return
      ctx.fillText(shorten(part, width, size), size * 0.4, size * 0.4 + row++ * line, width - size * 0.8)
    }
  }
}

/** Measuring a thousand texts a frame is what makes text slow; an average width will do. */
const shorten = (text: string, width: number, size: number) => {
  const fits = Math.max(3, Math.floor(width / (size * 0.56)))
  return text.length > fits ? `${text.slice(0, fits - 1)}…` : text
}

function farLinks(canvas: LGraphCanvas, ctx: CanvasRenderingContext2D): void {
  canvas.renderedPaths.clear()
  const graph = canvas.graph!
  const area = canvas.visible_area
  const [left, top, right, bottom] = [area[0]!, area[1]!, area[0]! + area[2]!, area[1]! + area[3]!]
  const colors = (canvas.constructor as typeof LGraphCanvas).link_type_colors
  const byColor = new Map<string, Path2D>()
  for (const link of graph.links.values()) {
    const from = graph.getNodeById(link.origin_id)
    const to = graph.getNodeById(link.target_id)
    if (!from || !to) continue
    const x1 = from.pos[0] + from.size[0]
    const x2 = to.pos[0]
    const y1 = from.pos[1] + (from.flags.collapsed ? -15 : 14 + link.origin_slot * LiteGraph.NODE_SLOT_HEIGHT)
    const y2 = to.pos[1] + (to.flags.collapsed ? -15 : 14 + Math.min(link.target_slot, 12) * LiteGraph.NODE_SLOT_HEIGHT)
    if (Math.max(x1, x2) < left || Math.min(x1, x2) > right || Math.max(y1, y2) < top || Math.min(y1, y2) > bottom) continue
    const color = String(colors[String(link.type)] ?? canvas.default_link_color)
    let path = byColor.get(color)
    if (!path) byColor.set(color, (path = new Path2D()))
    path.moveTo(x1, y1)
    path.lineTo(x2, y2)
  }
  ctx.lineWidth = Math.max(canvas.connections_width, 1 / canvas.ds.scale)
  for (const [color, path] of byColor) {
    ctx.strokeStyle = color
    ctx.stroke(path)
  }
}
