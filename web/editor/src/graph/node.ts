// A node as the canvas shows it, made from its declaration.

import { LGraphNode, LiteGraph } from "@comfyorg/litegraph"
import { inputsOf, isWidget } from "../schema/inputs.ts"
import type { NodeInfo } from "../schema/types.ts"
import { createWidgets } from "../widgets/create.ts"
import { drawNodeExtras, nodeState, pictureAt } from "./node-state.ts"

/** Makes the class of one node type. */
export function nodeClass(info: NodeInfo): typeof LGraphNode {
  class EbbNode extends LGraphNode {
    static override title = info.display_name || info.name
    static nodeInfo = info

    constructor(title: string) {
      super(title, info.name)
      this.serialize_widgets = true
      this.comfyClass = info.name
      build(this, info)
      watchState(this)
    }

    override configure(data: any): void {
      super.configure(withDeclaredSlots(data, this))
      const stored = data.widgets_values
      if (stored && !Array.isArray(stored)) for (const w of this.widgets ?? []) if (w.name in stored) w.value = stored[w.name]
    }
  }
  return EbbNode as unknown as typeof LGraphNode
}

/** The class of a type this server does not know: it shows the slots of the file and keeps everything in it. */
export function unknownClass(type: string): typeof LGraphNode {
  class UnknownNode extends LGraphNode {
    static override title = type
    private kept: unknown

    constructor(title: string) {
      super(title, type)
      nodeState(this).unknown = true
      watchState(this)
    }
    override configure(data: any): void {
      this.kept = data.widgets_values
      super.configure(data)
    }
    override serialize(): any {
      const data: any = super.serialize()
      if (this.kept !== undefined) data.widgets_values = this.kept
      return data
    }
  }
  return UnknownNode as unknown as typeof LGraphNode
}

function build(node: LGraphNode, info: NodeInfo): void {
  const decls = inputsOf(info)
  for (const decl of decls.filter((d) => !isWidget(d))) {
    // Optional inputs are drawn as a ring.
    node.addInput(decl.name, decl.type as any, decl.optional ? { shape: 7 as any } : {})
  }
  for (const decl of decls.filter(isWidget)) {
    createWidgets(node, decl)
    if (!decl.options.socketless) node.addInput(decl.name, decl.type as any, { widget: { name: decl.name } as any })
  }
  info.output?.forEach((type, i) => {
    const name = info.output_name?.[i] ?? (Array.isArray(type) ? "COMBO" : String(type))
    const list = info.output_is_list?.[i]
    node.addOutput(name, (Array.isArray(type) ? "COMBO" : type) as any, list ? { shape: 6 as any } : {})
  })
  node.properties["Node name for S&R"] = info.name
  const size = node.computeSize()
  const tall = node.widgets?.some((w: any) => w.computeLayoutSize) ? 60 : 0
  node.setSize([Math.max(size[0] * 1.1, info.output_node ? 240 : 210), size[1] + tall])
}

/** A file may be older than the server: inputs it does not mention are added after its own, so that its links keep their slots. */
function withDeclaredSlots(data: any, node: LGraphNode): any {
  if (!Array.isArray(data.inputs)) return data
  const named = new Set(data.inputs.map((i: any) => i.name))
  const missing = node.inputs.filter((i) => !named.has(i.name)).map((i: any) => ({ name: i.name, type: i.type, link: null, ...(i.widget ? { widget: { name: i.widget.name } } : {}), ...(i.shape ? { shape: i.shape } : {}) }))
  // An input that became a widget since then must say so, or its socket would be drawn twice.
  const inputs = data.inputs.map((i: any) => (!i.widget && node.widgets?.some((w) => w.name === i.name) ? { ...i, widget: { name: i.name } } : i))
  return { ...data, inputs: [...inputs, ...missing] }
}

function watchState(node: LGraphNode): void {
  node.strokeStyles["ebb"] = function (this: LGraphNode) {
    const state = nodeState(this)
    if (state.error || state.unknown) return { color: LiteGraph.NODE_ERROR_COLOUR, lineWidth: 2, padding: 4 } as any
    if (state.running) return { color: "#3fb950", lineWidth: 2, padding: 4 } as any
    if (state.planned === "cached") return { color: "#8b949e", lineWidth: 1, padding: 3 } as any
    return undefined
  }
  // One of several pictures is shown alone by a press on it, and all again by the next.
  node.onMouseDown = function (this: LGraphNode, _event, pos, canvas) {
    const index = pictureAt(this, pos)
    const state = nodeState(this)
    if (index === null || state.images.length < 2) return false
    state.imageIndex = state.imageIndex === null ? index : null
    canvas.setDirty(true, true)
    return true
  }
  node.onDrawForeground = function (this: LGraphNode, ctx, canvas) {
    drawNodeExtras(this, ctx, canvas)
  }
}
export { watchState }
