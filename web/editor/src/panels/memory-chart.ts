// The timeline: bytes stacked by owner, the budget as a line, a mark at each load, eviction and step.

import uPlot from "uplot"
import "uplot/dist/uPlot.min.css"
import type { MemoryMarker, OwnerKind } from "../api/v1.ts"
import { type StringKey, t as words } from "../i18n/index.ts"
import { fill, h } from "../ui/dom.ts"
import { bytes } from "../ui/format.ts"
import { type MemoryLog, type Owner, stack, stackOrder, storyOf } from "./memory-log.ts"
import { untilWhen } from "./until.ts"

/** Base hue of each kind; owners of one kind are shades of it. */
const COLORS: Record<OwnerKind, [hue: number, saturation: number]> = { weights: [212, 75], values: [140, 50], cache: [45, 60], activations: [280, 55], scratch: [20, 60], other: [0, 0] }

export function ownerColor(kind: OwnerKind, index: number): string {
  const [hue, saturation] = COLORS[kind] ?? COLORS.other
  return `hsl(${hue + (index % 3) * 9} ${saturation}% ${46 + (index % 4) * 9}%)`
}

const MARKS: Record<string, string> = { load: "#3fb950", prefetch: "#2ea043", evict: "#f0883e", refused: "#f85149", job_start: "#8b949e", job_end: "#8b949e", step: "#8b949e" }
/** Weights have names of their own; everything else is booked by its kind. */
const nameOf = (owner: Owner) => (owner.kind === "weights" ? owner.name : words(`memory.kind.${owner.kind}` as StringKey))
const NEAR_PX = 6
const RECENT_JOBS = 3
const time = (ms: number) => new Date(ms).toLocaleTimeString([], { hour12: false })
/** A budget this many times the most that was held is not drawn. */
const FAR_BUDGET = 5
/** Round numbers of bytes are powers of two. */
const BINARY_STEPS = Array.from({ length: 40 }, (_, i) => 2 ** (i + 8))

export class MemoryChart {
  private plot: uPlot | null = null
  private owners = ""
  private readonly tip = h("div", { class: "chart-tip", hidden: true })
  private readonly legend = h("div", { class: "legend" })

  constructor(
    private readonly element: HTMLElement,
    private readonly log: MemoryLog,
    private readonly reveal: (node: string) => void,
  ) {
    new ResizeObserver(() => this.resize()).observe(element)
  }

  draw(): void {
    const { report, samples } = this.log
    if (!report || samples.length === 0) return
    const key = this.log.owners.map((o) => o.id).join("|") + report.budget
    if (key !== this.owners) this.rebuild()
    this.owners = key
    this.plot?.setData(this.data())
  }

  /** The panel is closed: what hung over it goes, too. */
  leave(): void {
    this.tip.hidden = true
  }

  private order(): number[] {
    return stackOrder(this.log.owners)
  }

  /** uPlot draws series in turn, so the tallest band comes first and the others lie over it. */
  private data(): uPlot.AlignedData {
    const { samples } = this.log
    const x = samples.map((s) => s.t / 1000)
    const edges = stack(samples, this.order()).reverse()
    const budget = this.budgetShown()
    return [x, ...edges, samples.map(() => budget)] as uPlot.AlignedData
  }

  /** A budget far above all there ever was would press the bands into a line at the bottom; then it is left to the figures. */
  private budgetShown(): number | null {
    const budget = this.log.report?.budget ?? null
    const most = Math.max(...this.log.samples.map((s) => s.bytes.reduce((a, b) => a + b, 0)))
    return budget !== null && budget <= most * FAR_BUDGET ? budget : null
  }

  /** Whether all there is a record of is shown, or the last few jobs: hours of waiting would press what happened into a line. */
  whole = false

  /** What of the time is shown when people have not marked a part of it. */
  private span(min: number | null, max: number | null): [number, number] {
    const { samples, markers } = this.log
    const [first, last] = [(samples[0]?.t ?? 0) / 1000, (samples.at(-1)?.t ?? 0) / 1000]
    const [from, to] = [min ?? first, max ?? last]
    if (this.whole || from !== first || to !== last) return [from, to]
    const start = markers.filter((m) => m.kind === "job_start").at(-RECENT_JOBS)
    return [Math.max(first, Math.min((start?.t ?? 0) / 1000 - 0.2, last - 2)), Math.max(last, first + 1)]
  }

  private top(max: number): number {
    return Math.max(max, this.budgetShown() ?? 0)
  }

