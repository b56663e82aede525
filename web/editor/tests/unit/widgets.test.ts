import { describe, expect, it } from "vitest"
import { evaluate } from "../../src/widgets/arithmetic.ts"
import { applyControls, nextValue } from "../../src/widgets/control.ts"
import { defaultValue, hasControl, inputsOf, readSpec, valueSlots } from "../../src/schema/inputs.ts"
import { typesMatch } from "../../src/schema/match.ts"

describe("sums in number fields", () => {
  it.each([["512*2", 1024], ["(3+1)/2", 2], ["-4 + 2*3", 2], ["1e3", 1000], [".5", 0.5], ["0,5", 0.5], ["--2", 2]])("%s = %s", (text, value) => expect(evaluate(text)).toBe(value))
  it.each(["", "abc", "1+", "(2", "2)", "1/0", "alert(1)", "1 2"])("%s is no number", (text) => expect(evaluate(text)).toBeNull())
})

describe("seeds after a run", () => {
  const range = { min: 0, max: 10, step: 1 }
  it("stay, go up, go down, and stop at the ends", () => {
    expect(nextValue("fixed", 5, range)).toBe(5)
    expect(nextValue("increment", 5, range)).toBe(6)
    expect(nextValue("increment", 10, range)).toBe(10)
    expect(nextValue("decrement", 0, range)).toBe(0)
  })
  it("are whole, within bounds and below 2^50 when random", () => {
    const wide = { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 }
    expect(nextValue("randomize", 0, wide, () => 0.999999999)).toBeLessThanOrEqual(2 ** 50)
    for (let i = 0; i < 100; i++) {
      const value = nextValue("randomize", 0, range)
      expect(Number.isInteger(value) && value >= 0 && value <= 10).toBe(true)
    }
  })
  it("move only where a control says so", () => {
    const widgets = [
      { name: "seed", value: 1, options: { min: 0, max: 9, step2: 1 }, linkedWidgets: [{ name: "control_after_generate", value: "increment", options: {} }] },
      { name: "steps", value: 1, options: {} },
    ]
    expect(applyControls(widgets)).toBe(true)
    expect(widgets.map((w) => w.value)).toEqual([2, 1])
  })
})

describe("node declarations", () => {
  it("keep the declared order, required before optional", () => {
    const info = { name: "X", input: { required: { b: ["INT", {}], a: ["IMAGE"] }, optional: { c: ["FLOAT", {}] } }, input_order: { required: ["a", "b"] } } as never
    expect(inputsOf(info).map((d) => `${d.name}:${d.kind}:${d.optional}`)).toEqual(["a:socket:false", "b:int:false", "c:float:true"])
  })
  it("know both forms of enumerations", () => {
    expect(readSpec("x", [["p", "q"], {}], false)).toMatchObject({ kind: "combo", type: "COMBO", values: ["p", "q"] })
    expect(readSpec("x", ["COMBO", { options: ["p"] }], false)).toMatchObject({ kind: "combo", values: ["p"] })
  })
  it("take an input that must be linked as a socket", () => expect(readSpec("x", ["INT", { forceInput: true }], false).kind).toBe("socket"))
  it("give seeds a control and pictures an upload", () => {
    const info = { name: "X", input: { required: { seed: ["INT", {}], image: [["a.png"], { image_upload: true }] } } } as never
    expect(valueSlots(info).map((s) => s.role)).toEqual(["value", "control", "value", "upload"])
    expect(hasControl(readSpec("seed", ["INT", { control_after_generate: false }], false))).toBe(false)
  })
  it("start from the declared default or a value within bounds", () => {
    expect(defaultValue(readSpec("x", ["INT", { min: 8 }], false))).toBe(8)
    expect(defaultValue(readSpec("x", ["FLOAT", { default: 0.5 }], false))).toBe(0.5)
    expect(defaultValue(readSpec("x", [["a", "b"]], false))).toBe("a")
  })
})

describe("link types", () => {
  it.each([["IMAGE", "IMAGE", true], ["IMAGE", "MASK", false], ["*", "MASK", true], ["IMAGE", "IMAGE,MASK", true], [["a"], "COMBO", true], ["image", "IMAGE", true]])("%s to %s: %s", (a, b, ok) => expect(typesMatch(a, b)).toBe(ok))
})
