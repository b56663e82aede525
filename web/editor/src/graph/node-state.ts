// What a node shows besides itself: progress, errors, results, its place in the plan. Never saved, so it lives beside the node.

import { type LGraphCanvas, type LGraphNode, LiteGraph } from "@comfyorg/litegraph"

export interface NodeState {
  running: boolean
  unknown: boolean
  error: string | null
  /** Names of the inputs that an error is about. */
  badInputs: Set<string>
  images: HTMLImageElement[]
  imageIndex: number | null
  preview: ImageBitmap | null
  text: string | null
  planned: "runs" | "cached" | null
  badge: string | null
}

const states = new WeakMap<LGraphNode, NodeState>()

export function nodeState(node: LGraphNode): NodeState {
  let state = states.get(node)
  if (!state) {
    state = { running: false, unknown: false, error: null, badInputs: new Set(), images: [], imageIndex: null, preview: null, text: null, planned: null, badge: null }
    states.set(node, state)
  }
  return state
}

/** The height a node needs below its widgets to show a picture. */
export const PICTURE_HEIGHT = 220

/** Where the free space below slots and widgets begins. */
export function contentBottom(node: LGraphNode): number {
  const slots = Math.max(node.inputs.filter((i) => !i.widget).length, node.outputs.length) * LiteGraph.NODE_SLOT_HEIGHT + 6
  let bottom = slots
  for (const w of node.widgets ?? []) {
    if (w.hidden) continue
    const flexible = Boolean(w.computeLayoutSize)
    bottom = Math.max(bottom, w.y + (flexible ? (w.computedHeight ?? 60) : LiteGraph.NODE_WIDGET_HEIGHT) + 4)
  }
  return bottom
}

export function drawNodeExtras(node: LGraphNode, ctx: CanvasRenderingContext2D, canvas: LGraphCanvas): void {
  if (node.flags.collapsed) return
  const state = nodeState(node)
  drawBadge(node, ctx, state)
  drawBadInputs(node, ctx, state)
  const top = contentBottom(node) + 4
  const room = { x: 10, y: top, width: node.size[0] - 20, height: node.size[1] - top - 10 }
  if (room.height < 24) return
  const pictures: CanvasImageSource[] = state.preview ? [state.preview] : state.images.filter((i) => i.complete && i.naturalWidth > 0)
  if (pictures.length) drawPictures(pictures, state, ctx, room)
  else if (state.text) drawText(state.text, ctx, room)
  void canvas
}

/** Which of a node's pictures lies at a place on it; one that is shown alone is 0. */
export function pictureAt(node: LGraphNode, at: ArrayLike<number>): number | null {
  const [x, y] = [at[0]!, at[1]!]
  const state = nodeState(node)
  const pictures = state.images.filter((i) => i.complete && i.naturalWidth > 0)
  const top = contentBottom(node) + 4
  const room = { x: 10, y: top, width: node.size[0] - 20, height: node.size[1] - top - 10 }
  if (node.flags.collapsed || state.preview || !pictures.length || x < room.x || y < room.y || x > room.x + room.width || y > room.y + room.height) return null
  if (state.imageIndex !== null) return state.imageIndex
  const { columns } = gridFor(pictures.length, room, sizeOf(pictures[0]))
  const rows = Math.ceil(pictures.length / columns)
  const index = Math.floor((y - room.y) / (room.height / rows)) * columns + Math.floor((x - room.x) / (room.width / columns))
  return index < pictures.length ? index : null
}

interface Box {
  x: number
  y: number
  width: number
  height: number
}

const sizeOf = (p: any) => ({ w: p.naturalWidth ?? p.width, h: p.naturalHeight ?? p.height })

