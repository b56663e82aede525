// The open workflow: the canvas that shows it, the file it came from, and the way back through its changes.

import { LGraph, type LGraphCanvas, type LGraphNode, type Subgraph } from "@comfyorg/litegraph"
import { differInDepthOnly } from "../doc/depth.ts"
import { jsonEqual } from "../doc/equal.ts"
import { cloneJson } from "../doc/json.ts"
import { merge } from "../doc/merge.ts"
import { emptyWorkflow, prepare, typesOf } from "../doc/prepare.ts"
import type { Workflow } from "../doc/types.ts"
import { inputsOf } from "../schema/inputs.ts"
import type { ObjectInfo } from "../schema/types.ts"
import { Emitter } from "../ui/emitter.ts"
import { makeCanvas } from "./canvas.ts"
import { History } from "./history.ts"
import { showProxies } from "./proxy-widgets.ts"
import { registerNodes, registerSubgraph, registerUnknown } from "./register.ts"

export interface EditorEvents {
  /** A step was made, undone or redone, or another workflow was opened. */
  changed: { structural: boolean }
  loaded: { unknown: string[] }
  selection: undefined
  /** Another graph is shown: a subgraph or the workflow itself. */
  view: undefined
}

export class Editor extends Emitter<EditorEvents> {
  readonly graph = new LGraph()
  readonly canvas: LGraphCanvas
  schemas: ObjectInfo = {}
  name: string | null = null
  /** The ids of the subgraph instances that lead to what is shown. */
  path: string[] = []

  private history = new History<Workflow>(emptyWorkflow())
  /** What the library wrote for the current state; see `doc/merge.ts`. */
  private base: unknown
  private saved: Workflow
  private busy = false
  private queued = false
  /** A button is down on the canvas: what it does is one step, made when it is let go, whoever asks for the workflow meanwhile. */
  private held = false

  constructor(element: HTMLCanvasElement) {
    super()
    this.graph.events.addEventListener("subgraph-created", (e) => registerSubgraph(this.graph, e.detail.subgraph))
    this.canvas = makeCanvas(element, this.graph)
    this.base = this.write()
    this.saved = this.history.current
    this.watch(element)
  }

  useSchemas(schemas: ObjectInfo): void {
    this.schemas = schemas
    registerNodes(schemas)
  }

  /** Takes up what a server says later: new choices for the nodes that are there, new nodes for the search. */
  refreshSchemas(fresh: ObjectInfo): void {
    Object.assign(this.schemas, fresh)
    registerNodes(fresh)
    for (const graph of [this.graph, ...this.graph.subgraphs.values()]) {
      for (const node of graph.nodes) {
        const info = fresh[node.type]
        if (!info) continue
        for (const decl of inputsOf(info)) {
          const widget = decl.kind === "combo" ? node.widgets?.find((w) => w.name === decl.name) : undefined
          if (widget) widget.options.values = decl.values as never
        }
      }
    }
    this.canvas.setDirty(true, true)
  }

  // ---- Opening and saving -------------------------------------------------------------------------------------------

  open(workflow: Workflow, name: string | null): void {
    this.history = new History(workflow)
    const unknown = this.show(workflow, null)
    this.saved = workflow
    this.name = name
    this.restoreView(workflow)
    this.emit("loaded", { unknown })
    this.emit("changed", { structural: true })
  }

  clear(): void {
    this.open(emptyWorkflow(), null)
  }

  /** The workflow as it is now, with everything its file held that the canvas does not know. */
  current(): Workflow {
    this.record()
    return this.history.current
  }

  markSaved(name: string | null): void {
    this.saved = this.current()
    this.name = name
    this.emit("changed", { structural: false })
  }

  /** Takes up work that was never saved, so that it still counts as unsaved. */
  markUnsaved(): void {
    this.saved = emptyWorkflow()
  }

  get dirty(): boolean {
    return this.saved !== this.history.current && !jsonEqual(this.saved, this.history.current)
  }

  get empty(): boolean {
    return this.graph.nodes.length === 0 && this.graph.groups.length === 0
  }

  // ---- Changes ------------------------------------------------------------------------------------------------------

  /** Looks for a change soon, once for however many events one action fires. */
  touch(): void {
    if (this.queued) return
    this.queued = true
    queueMicrotask(() => {
      this.queued = false
      this.record()
    })
  }

