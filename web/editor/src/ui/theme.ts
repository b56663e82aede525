// Light and dark: the page by CSS variables, the canvas by the library's settings, both from one table.

import { type LGraphCanvas, LGraphNode, LiteGraph } from "@comfyorg/litegraph"

export type Theme = "light" | "dark"

const STORED = "ebb.theme"

const CANVAS: Record<Theme, Record<string, string>> = {
  dark: {
    canvas: "#16181d", grid: "#20232a",
    NODE_TITLE_COLOR: "#c9d1d9", NODE_SELECTED_TITLE_COLOR: "#ffffff", NODE_TEXT_COLOR: "#b6bec9", NODE_TEXT_HIGHLIGHT_COLOR: "#ffffff",
    NODE_DEFAULT_COLOR: "#2b303b", NODE_DEFAULT_BGCOLOR: "#232730", NODE_DEFAULT_BOXCOLOR: "#6b7380", NODE_BOX_OUTLINE_COLOR: "#e6edf3", NODE_ERROR_COLOUR: "#f85149",
    WIDGET_BGCOLOR: "#181b21", WIDGET_OUTLINE_COLOR: "#3d444d", WIDGET_TEXT_COLOR: "#e6edf3", WIDGET_SECONDARY_TEXT_COLOR: "#9198a1", WIDGET_DISABLED_TEXT_COLOR: "#656c76", LINK_COLOR: "#9aa4b2",
  },
  light: {
    canvas: "#eef0f3", grid: "#e2e5ea",
    NODE_TITLE_COLOR: "#1f2328", NODE_SELECTED_TITLE_COLOR: "#000000", NODE_TEXT_COLOR: "#424a53", NODE_TEXT_HIGHLIGHT_COLOR: "#000000",
    NODE_DEFAULT_COLOR: "#dfe3e8", NODE_DEFAULT_BGCOLOR: "#ffffff", NODE_DEFAULT_BOXCOLOR: "#8b949e", NODE_BOX_OUTLINE_COLOR: "#0969da", NODE_ERROR_COLOUR: "#cf222e",
    WIDGET_BGCOLOR: "#f6f8fa", WIDGET_OUTLINE_COLOR: "#c5ccd4", WIDGET_TEXT_COLOR: "#1f2328", WIDGET_SECONDARY_TEXT_COLOR: "#59636e", WIDGET_DISABLED_TEXT_COLOR: "#9198a1", LINK_COLOR: "#6e7781",
  },
}

/** A colour for each common type, as ComfyUI's users know them. */
const TYPES: Record<string, string> = {
  CLIP: "#e3b341", CLIP_VISION: "#7fa8d1", CLIP_VISION_OUTPUT: "#ad7452", CONDITIONING: "#ef8d3d", CONTROL_NET: "#3fb28f", IMAGE: "#5aa9ea", LATENT: "#ec6cb9",
  MASK: "#6cb56c", MODEL: "#a78bda", STYLE_MODEL: "#b5c94c", VAE: "#ef6b62", NOISE: "#a0a0a0", GUIDER: "#4fc0c0", SAMPLER: "#93b1a6", SIGMAS: "#b9b28a", UPSCALE_MODEL: "#c4d86b",
  INT: "#3dae87", FLOAT: "#7ac74f", STRING: "#8bb8c9", BOOLEAN: "#d6a25c", COMBO: "#9c8fb8", "*": "#9aa4b2",
}

export function currentTheme(): Theme {
  const stored = localStorage.getItem(STORED)
  if (stored === "light" || stored === "dark") return stored
  return matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark"
}

export function applyTheme(canvas: LGraphCanvas, theme: Theme): void {
  document.documentElement.dataset.theme = theme
  const { canvas: background, grid, ...settings } = CANVAS[theme]
  Object.assign(LiteGraph, settings)
  canvas.clear_background_color = background!
  canvas.node_title_color = settings.NODE_TITLE_COLOR!
  canvas.default_link_color = settings.LINK_COLOR!
  Object.assign(canvas.default_connection_color_byType, TYPES)
  const type_colors = (canvas.constructor as typeof LGraphCanvas).link_type_colors
  Object.assign(type_colors, TYPES)
  if (!Object.getOwnPropertyDescriptor(canvas, "highlighted_links")?.get) highlightOnDarkOnly(canvas)
  lighten = theme === "light"
  canvas.render_connections_border = !lighten
  canvas.onDrawBackground = (ctx, area) => drawGrid(ctx, area, grid!, canvas.ds.scale)
  canvas.setDirty(true, true)
}

let lighten = false

/**
 * Workflows carry colours that were chosen on dark ground. On light ground the same hue is shown pale, so that titles stay
 * legible; the file keeps its own.
 */
export function patchNodeColors(): void {
  for (const [property, lightness] of [["renderingColor", 80], ["renderingBgColor", 92]] as const) {
    const own = Object.getOwnPropertyDescriptor(LGraphNode.prototype, property)!
    Object.defineProperty(LGraphNode.prototype, property, {
      configurable: true,
      get(this: LGraphNode) {
        const color = own.get!.call(this) as string
        return lighten && this.color ? paler(color, lightness) : color
      },
    })
  }
}

/** The hue of a hex colour at another lightness. */
export function paler(color: string, lightness: number): string {
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(color)?.[1]
  if (!hex) return color
  const [r, g, b] = (hex.length === 3 ? [...hex].map((c) => c + c) : hex.match(/../g)!).map((p) => Number.parseInt(p, 16) / 255) as [number, number, number]
  const max = Math.max(r, g, b)
  const spread = max - Math.min(r, g, b)
  if (spread === 0) return `hsl(0 0% ${lightness}%)`
  const sector = max === r ? ((g - b) / spread + 6) % 6 : max === g ? (b - r) / spread + 2 : (r - g) / spread + 4
  return `hsl(${Math.round(sector * 60)} 45% ${lightness}%)`
}

/** Links of what is selected are drawn white by the library, which is no highlight on light ground: there they keep their colours. */
function highlightOnDarkOnly(canvas: LGraphCanvas): void {
  let marked = canvas.highlighted_links
  Object.defineProperty(canvas, "highlighted_links", { configurable: true, get: () => (lighten ? {} : marked), set: (value) => (marked = value) })
}

export function toggleTheme(canvas: LGraphCanvas): void {
  const next = currentTheme() === "dark" ? "light" : "dark"
  localStorage.setItem(STORED, next)
  applyTheme(canvas, next)
}

/** A faint grid that tells how far one has moved; gone when lines would crowd. */
function drawGrid(ctx: CanvasRenderingContext2D, area: ArrayLike<number>, color: string, scale: number): void {
  const step = scale < 0.25 ? 0 : scale < 0.6 ? 200 : 100
  if (!step) return
  const [x, y, width, height] = [area[0]!, area[1]!, area[2]!, area[3]!]
  ctx.strokeStyle = color
  ctx.lineWidth = 1 / scale
  ctx.beginPath()
  for (let at = Math.floor(x / step) * step; at < x + width; at += step) ctx.moveTo(at, y), ctx.lineTo(at, y + height)
  for (let at = Math.floor(y / step) * step; at < y + height; at += step) ctx.moveTo(x, at), ctx.lineTo(x + width, at)
  ctx.stroke()
}
