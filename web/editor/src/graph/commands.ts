// Everything people can do to the graph, by name: menus, keys and buttons all come here.

import { type LGraphCanvas, LGraphGroup, type LGraphNode, LiteGraph } from "@comfyorg/litegraph"
import type { App } from "../app.ts"
import { makeSubgraph } from "../doc/subgraph-make.ts"
import { unpackSubgraph } from "../doc/subgraph-unpack.ts"
import { Mode } from "../doc/types.ts"
import { t } from "../i18n/index.ts"
import { toast } from "../ui/toast.ts"
import { openField } from "../widgets/field.ts"
import { arrange } from "./align.ts"

export const selectedNodes = (canvas: LGraphCanvas): LGraphNode[] => Object.values(canvas.selected_nodes ?? {})

/** Runs a change on the canvas and makes a step of it. */
export function step(app: App, change: () => void): void {
  app.editor.record()
  change()
  app.editor.record()
  app.editor.canvas.setDirty(true, true)
}

export function setMode(app: App, mode: number): void {
  const nodes = selectedNodes(app.editor.canvas)
  if (!nodes.length) return
  // A second press takes it back, when all of them have it.
  const off = nodes.every((n) => n.mode === mode)
  step(app, () => nodes.forEach((n) => (n.mode = off ? Mode.always : mode)))
}

export function toggleCollapse(app: App): void {
  step(app, () => selectedNodes(app.editor.canvas).forEach((n) => n.collapse()))
}

export function togglePin(app: App): void {
  step(app, () => [...app.editor.canvas.selectedItems].forEach((i: any) => i.pin?.()))
}

export function setColor(app: App, name: string | null): void {
  const option = name ? (app.editor.canvas.constructor as typeof LGraphCanvas).node_colors[name]! : null
  step(app, () => [...app.editor.canvas.selectedItems].forEach((i: any) => i.setColorOption?.(option)))
}

export function deleteSelected(app: App): void {
  step(app, () => app.editor.canvas.deleteSelected())
}

/** Asks the server anew what it has: choices of files change while the page is open. */
export async function refreshNodes(app: App): Promise<void> {
  try {
    app.editor.refreshSchemas(await app.api.objectInfo())
    toast(t("nodes.refreshed"))
  } catch (error) {
    toast((error as Error).message, { kind: "error" })
  }
}

/** Center of what is seen, in graph units. */
export function viewCenter(canvas: LGraphCanvas): [number, number] {
  const element = canvas.canvas
  return [element.clientWidth / 2 / canvas.ds.scale - canvas.ds.offset[0], element.clientHeight / 2 / canvas.ds.scale - canvas.ds.offset[1]]
}

export function addNode(app: App, type: string, at: [number, number] | null = null): LGraphNode | null {
  const { editor } = app
  const node = LiteGraph.createNode(type)
  if (!node) return null
  const center = viewCenter(editor.canvas)
  node.pos = at ?? freePlace(editor.canvas, [center[0] - node.size[0] / 2, center[1] - node.size[1] / 2])
  step(app, () => {
    editor.canvas.graph!.add(node)
    editor.canvas.selectItems([node])
  })
  return node
}

/** Nodes added one after another do not hide each other. */
function freePlace(canvas: LGraphCanvas, wanted: [number, number]): [number, number] {
  const at: [number, number] = [...wanted]
  const taken = () => canvas.graph!.nodes.some((n) => Math.abs(n.pos[0] - at[0]) < 20 && Math.abs(n.pos[1] - at[1]) < 20)
  while (taken()) {
    at[0] += 30
    at[1] += 30
  }
  return at
}

export function addGroup(app: App): void {
  const { canvas } = app.editor
  const items = [...canvas.selectedItems]
  step(app, () => {
    const group = new LGraphGroup(t("group.title"))
    if (items.length) group.resizeTo(items, 24)
    else {
      const [x, y] = viewCenter(canvas)
      group.pos = [x - 160, y - 100]
      group.size = [320, 200]
    }
    canvas.graph!.add(group)
  })
}

export function renameNode(app: App, node: LGraphNode, at: { x: number; y: number }): void {
  openField(t("inspector.title"), node.title, at, (text) => step(app, () => (node.title = text)))
}

export function convertToSubgraph(app: App): void {
  const { editor } = app
  const ids = selectedNodes(editor.canvas).map((n) => n.id)
  if (!ids.length) return
  change(app, () => makeSubgraph(editor.current(), editor.path, ids, t("subgraph.new")))
}

export function unpack(app: App, node: LGraphNode): void {
  change(app, () => unpackSubgraph(app.editor.current(), app.editor.path, node.id))
}

function change(app: App, compute: () => ReturnType<typeof makeSubgraph>): void {
  try {
    app.editor.replace(compute())
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error), { kind: "error" })
  }
}

export function align(app: App, how: Parameters<typeof arrange>[1]): void {
  const selected = selectedNodes(app.editor.canvas)
  const nodes = selected.length > 1 ? selected : [...app.editor.canvas.graph!.nodes]
  step(app, () => arrange(nodes, how))
}

export function zoom(canvas: LGraphCanvas, factor: number): void {
  canvas.ds.changeScale(canvas.ds.scale * factor, [canvas.canvas.clientWidth / 2, canvas.canvas.clientHeight / 2])
  canvas.setDirty(true, true)
}
