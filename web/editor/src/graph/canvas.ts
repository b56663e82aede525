// The canvas library, set up the way ComfyUI's users know it.

import { LGraphCanvas, type LGraph, LiteGraph } from "@comfyorg/litegraph"
import { patchWidgets } from "../widgets/patches.ts"
import { useFarView } from "./far-view.ts"
import { addTouch } from "./touch.ts"

export function makeCanvas(element: HTMLCanvasElement, graph: LGraph): LGraphCanvas {
  LiteGraph.release_link_on_empty_shows_menu = false
  LiteGraph.alt_drag_do_clone_nodes = true
  LiteGraph.ctrl_shift_v_paste_connect_unselected_outputs = true
  LiteGraph.snaps_for_comfy = true
  LiteGraph.saveViewportWithGraph = false
  LiteGraph.middle_click_slot_add_default_node = false
  LiteGraph.truncateWidgetValuesFirst = true
  LiteGraph.catch_exceptions = false
  LiteGraph.NODE_FONT = "system-ui, sans-serif"
  LiteGraph.GROUP_FONT = "system-ui, sans-serif"
  patchWidgets()
  const canvas = new LGraphCanvas(element, graph, { skip_render: true })
  canvas.allow_searchbox = false
  canvas.multi_select = false
  canvas.render_shadows = false
  canvas.show_info = false
  canvas.render_canvas_border = false
  canvas.background_image = ""
  canvas.low_quality_zoom_threshold = 0.45
  canvas.zoom_speed = 1.1
  useFarView(canvas)
  resizeWithParent(element, canvas)
  addTouch(element, canvas)
  canvas.startRendering()
  return canvas
}

/** The library draws in CSS pixels; on a dense display both canvases are made larger and their contexts scaled. */
function resizeWithParent(element: HTMLCanvasElement, canvas: LGraphCanvas): void {
  const fit = () => {
    const { clientWidth: width, clientHeight: height } = element.parentElement!
    if (!width || !height) return
    const ratio = Math.max(1, devicePixelRatio || 1)
    element.width = Math.round(width * ratio)
    element.height = Math.round(height * ratio)
    element.style.width = `${width}px`
    element.style.height = `${height}px`
    element.getContext("2d")?.scale(ratio, ratio)
    canvas.bgcanvas.width = element.width
    canvas.bgcanvas.height = element.height
    canvas.bgcanvas.getContext("2d")?.scale(ratio, ratio)
    canvas.draw(true, true)
  }
  new ResizeObserver(fit).observe(element.parentElement!)
}