function drawPictures(pictures: CanvasImageSource[], state: NodeState, ctx: CanvasRenderingContext2D, room: Box): void {
  const shown = state.imageIndex !== null && pictures[state.imageIndex] ? [pictures[state.imageIndex]!] : pictures
  const { columns } = gridFor(shown.length, room, sizeOf(shown[0]))
  const rows = Math.ceil(shown.length / columns)
  const cell = { width: room.width / columns, height: room.height / rows }
  shown.forEach((picture, i) => {
    const { w, h } = sizeOf(picture)
    const scale = Math.min((cell.width - 4) / w, (cell.height - 4) / h)
    const x = room.x + (i % columns) * cell.width + (cell.width - w * scale) / 2
    const y = room.y + Math.floor(i / columns) * cell.height + (cell.height - h * scale) / 2
    // Small pictures are shown as they are, pixel by pixel, not blurred.
    ctx.imageSmoothingEnabled = scale < 2
    ctx.drawImage(picture, x, y, w * scale, h * scale)
    ctx.imageSmoothingEnabled = true
  })
}

/** The number of columns that shows pictures of this shape largest. */
export function gridFor(count: number, room: { width: number; height: number }, picture: { w: number; h: number }): { columns: number } {
  let best = { columns: 1, scale: 0 }
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns)
    const scale = Math.min(room.width / columns / picture.w, room.height / rows / picture.h)
    if (scale > best.scale) best = { columns, scale }
  }
  return { columns: best.columns }
}

function drawText(text: string, ctx: CanvasRenderingContext2D, room: Box): void {
  ctx.save()
  ctx.beginPath()
  ctx.rect(room.x, room.y, room.width, room.height)
  ctx.clip()
  ctx.font = `12px ${LiteGraph.NODE_FONT}`
  ctx.textAlign = "left"
  ctx.fillStyle = LiteGraph.NODE_TEXT_COLOR
  text.split("\n").slice(0, 60).forEach((line, i) => ctx.fillText(line, room.x + 4, room.y + 14 + i * 16))
  ctx.restore()
}

/** Above the node: what is wrong with it, else its place in the plan. */
function drawBadge(node: LGraphNode, ctx: CanvasRenderingContext2D, state: NodeState): void {
  const error = state.error?.split("\n")[0]
  const text = error ? shortened(error, 64) : state.badge
  if (!text) return
  ctx.save()
  ctx.font = `bold 12px ${LiteGraph.NODE_FONT}`
  const width = ctx.measureText(text).width + 14
  const x = error ? 0 : node.size[0] - width - 4
  const y = -LiteGraph.NODE_TITLE_HEIGHT - (error ? 26 : 14)
  ctx.fillStyle = error ? "#cf222e" : state.planned === "cached" ? "#6e7681" : "#8957e5"
  ctx.beginPath()
  ctx.roundRect(x, y, width, 20, [10])
  ctx.fill()
  ctx.fillStyle = "#ffffff"
  ctx.textAlign = "center"
  ctx.fillText(text, x + width / 2, y + 14)
  ctx.restore()
}

const shortened = (text: string, length: number) => (text.length > length ? `${text.slice(0, length - 1)}…` : text)

function drawBadInputs(node: LGraphNode, ctx: CanvasRenderingContext2D, state: NodeState): void {
  if (state.badInputs.size === 0) return
  ctx.save()
  ctx.strokeStyle = LiteGraph.NODE_ERROR_COLOUR
  ctx.lineWidth = 2
  for (const [i, input] of node.inputs.entries()) {
    if (!state.badInputs.has(input.name)) continue
    const widget = input.widget ? node.widgets?.find((w) => w.name === input.widget!.name) : undefined
    ctx.beginPath()
    if (widget) ctx.roundRect(13, widget.y - 1, node.size[0] - 26, LiteGraph.NODE_WIDGET_HEIGHT + 2, [10])
    else {
      const pos = node.getInputPos(i)
      ctx.arc(pos[0] - node.pos[0], pos[1] - node.pos[1], 9, 0, Math.PI * 2)
    }
    ctx.stroke()
  }
  ctx.restore()
}
