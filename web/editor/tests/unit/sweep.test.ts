import { describe, expect, it } from "vitest"
import { cellsOf, choosable, parseValues } from "../../src/run/axes.ts"
import { readSpec } from "../../src/schema/inputs.ts"
import { workflowWithValues } from "../../src/io/with-values.ts"
import { MemoryLog, stack, stackOrder } from "../../src/panels/memory-log.ts"

const int = readSpec("steps", ["INT", {}], false)
const float = readSpec("cfg", ["FLOAT", {}], false)
const combo = readSpec("sampler", [["euler", "heun"], {}], false)

describe("axis values", () => {
  it("are lists and ranges", () => {
    expect(parseValues("1, 2\n7", int)).toEqual([1, 2, 7])
    expect(parseValues("4..12 step 4", int)).toEqual([4, 8, 12])
    expect(parseValues("1..0 step 0.25", float)).toEqual([1, 0.75, 0.5, 0.25, 0])
    expect(parseValues("euler\nheun", combo)).toEqual(["euler", "heun"])
    expect(parseValues("yes\nfalse", readSpec("b", ["BOOLEAN", {}], false))).toEqual([true, false])
    expect(parseValues("a, b\nc", readSpec("t", ["STRING", {}], false))).toEqual(["a, b", "c"])
  })
  it("name what they cannot read", () => {
    for (const [text, decl] of [["two", int], ["1.5", int], ["1..2 step 0.3", int], ["1..1000000", int], ["1..5 step 0", int], ["ddim", combo]] as const) {
      expect(() => parseValues(text, decl), text).toThrow()
    }
  })
  it("make cells with the last axis fastest", () => expect(cellsOf([2, 3])).toEqual([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]))
  it("are offered for literals only", () => {
    const schemas = { K: { name: "K", input: { required: { steps: ["INT", {}], cfg: ["FLOAT", {}], model: ["MODEL"] } } } } as never
    const prompt = { "1": { class_type: "K", inputs: { steps: 4, cfg: ["2", 0], model: ["3", 0] }, _meta: {} } }
    expect(choosable(prompt, schemas)[0]!.inputs.map((i) => i.name)).toEqual(["steps"])
  })
  it("are set in the workflow of a cell, inside subgraphs too, and its seed stays", () => {
    const schemas = { K: { name: "K", input: { required: { seed: ["INT", {}], steps: ["INT", {}] } } } } as never
    const inner = { id: 5, type: "K", pos: [0, 0] as [number, number], widgets_values: [1, "randomize", 20] }
    const workflow = { nodes: [{ id: 2, type: "D", pos: [0, 0] as [number, number] }], definitions: { subgraphs: [{ id: "D", nodes: [inner] }] } }
    const out = workflowWithValues(workflow, [{ node: "2:5", input: "seed", value: 9 }, { node: "2:5", input: "steps", value: 3 }], schemas)
    expect(out.definitions!.subgraphs![0]!.nodes[0]!.widgets_values).toEqual([9, "fixed", 3])
    expect(inner.widgets_values).toEqual([1, "randomize", 20])
  })
})

describe("memory timeline", () => {
  const owners = [{ id: "a", kind: "activations", name: "a" }, { id: "w", kind: "weights", name: "w" }] as const
  const report = (t: number, bytes: number[]) => ({ now: t, budget: 10, rss_anon: 0, peak: 0, owners: [...owners], samples: [{ t, bytes, rss_anon: 0 }], markers: [{ t, kind: "load", label: "w", bytes: 1, node: null, prompt_id: null }], residents: [] })
  it("stacks what stays longest at the bottom", () => {
    expect(stackOrder(owners)).toEqual([1, 0])
    expect(stack([{ t: 0, bytes: [2, 5], rss_anon: 0 }], [1, 0])).toEqual([[5], [7]])
  })
  it("adds only what is new", () => {
    const log = new MemoryLog()
    log.add(report(1, [1, 2]))
    log.add(report(1, [1, 2]))
    log.add(report(2, [3, 4]))
    expect(log.samples.map((s) => s.t)).toEqual([1, 2])
    expect(log.markers).toHaveLength(2)
    expect(log.total()).toBe(7)
  })
  it("keeps owners apart when an answer has them in another order, or leaves some out", () => {
    const log = new MemoryLog()
    log.add(report(1, [1, 2]))
    log.add({ ...report(2, [5]), owners: [owners[1]] })
    log.add({ ...report(3, [6, 7]), owners: [owners[1], owners[0]] })
    expect(log.samples.map((s) => s.bytes)).toEqual([[1, 2], [0, 5], [7, 6]])
  })
})
