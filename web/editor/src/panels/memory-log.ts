// The samples of the session, kept short enough to draw.

import type { MemoryMarker, MemoryReport, MemorySample, OwnerKind, Resident } from "../api/v1.ts"

/** Older samples are dropped; this many are a good half hour. */
const KEPT = 4000

export interface Owner {
  id: string
  kind: OwnerKind
  name: string
}

export class MemoryLog {
  report: MemoryReport | null = null
  /** Every owner there has been. Samples count over these, whatever order an answer had them in. */
  readonly owners: Owner[] = []
  readonly samples: MemorySample[] = []
  readonly markers: MemoryMarker[] = []

  get latest(): number | undefined {
    return this.samples.at(-1)?.t
  }

  add(report: MemoryReport): void {
    this.report = report
    const place = report.owners.map((owner) => this.placeOf(owner))
    const known = this.latest ?? Number.NEGATIVE_INFINITY
    for (const sample of report.samples) {
      if (sample.t <= known) continue
      const bytes = new Array<number>(this.owners.length).fill(0)
      sample.bytes.forEach((n, i) => (bytes[place[i]!] = n))
      this.samples.push({ ...sample, bytes })
    }
    const marked = this.markers.at(-1)?.t ?? Number.NEGATIVE_INFINITY
    this.markers.push(...report.markers.filter((m) => m.t > marked))
    if (this.samples.length > KEPT) this.samples.splice(0, this.samples.length - KEPT)
    const start = this.samples[0]?.t ?? 0
    while (this.markers.length && this.markers[0]!.t < start) this.markers.shift()
  }

  total(): number {
    return this.samples.at(-1)?.bytes.reduce((a, b) => a + b, 0) ?? 0
  }

  private placeOf(owner: Owner): number {
    const at = this.owners.findIndex((o) => o.id === owner.id)
    return at >= 0 ? at : this.owners.push(owner) - 1
  }
}

/** Why something was in memory at a moment, and until when. */
export interface Story {
  /** The node that held it, as `KSampler #3`. */
  holder: string | null
  /** The node it was loaded for, when that one was not at work. */
  loadedFor: string | null
  /** When it was given up, if that has happened since. */
  gone: number | null
  /** What it is now, if it still is. */
  resident: Resident | null
}

export function storyOf(log: Pick<MemoryLog, "markers" | "report">, owner: Owner, t: number): Story {
  const { markers, report } = log
  const own = markers.filter((m) => m.label === owner.name)
  const gone = own.find((m) => m.kind === "evict" && m.t > t)?.t ?? null
  // An owner adds up what the list of residents shows one by one, so they meet in the name.
  const resident = gone === null ? (report?.residents.find((r) => r.name === owner.name && r.kind === owner.kind) ?? null) : null
  const before = markers.filter((m) => m.t <= t)
  const running = before.findLastIndex((m) => m.kind === "step")
  const ended = before.findLastIndex((m) => m.kind === "job_end")
  const step = running > ended ? before[running]! : null
  if (owner.kind !== "weights") return { holder: owner.kind === "cache" ? null : (step?.label ?? null), loadedFor: null, gone, resident }
  const load = own.findLast((m) => m.t <= t && (m.kind === "load" || m.kind === "prefetch"))
  const node = load?.node ?? null
  if (step && node !== null && step.node === node) return { holder: step.label, loadedFor: null, gone, resident }
  const name = markers.find((m) => m.kind === "step" && m.node === node && m.prompt_id === load?.prompt_id)?.label
  return { holder: null, loadedFor: node === null ? null : (name ?? `#${node}`), gone, resident }
}

export const KINDS: readonly OwnerKind[] = ["weights", "values", "cache", "activations", "scratch", "other"]

/** Owners in the order they are stacked: what stays longest lies at the bottom. */
export function stackOrder(owners: readonly { kind: OwnerKind }[]): number[] {
  return owners.map((_, i) => i).sort((a, b) => KINDS.indexOf(owners[a]!.kind) - KINDS.indexOf(owners[b]!.kind) || a - b)
}

/** Upper edges of the stacked bands: `edges[k][i]` is the sum of the first k+1 owners of `order` in sample i. */
export function stack(samples: readonly MemorySample[], order: readonly number[]): number[][] {
  const edges = order.map(() => new Array<number>(samples.length).fill(0))
  samples.forEach((sample, i) => {
    let sum = 0
    order.forEach((owner, k) => {
      sum += sample.bytes[owner] ?? 0
      edges[k]![i] = sum
    })
  })
  return edges
}
