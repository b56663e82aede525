import { describe, expect, it } from "vitest"
import { dynamicPrompt, fillPrefix, formatDate } from "../../src/export/text.ts"
import { fuzzyScore, rank } from "../../src/ui/fuzzy.ts"
import { wrap } from "../../src/widgets/wrap.ts"

describe("dynamic prompts", () => {
  const first = () => 0
  const last = () => 0.999
  it("choose one of each group, nested ones too", () => {
    expect(dynamicPrompt("a {red|green} {big {cat|dog}|tree}", first)).toBe("a red big cat")
    expect(dynamicPrompt("a {red|green} {big {cat|dog}|tree}", last)).toBe("a green tree")
  })
  it("lose comments and keep escaped braces", () => {
    expect(dynamicPrompt("a // gone\nb /* gone\n too */ c")).toBe("a \nb  c")
    expect(dynamicPrompt("\\{a|b\\}")).toBe("{a|b}")
  })
  it("survive a group that never closes", () => expect(dynamicPrompt("{a|b", first)).toBe("a"))
})

describe("file name prefixes", () => {
  const now = new Date(2026, 10, 4, 7, 5, 9)
  it("know dates", () => {
    expect(formatDate("yyyy-MM-dd_hhmmss", now)).toBe("2026-11-04_070509")
    expect(fillPrefix("x_%date:yy.M.d%", () => undefined, now)).toBe("x_26.11.4")
  })
  it("take values of other nodes, made safe for a name, and leave what they do not know", () => {
    const lookup = (node: string, widget: string) => (node === "A" && widget === "w" ? "a/b:c" : undefined)
    expect(fillPrefix("%A.w%_%B.x%_%width%", lookup, now)).toBe("a_b_c_%B.x%_%width%")
  })
})

describe("fuzzy search", () => {
  it("prefers starts, then words, then letters", () => {
    const names = ["VAEDecode", "Decoder of things", "KSampler (Advanced)", "KSampler"]
    expect(rank(names, "ksampler", (n) => [n]).map((r) => r.item)[0]).toBe("KSampler")
    expect(rank(names, "vd", (n) => [n]).map((r) => r.item)).toEqual(["VAEDecode"])
    expect(fuzzyScore("zzz", "KSampler")).toBe(0)
  })
})

describe("wrapping", () => {
  const measure = (s: string) => s.length
  it("breaks between words and keeps paragraphs", () => expect(wrap("one two three\nfour", 8, measure)).toEqual(["one two", "three", "four"]))
  it("breaks a word that is wider than the line", () => expect(wrap("一二三四五六七", 3, measure)).toEqual(["一二三", "四五六", "七"]))
  it("has a line for an empty text", () => expect(wrap("", 5, measure)).toEqual([""]))
})
