import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { en } from "../../src/i18n/en.ts"
import { chooseLanguage } from "../../src/i18n/index.ts"
import { TEMPLATES } from "../../src/i18n/templates.ts"
import { zh } from "../../src/i18n/zh.ts"

const root = new URL("../../src/", import.meta.url).pathname
const sources = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".ts") && !f.startsWith("i18n"))
const text = sources.map((f) => readFileSync(join(root, f), "utf8")).join("\n")

describe("strings", () => {
  it("take the same values in every language", () => {
    const holes = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
    for (const key of Object.keys(en) as (keyof typeof en)[]) expect(holes(zh[key]), key).toEqual(holes(en[key]))
  })
  it("are all used", () => {
    const composed = /^(error|memory\.marker|memory\.kind|align|rail|color)\./
    const unused = Object.keys(en).filter((key) => !composed.test(key) && !text.includes(`"${key}"`))
    expect(unused).toEqual([])
  })
  it("name every template of the repository", () => {
    const words = JSON.parse(readFileSync(join(root, "../../templates/words.json"), "utf8"))
    for (const [language, names] of Object.entries(TEMPLATES)) expect(Object.keys(names).sort(), language).toEqual(Object.keys(words).sort())
  })
  it("follow what people chose, then what their browser prefers", () => {
    expect(chooseLanguage("zh", ["en"])).toBe("zh")
    expect(chooseLanguage(null, ["fr-FR", "zh-TW", "en"])).toBe("zh")
    expect(chooseLanguage("xx", ["fr"])).toBe("en")
  })
})
