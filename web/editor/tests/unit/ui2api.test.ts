import { existsSync, readdirSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { toPrompt } from "../../src/export/index.ts"

const kit = new URL("../../../../tests/conformance/", import.meta.url).pathname
const read = (path: string) => JSON.parse(readFileSync(path, "utf8"))
const schemas = read(`${kit}object_info.core.json`)

/** Titles may differ between front ends, and key order within an object carries no meaning. */
function comparable(prompt: Record<string, { inputs: object; class_type?: string }>) {
  return Object.fromEntries(Object.entries(prompt).map(([id, n]) => [id, { class_type: n.class_type, inputs: n.inputs }]))
}

/**
 * Front end 1.58 gives new ids to inner nodes when two definitions use the same ones. Ids are a matter of the front end;
 * the ids of the file are kept here, so that errors and progress name nodes as the file does.
 */
const RENUMBERED: Record<string, Record<string, string>> = {
  "tpl_video_wan2_2_14B_s2v": { "85:182": "85:78", "85:183": "85:77", "85:184": "85:76" },
}
function withIdsOfTheFile(name: string, prompt: object): Record<string, { inputs: object; class_type?: string }> {
  let text = JSON.stringify(prompt)
  for (const [theirs, ours] of Object.entries(RENUMBERED[name] ?? {})) text = text.replaceAll(`"${theirs}"`, `"${ours}"`)
  return JSON.parse(text)
}

describe("UI workflow to API prompt", () => {
  const names = readdirSync(`${kit}ui2api`).filter((f) => f.endsWith(".ui.json")).map((f) => f.slice(0, -8))
  it("has the whole kit", () => expect(names.length).toBe(27))

  it.each(names)("%s", (name) => {
    const base = `${kit}ui2api/${name}`
    const actual = comparable(toPrompt(read(`${base}.ui.json`), schemas, { random: () => 0 }))
    // Where the two official front ends disagree, the newer rule is the one to follow (it is in `.fe1.58`, or is the pair itself).
    const newer = `${base}.api-fe1.58.json`
    const groupNode = name === "syn_group_node" // 1.58 renumbers group nodes by converting them; the ids of 1.27 are kept
    const expected = read(existsSync(newer) && !groupNode ? newer : `${base}.api.json`)
    expect(actual).toEqual(comparable(withIdsOfTheFile(name, expected)))
  })
})
