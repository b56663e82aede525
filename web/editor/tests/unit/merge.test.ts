import { describe, expect, it } from "vitest"
import { differInDepthOnly } from "../../src/doc/depth.ts"
import { merge } from "../../src/doc/merge.ts"
import { BigNumber, cloneJson, parseJson, stringifyJson } from "../../src/doc/json.ts"

describe("three-way merge", () => {
  const original = {
    nodes: [
      { id: 2, type: "B", pos: { 0: 1, 1: 2 }, future: { x: 1 }, widgets_values: [1, "image", 9] },
      { id: 1, type: "A", pos: [0, 0] },
    ],
    links: [[1, 1, 0, 2, 0, "IMAGE"], null],
    unknown: "kept",
  }
  const base = {
    nodes: [
      { id: 2, type: "B", pos: [1, 2], flags: {}, widgets_values: [1, "image"] },
      { id: 1, type: "A", pos: [0, 0], flags: {} },
    ],
    links: [[1, 1, 0, 2, 0, "IMAGE"]],
    config: {},
  }

  it("gives back the original when nothing changed", () => {
    expect(merge(original, base, cloneJson(base))).toBe(original)
  })
  it("carries over one change and keeps what the library does not know", () => {
    const current = cloneJson(base)
    current.nodes[0]!.widgets_values![0] = 5
    const out = merge(original, base, current) as typeof original
    expect(out.nodes[0]).toEqual({ id: 2, type: "B", pos: { 0: 1, 1: 2 }, future: { x: 1 }, widgets_values: [5, "image", 9] })
    expect(out.nodes[1]).toBe(original.nodes[1])
    expect(out).not.toHaveProperty("config")
    expect(out.unknown).toBe("kept")
    expect(out.links).toBe(original.links)
  })
  it("removes what was removed and adds what was added", () => {
    const current = { ...cloneJson(base), nodes: [cloneJson(base).nodes[1], { id: 3, type: "C", pos: [5, 5] }], links: [] }
    const out = merge(original, base, current) as typeof original
    expect(out.nodes.map((n) => n.id)).toEqual([1, 3])
    expect(out.links).toEqual([])
  })
  it("keeps elements the library could not read", () => {
    const more = { ...original, nodes: [...original.nodes, { id: 9, odd: true }] }
    const current = cloneJson(base)
    current.nodes[1]!.pos = [7, 7]
    const out = merge(more, base, current) as { nodes: { id: number }[] }
    expect(out.nodes.map((n) => n.id)).toEqual([2, 1, 9])
  })
  it("keeps slot positions when a slot is added by a link", () => {
    const o = { inputs: [{ name: "image", type: "IMAGE", link: 1 }] }
    const b = { inputs: [{ name: "image", type: "IMAGE", link: 1 }, { name: "width", type: "INT", link: null }] }
    const c = { inputs: [{ name: "image", type: "IMAGE", link: 1 }, { name: "width", type: "INT", link: 4 }] }
    expect(merge(o, b, c)).toEqual(c)
  })
})

describe("large whole numbers", () => {
  it("keep their digits through parse, copy and print", () => {
    const text = '{"seed":18446744073709551615,"s":"a 18446744073709551615 \\" b","small":12,"f":1.5}'
    const value = parseJson(text) as { seed: BigNumber }
    expect(Number(value.seed)).toBe(18446744073709552000)
    expect(stringifyJson(value)).toBe(text)
    expect(stringifyJson(cloneJson(value))).toBe(text)
  })
  it("leaves texts alone that merely look so", () => {
    expect(stringifyJson(parseJson('{"t":"99999999999999999999"}'))).toBe('{"t":"99999999999999999999"}')
  })
})

describe("depth", () => {
  const node = (id: number, x = 0) => ({ id, type: "A", pos: [x, 0] })
  it("is told apart from changes", () => {
    expect(differInDepthOnly({ nodes: [node(1), node(2)] }, { nodes: [node(2), node(1)] })).toBe(true)
    expect(differInDepthOnly({ nodes: [node(1), node(2)] }, { nodes: [node(2), node(1, 5)] })).toBe(false)
    expect(differInDepthOnly({ nodes: [node(1)] }, { nodes: [node(1), node(2)] })).toBe(false)
    expect(differInDepthOnly({ nodes: [], definitions: { subgraphs: [{ nodes: [node(1), node(2)] }] } }, { nodes: [], definitions: { subgraphs: [{ nodes: [node(2), node(1)] }] } })).toBe(true)
  })
})
