// The plan, laid over the graph: the order on each node, what it loads, the wires values live on, and where they die.

import type { LGraphNode } from "@comfyorg/litegraph"
import type { PlanReport, PlanStep, PlanValue } from "../api/v1.ts"
import { t } from "../i18n/index.ts"
import { bytes } from "../ui/format.ts"
import type { Editor } from "./editor.ts"
import { nodeState } from "./node-state.ts"

const ALIVE = "#a371f7"
const DEATH = "#f0883e"

export class PlanOverlay {
  private plan: PlanReport | null = null
  /** The step that people look at; its values stand out. */
  private focus: number | null = null

  constructor(private readonly editor: Editor) {
    const { canvas } = editor
    canvas.onDrawForeground = (ctx) => this.draw(ctx)
    editor.on("view", () => this.mark())
    editor.on("changed", () => this.mark())
  }

  show(plan: PlanReport | null): void {
    this.plan = plan
    this.focus = null
    this.mark()
  }

  focusStep(index: number | null): void {
    this.focus = index
    this.editor.canvas.setDirty(true, true)
  }

  /** Writes order and loads on the nodes of the graph that is shown. */
  private mark(): void {
    const nodes = this.editor.canvas.graph?.nodes ?? []
    for (const node of nodes) {
      const state = nodeState(node)
      state.badge = null
      state.planned = null
    }
    const steps = new Map<LGraphNode, PlanStep[]>()
    for (const step of this.plan?.steps ?? []) {
      const node = this.editor.nodeForExecution(step.node)
      if (node) steps.set(node, [...(steps.get(node) ?? []), step])
    }
    for (const [node, own] of steps) {
      const state = nodeState(node)
      const runs = own.filter((s) => !s.cached)
      state.planned = runs.length ? "runs" : "cached"
      state.badge = runs.length ? badge(runs) : t("plan.cachedStep")
    }
    this.editor.canvas.setDirty(true, true)
  }

  private draw(ctx: CanvasRenderingContext2D): void {
    if (!this.plan) return
    ctx.save()
    for (const value of this.plan.values) {
      const dim = this.focus !== null && !aliveAt(value, this.focus)
      for (const consumer of value.consumers) {
        const wire = this.wireInto(consumer.node, consumer.input)
        if (!wire) continue
        ctx.globalAlpha = dim ? 0.08 : this.focus === null ? 0.55 : 1
        ctx.strokeStyle = ALIVE
        ctx.lineWidth = this.focus === null ? 4 : 6
        ctx.stroke(wire.path)
        const dies = value.dies_at !== null && consumer.step === value.dies_at
        if (dies && !dim) death(ctx, wire.end)
      }
    }
    ctx.restore()
  }

  private wireInto(id: string, input: string): { path: Path2D; end: [number, number] } | null {
    const node = this.editor.nodeForExecution(id)
    if (!node || this.editor.executionId(node) !== id) return null
    const slot = node.inputs.findIndex((i) => i.name === input)
    const linkId = slot >= 0 ? node.inputs[slot]!.link : null
    const link = linkId == null ? undefined : node.graph!.getLink(Number(linkId))
    if (!link) return null
    const [x, y] = node.getInputPos(slot)
    // From far away the library draws no links, so there are no paths of its own to follow.
    const path = this.editor.canvas.low_quality || !link.path ? this.straight(link.origin_id, link.origin_slot, [x, y]) : link.path
    return path && { path, end: [x, y] }
  }

  private straight(id: number | string, slot: number, to: [number, number]): Path2D | null {
    const from = this.editor.canvas.graph?.getNodeById(id)?.getOutputPos(slot)
    if (!from) return null
    const path = new Path2D()
    path.moveTo(from[0], from[1])
    path.lineTo(to[0], to[1])
    return path
  }
}

const aliveAt = (value: PlanValue, step: number) => value.produced_at <= step && (value.dies_at === null || step <= value.dies_at)

function badge(steps: readonly PlanStep[]): string {
  const first = steps[0]!.index + 1
  const last = steps.at(-1)!.index + 1
  const loads = steps.flatMap((s) => s.loads)
  const order = first === last ? `${first}` : `${first}–${last}`
  return loads.length ? `${order}  ⬇ ${bytes(loads.reduce((sum, l) => sum + l.bytes, 0))}` : order
}

/** A small stop sign in the wire where a value is dropped. */
function death(ctx: CanvasRenderingContext2D, [x, y]: [number, number]): void {
  ctx.globalAlpha = 1
  ctx.fillStyle = DEATH
  ctx.beginPath()
  ctx.arc(x - 14, y, 6, 0, Math.PI * 2)
  ctx.fill()
  ctx.strokeStyle = "#ffffff"
  ctx.lineWidth = 1.5
  ctx.beginPath()
  ctx.moveTo(x - 17, y - 3)
  ctx.lineTo(x - 11, y + 3)
  ctx.moveTo(x - 11, y - 3)
  ctx.lineTo(x - 17, y + 3)
  ctx.stroke()
}