  /** Makes a step of whatever changed since the last one. */
  record(): void {
    if (this.busy || this.held) return
    const written = this.write()
    if (jsonEqual(this.base, written) || differInDepthOnly(this.base, written)) return
    const next = merge(this.history.current, this.base, written) as Workflow
    this.base = written
    this.history.push(next)
    this.emit("changed", { structural: true })
  }

  /** Takes what the program changed itself (a node that grew for its picture) into the present without a step. */
  absorb(change: () => void): void {
    this.record()
    change()
    this.base = this.write()
  }

  /** Replaces the whole workflow as one step: for changes that are computed on the file, not on the canvas. */
  replace(workflow: Workflow): void {
    this.record()
    this.history.push(workflow)
    this.show(workflow, this.path)
    this.emit("changed", { structural: true })
  }

  get canUndo(): boolean {
    return this.history.canUndo
  }
  get canRedo(): boolean {
    return this.history.canRedo
  }
  undo(): void {
    this.record()
    this.travel(this.history.undo())
  }
  redo(): void {
    this.record()
    this.travel(this.history.redo())
  }

  private travel(state: Workflow | null): void {
    if (!state) return
    this.show(state, this.path)
    this.emit("changed", { structural: true })
  }

  // ---- Subgraphs ----------------------------------------------------------------------------------------------------

  enter(node: LGraphNode): void {
    if (!node.isSubgraphNode()) return
    this.path = [...this.path, String(node.id)]
    this.showGraph(node.subgraph)
    this.fit()
  }

  /** Goes up to where `depth` instances lead. */
  leave(depth: number): void {
    const from = this.path[depth]
    this.path = this.path.slice(0, depth)
    this.showGraph(this.graphAt(this.path) ?? this.graph)
    const node = from !== undefined ? this.canvas.graph?.getNodeById(from) : null
    if (node) this.canvas.centerOnNode(node)
  }

  /** The graph a path of instance ids leads to. */
  graphAt(path: readonly string[]): LGraph | Subgraph | null {
    let graph: LGraph | Subgraph = this.graph
    for (const id of path) {
      const node: LGraphNode | null = graph.getNodeById(id)
      if (!node?.isSubgraphNode()) return null
      graph = node.subgraph
    }
    return graph
  }

  /** The node an execution id (`12`, `12:3`) names, if its graph is the one shown, else the instance here that holds it. */
  nodeForExecution(id: string): LGraphNode | null {
    const parts = id.split(/[:.]/)
    for (let i = 0; i < this.path.length; i++) if (parts[i] !== this.path[i]) return null
    const own = parts[this.path.length]
    return own === undefined ? null : (this.canvas.graph?.getNodeById(own) ?? this.canvas.graph?.getNodeById(Number(own)) ?? null)
  }

  /** The execution id of a node in the graph shown. */
  executionId(node: LGraphNode): string {
    return [...this.path, String(node.id)].join(":")
  }

  /** Shows the graph an execution id lies in, and the node. */
  reveal(id: string): void {
    const parts = id.split(":")
    const path = parts.slice(0, -1)
    if (path.join(":") !== this.path.join(":") && this.graphAt(path)) {
      this.path = path
      this.showGraph(this.graphAt(path)!)
    }
    const node = this.nodeForExecution(id)
    if (!node) return
    this.canvas.selectItems([node])
    this.canvas.centerOnNode(node)
    this.canvas.setDirty(true, true)
  }

  private showGraph(graph: LGraph | Subgraph): void {
    this.canvas.subgraph = graph === this.graph ? undefined : (graph as Subgraph)
    this.canvas.setGraph(graph)
    this.canvas.setDirty(true, true)
    this.emit("view", undefined)
    this.emit("selection", undefined)
  }

  // ---- Inside -------------------------------------------------------------------------------------------------------

  private show(workflow: Workflow, path: string[] | null): string[] {
    this.busy = true
    const view = { scale: this.canvas.ds.scale, offset: [...this.canvas.ds.offset] as [number, number] }
    const selected = [...this.canvas.selectedItems].map((i) => i.id)
    const unknown = registerUnknown(typesOf(workflow))
    try {
      this.canvas.deselectAll()
      this.canvas.subgraph = undefined
      this.canvas.setGraph(this.graph)
      this.graph.configure(prepare(workflow) as never)
    } finally {
      this.busy = false
    }
    const target = path && this.graphAt(path)
    this.path = target ? path : []
    if (target && path.length) {
      this.canvas.subgraph = target as Subgraph
      this.canvas.setGraph(target)
    }
    if (path) {
      Object.assign(this.canvas.ds, { scale: view.scale, offset: view.offset })
      const items = [...(this.canvas.graph?.positionableItems() ?? [])].filter((i) => selected.includes(i.id))
      if (items.length) this.canvas.selectItems(items)
    }
    showProxies(this.graph)
    this.layOutAll()
    this.base = this.write()
    // What can be pressed is what was drawn last; the nodes of before are no more, so a press must not find them.
    this.canvas.computeVisibleNodes(undefined, this.canvas.visible_nodes)
    this.canvas.setDirty(true, true)
    this.emit("view", undefined)
    return unknown
  }

