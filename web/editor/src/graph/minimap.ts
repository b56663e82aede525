// The whole graph in a corner, and the part that is seen.

import type { App } from "../app.ts"
import { t } from "../i18n/index.ts"
import { h } from "../ui/dom.ts"
import { nodeState } from "./node-state.ts"

const WIDTH = 190
const HEIGHT = 120
const MARGIN = 8

export const toggleMinimap = () => document.querySelector<HTMLElement>(".minimap")?.toggleAttribute("hidden")

export function addMinimap(app: App): void {
  const { editor, shell } = app
  const { canvas } = editor
  const element = h("canvas", { class: "minimap", width: WIDTH * 2, height: HEIGHT * 2, role: "img", "aria-label": t("minimap.label") })
  shell.stage.append(element)
  const ctx = element.getContext("2d")!
  let scale = 1
  let origin = [0, 0]

  const draw = () => {
    if (element.hidden || !canvas.graph) return
    ctx.setTransform(2, 0, 0, 2, 0, 0)
    ctx.clearRect(0, 0, WIDTH, HEIGHT)
    const nodes = canvas.graph.nodes
    element.classList.toggle("quiet", nodes.length === 0)
    if (!nodes.length) return
    const area = canvas.ds.visible_area
    const xs = nodes.flatMap((n) => [n.pos[0], n.pos[0] + n.size[0]]).concat(area[0]!, area[0]! + area[2]!)
    const ys = nodes.flatMap((n) => [n.pos[1] - 30, n.pos[1] + n.size[1]]).concat(area[1]!, area[1]! + area[3]!)
    const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)]
    scale = Math.min((WIDTH - MARGIN * 2) / (right - left), (HEIGHT - MARGIN * 2) / (bottom - top))
    origin = [left - (WIDTH / scale - (right - left)) / 2, top - (HEIGHT / scale - (bottom - top)) / 2]
    for (const node of nodes) {
      const state = nodeState(node)
      ctx.fillStyle = state.error || state.unknown ? "#f85149" : state.running ? "#3fb950" : node.color && node.color.length > 4 ? node.color : "#6b7380"
      ctx.globalAlpha = node.mode === 0 ? 0.9 : 0.35
      ctx.fillRect((node.pos[0] - origin[0]!) * scale, (node.pos[1] - origin[1]!) * scale, Math.max(2, node.size[0] * scale), Math.max(2, node.size[1] * scale))
    }
    ctx.globalAlpha = 1
    ctx.strokeStyle = "#4493f8"
    ctx.lineWidth = 1.5
    ctx.strokeRect((area[0]! - origin[0]!) * scale, (area[1]! - origin[1]!) * scale, area[2]! * scale, area[3]! * scale)
  }
  // A few times a second is enough here, and leaves the frames to the graph itself.
  let last = ""
  setInterval(() => {
    const area = canvas.ds.visible_area
    const now = `${area[0]}|${area[1]}|${area[2]}|${area[3]}|${canvas.graph?._version}|${canvas.graph?.nodes.length}|${app.runs.current?.current}`
    if (now !== last) draw()
    last = now
  }, 150)
  editor.on("changed", () => (last = ""))

  const go = (event: PointerEvent) => {
    const rect = element.getBoundingClientRect()
    const shown = rect.width / WIDTH
    const x = (event.clientX - rect.x) / shown / scale + origin[0]!
    const y = (event.clientY - rect.y) / shown / scale + origin[1]!
    canvas.ds.offset[0] = -x + canvas.canvas.clientWidth / 2 / canvas.ds.scale
    canvas.ds.offset[1] = -y + canvas.canvas.clientHeight / 2 / canvas.ds.scale
    canvas.setDirty(true, true)
  }
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId)
    go(event)
  })
  element.addEventListener("pointermove", (event) => event.buttons && go(event))
}
