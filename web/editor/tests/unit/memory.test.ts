import { describe, expect, it } from "vitest"
import type { MemoryMarker, MemoryReport, Resident } from "../../src/api/v1.ts"
import { MemoryLog, type Owner, stack, stackOrder, storyOf } from "../../src/panels/memory-log.ts"

const mark = (t: number, kind: string, label: string, node: string | null = null): MemoryMarker => ({ t, kind, label, node, bytes: null, prompt_id: "p" })
const resident = (name: string, more: Partial<Resident> = {}): Resident => ({ id: "hash-of-it", kind: "weights", name, family: null, dtype: null, bytes: 1, pinned: false, state: "evictable", holders: [], next_use: null, ...more })
const report = (residents: Resident[]): MemoryReport => ({ now: 0, budget: null, rss_anon: 0, peak: null, owners: [], samples: [], markers: [], residents })
const unet: Owner = { id: "weights:unet", kind: "weights", name: "unet" }

describe("who held what, and until when", () => {
  const markers = [mark(0, "job_start", "job begins"), mark(10, "load", "unet", "3"), mark(20, "step", "KSampler #3", "3"), mark(30, "step", "VAEDecode #8", "8"), mark(40, "job_end", "job ends"), mark(60, "evict", "unet")]

  it("weights are held by the node that works with them", () => {
    expect(storyOf({ markers, report: report([]) }, unet, 25)).toEqual({ holder: "KSampler #3", loadedFor: null, gone: 60, resident: null })
  })
  it("before and after it, they are there because they were loaded for it", () => {
    for (const t of [15, 35, 50]) expect(storyOf({ markers, report: report([]) }, unet, t)).toMatchObject({ holder: null, loadedFor: "KSampler #3", gone: 60 })
  })
  it("what is still there is told by the list of residents, whose ids are others", () => {
    const there = resident("unet", { next_use: { step: 4, node: "3", prompt_id: "q" } })
    expect(storyOf({ markers: markers.slice(0, 5), report: report([there]) }, unet, 50)).toMatchObject({ gone: null, resident: there })
    // Evicted after that moment: what is there now was loaded again, and is another story.
    expect(storyOf({ markers, report: report([there]) }, unet, 50)).toMatchObject({ gone: 60, resident: null })
  })
  it("activations belong to the step that runs, and to nobody between jobs", () => {
    const activations: Owner = { id: "activations", kind: "activations", name: "activations" }
    expect(storyOf({ markers, report: report([]) }, activations, 35).holder).toBe("VAEDecode #8")
    expect(storyOf({ markers, report: report([]) }, activations, 50).holder).toBeNull()
  })
})

describe("the log", () => {
  it("keeps bytes with their owner, whatever order an answer has them in", () => {
    const log = new MemoryLog()
    const a = { id: "a", kind: "weights", name: "a" } as const
    const b = { id: "b", kind: "activations", name: "b" } as const
    log.add({ ...report([]), owners: [a], samples: [{ t: 1, bytes: [5], rss_anon: 0 }] })
    log.add({ ...report([]), owners: [b, a], samples: [{ t: 1, bytes: [9, 9], rss_anon: 0 }, { t: 2, bytes: [7, 6], rss_anon: 0 }] })
    expect(log.samples.map((s) => s.bytes)).toEqual([[5], [6, 7]])
    expect(log.total()).toBe(13)
    expect(stack(log.samples, stackOrder(log.owners))).toEqual([[5, 6], [5, 13]])
  })
})