  /** A node that is too small for what is in it grows when it is first drawn. That is no change, so it happens before any is looked for. */
  private layOutAll(): void {
    for (const subgraph of this.graph.subgraphs.values()) {
      subgraph.inputNode.arrange()
      subgraph.outputNode.arrange()
    }
    for (const graph of [this.graph, ...this.graph.subgraphs.values()]) {
      for (const node of graph.nodes) {
        if (node.flags.collapsed) continue
        node._setConcreteSlots()
        node.arrange()
      }
    }
  }

  /** What the library writes, detached from its live objects, in the form of the file's version. */
  private write(): unknown {
    const objects = this.history?.current.version === 1
    const graph = objects ? this.graph.asSerialisable() : this.graph.serialize()
    return cloneJson(graph)
  }

  private restoreView(workflow: Workflow): void {
    const ds = workflow.extra?.ds as { scale?: number; offset?: unknown } | undefined
    const offset = ds?.offset as [number, number] | Record<string, number> | undefined
    const x = Number((offset as Record<number, number> | undefined)?.[0])
    const y = Number((offset as Record<number, number> | undefined)?.[1])
    if (ds?.scale && Number.isFinite(x) && Number.isFinite(y)) {
      this.canvas.ds.scale = ds.scale
      this.canvas.ds.offset = [x, y]
    } else this.fit()
  }

  /** Shows the whole graph; a few small nodes need not fill the window. */
  fit(): void {
    const { ds, graph, canvas } = this.canvas
    const items = [...(graph?.nodes ?? []).map((n) => [n.pos[0], n.pos[1] - 40, n.size[0], n.size[1] + 40]), ...(graph?.groups ?? []).map((g) => [g.pos[0], g.pos[1], g.size[0], g.size[1]])] as [number, number, number, number][]
    if (items.length === 0) return ds.reset()
    const left = Math.min(...items.map((i) => i[0]))
    const top = Math.min(...items.map((i) => i[1]))
    const width = Math.max(...items.map((i) => i[0] + i[2])) - left
    const height = Math.max(...items.map((i) => i[1] + i[3])) - top
    const [w, h] = [canvas.clientWidth, canvas.clientHeight]
    ds.scale = Math.max(0.1, Math.min(1, (w - 80) / width, (h - 80) / height))
    ds.offset[0] = w / 2 / ds.scale - left - width / 2
    ds.offset[1] = h / 2 / ds.scale - top - height / 2
    this.canvas.setDirty(true, true)
  }

  private watch(element: HTMLCanvasElement): void {
    const touch = () => this.touch()
    element.addEventListener("litegraph:canvas", (event) => {
      const { subType } = (event as CustomEvent<{ subType: string }>).detail
      if (subType === "after-change") this.touch()
    })
    this.graph.onAfterChange = touch
    // Whatever the pointer did is complete when it is let go; the library's own handler runs first.
    element.addEventListener("pointerdown", () => (this.held = true), true)
    const free = () => {
      if (!this.held) return
      this.held = false
      setTimeout(touch, 0)
    }
    document.addEventListener("pointerup", () => setTimeout(touch, 0))
    // The library keeps some of these to itself, so they are heard before it.
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, free, true)
    // Let go outside of the window, nobody is told.
    window.addEventListener("pointermove", (event) => event.buttons === 0 && free(), true)
    this.canvas.onSelectionChange = () => this.emit("selection", undefined)
    this.canvas.onNodeSelectionChange = () => this.emit("selection", undefined)
    element.addEventListener("subgraph-opening", (event) => {
      // Opened by the library's own button: find the instance, so that the way back is known.
      const { subgraph } = (event as CustomEvent<{ subgraph: Subgraph }>).detail
      const node = this.canvas.graph?.nodes.find((n) => n.isSubgraphNode() && n.subgraph === subgraph)
      event.preventDefault()
      if (node) this.enter(node)
    })
  }
}