  private rebuild(): void {
    this.plot?.destroy()
    const order = this.order()
    const perKind = new Map<string, number>()
    const { owners } = this.log
    const colors = owners.map((o) => {
      const n = perKind.get(o.kind) ?? 0
      perKind.set(o.kind, n + 1)
      return ownerColor(o.kind, n)
    })
    const style = getComputedStyle(document.documentElement)
    const line = style.getPropertyValue("--line").trim()
    const quiet = style.getPropertyValue("--quiet").trim()
    const axis = { stroke: quiet, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "11px system-ui" }
    const bands = [...order].reverse().map((owner) => ({ label: owners[owner]!.name, stroke: colors[owner]!, fill: colors[owner]!, width: 1, points: { show: false }, paths: uPlot.paths.stepped!({ align: 1 }) }))
    const options: uPlot.Options = {
      ...this.size(),
      legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false } },
      scales: { x: { range: (_u, min, max) => this.span(min, max) }, y: { range: (_u, _min, max) => [0, this.top(max) * 1.08 || 1] } },
      axes: [
        { ...axis, values: (_u, values) => values.map((v) => time(v * 1000)), space: 90 },
        { ...axis, size: 72, incrs: BINARY_STEPS, values: (_u, values) => values.map((v) => bytes(v)) },
      ],
      series: [{}, ...bands, { label: words("memory.budget"), stroke: "#f85149", width: 1.5, dash: [6, 4], points: { show: false } }],
      hooks: { draw: [(u) => this.drawMarkers(u)], setCursor: [(u) => this.hover(u)] },
    }
    fill(this.legend, ...order.map((owner) => h("span", { class: "legend-item" }, h("span", { class: "swatch", style: { background: colors[owner]! } }), nameOf(owners[owner]!))))
    fill(this.element, this.legend)
    document.body.append(this.tip)
    this.element.setAttribute("role", "img")
    this.element.setAttribute("aria-label", words("memory.timeline"))
    this.plot = new uPlot(options, this.data(), this.element)
    this.plot.over.addEventListener("click", () => {
      const near = this.markerNear(this.plot!)
      if (near?.node) this.reveal(near.node)
    })
  }

  private size(): { width: number; height: number } {
    return { width: Math.max(200, this.element.clientWidth), height: Math.max(90, this.element.clientHeight - 24) }
  }

  private resize(): void {
    this.plot?.setSize(this.size())
  }

  private drawMarkers(u: uPlot): void {
    const { ctx } = u
    const { top, height, left, width } = u.bbox
    ctx.save()
    ctx.beginPath()
    ctx.rect(left, top, width, height)
    ctx.clip()
    for (const marker of this.log.markers) {
      const x = u.valToPos(marker.t / 1000, "x", true)
      if (x < left || x > left + width) continue
      const minor = marker.kind === "step"
      ctx.strokeStyle = MARKS[marker.kind] ?? "#8b949e"
      ctx.globalAlpha = minor ? 0.35 : 0.9
      ctx.lineWidth = devicePixelRatio * (minor ? 1 : 1.5)
      ctx.beginPath()
      ctx.moveTo(x, top + (minor ? height - 8 * devicePixelRatio : 0))
      ctx.lineTo(x, top + height)
      ctx.stroke()
      if (minor) continue
      ctx.fillStyle = ctx.strokeStyle
      ctx.beginPath()
      ctx.arc(x, top + 4 * devicePixelRatio, 3 * devicePixelRatio, 0, Math.PI * 2)
      ctx.fill()
    }
    ctx.restore()
  }

  /** Which node held it then, and when it went or will go. */
  private story(owner: Owner, t: number): string {
    const { holder, loadedFor, gone, resident } = storyOf(this.log, owner, t)
    const until = gone !== null ? words("memory.wentAt", { time: time(gone) }) : resident ? untilWhen(resident) : ""
    return [holder && words("memory.inUse", { nodes: holder }), loadedFor && words("memory.loadedFor", { node: loadedFor }), until].filter(Boolean).join(" · ")
  }

  private markerNear(u: uPlot): MemoryMarker | null {
    const at = u.cursor.left ?? -1
    let best: { marker: MemoryMarker; distance: number } | null = null
    for (const marker of this.log.markers) {
      const distance = Math.abs(u.valToPos(marker.t / 1000, "x") - at)
      if (distance < NEAR_PX && (!best || distance < best.distance)) best = { marker, distance }
    }
    return best?.marker ?? null
  }

  private hover(u: uPlot): void {
    const index = u.cursor.idx
    const left = u.cursor.left ?? -1
    if (index == null || left < 0) {
      this.tip.hidden = true
      return
    }
    const sample = this.log.samples[index]!
    const { owners } = this.log
    const rows = [...this.order()].reverse().filter((o) => (sample.bytes[o] ?? 0) > 0).flatMap((o) => {
      const story = this.story(owners[o]!, sample.t)
      return [h("div", { class: "tip-row" }, h("span", {}, nameOf(owners[o]!)), h("strong", {}, bytes(sample.bytes[o]))), story ? h("div", { class: "tip-story" }, story) : null]
    })
    const marker = this.markerNear(u)
    fill(
      this.tip,
      h("div", { class: "small quiet" }, time(sample.t), ` · ${words("memory.rss")} ${bytes(sample.rss_anon)}`),
      ...rows,
      marker ? h("div", { class: "tip-mark" }, `${words(`memory.marker.${marker.kind}` as StringKey)}${marker.kind.startsWith("job") ? "" : `: ${marker.label}`}${marker.bytes ? ` · ${bytes(marker.bytes)}` : ""}`) : null,
    )
    this.tip.hidden = false
    // Above the panel, over the graph: inside there is no room for all that may be held.
    const bounds = this.element.getBoundingClientRect()
    this.tip.style.bottom = `${innerHeight - (this.element.closest(".panel")?.getBoundingClientRect().top ?? bounds.top) + 6}px`
    this.tip.style.left = `${Math.max(8, Math.min(innerWidth - 360, bounds.left + left + 60))}px`
  }
}
