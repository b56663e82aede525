// Dragging something out of a panel and onto the graph.

import type { LGraphNode } from "@comfyorg/litegraph"
import type { App } from "../app.ts"
import { addNode } from "../graph/commands.ts"

const TYPE = "application/x-ebb-node"

export interface Dragged {
  node: string
  /** Widget values to set, by name. */
  values?: Record<string, unknown>
}

export function dragSource(element: HTMLElement, what: Dragged): void {
  element.draggable = true
  element.addEventListener("dragstart", (event) => event.dataTransfer?.setData(TYPE, JSON.stringify(what)))
}

const accepting = new WeakSet<App>()

export function acceptDrops(app: App): void {
  if (accepting.has(app)) return
  accepting.add(app)
  const { stage } = app.shell
  stage.addEventListener("dragover", (event) => event.dataTransfer?.types.includes(TYPE) && event.preventDefault())
  stage.addEventListener("drop", (event) => {
    const data = event.dataTransfer?.getData(TYPE)
    if (!data) return
    event.preventDefault()
    const at = app.editor.canvas.convertEventToCanvasOffset(event)
    place(app, JSON.parse(data) as Dragged, [at[0], at[1]])
  })
}

export function place(app: App, what: Dragged, at: [number, number] | null): LGraphNode | null {
  const node = addNode(app, what.node, at)
  for (const [name, value] of Object.entries(what.values ?? {})) {
    const widget = node?.widgets?.find((w) => w.name === name)
    if (widget) widget.value = value as never
  }
  app.editor.record()
  return node
}
