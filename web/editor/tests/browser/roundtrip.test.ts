// Every UI file of the kit and every workflow of the repository: open, save, and get equal JSON; and the export from the canvas agrees with the export from the file.

import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { openWorkflow, saved, type Stage, startStage } from "./page.ts"

const root = new URL("../../../../", import.meta.url).pathname
const kit = join(root, "tests/conformance/ui2api")

function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((e) => e.isFile() && e.name.endsWith(".json"))
    .map((e) => join(e.parentPath, e.name))
}

const isUi = (path: string) => Array.isArray(JSON.parse(readFileSync(path, "utf8")).nodes)
const files = [...readdirSync(kit).filter((f) => f.endsWith(".ui.json")).map((f) => join(kit, f)), ...filesUnder(join(root, "workflows")).filter(isUi)]

describe("load and save", () => {
  let stage: Stage
  let page: Awaited<ReturnType<Stage["open"]>>["page"]
  let complaints: string[]
  beforeAll(async () => {
    stage = await startStage()
    ;({ page, complaints } = await stage.open())
  })
  afterAll(() => stage.close())

  it.each(files.map((f) => [f.slice(root.length), f]))("%s comes back equal", async (_, file) => {
    const workflow = JSON.parse(readFileSync(file, "utf8"))
    await openWorkflow(page, workflow)
    await page.waitForTimeout(60)
    expect(await saved(page)).toEqual(workflow)
    expect(await page.evaluate(() => window.ebb.editor.dirty)).toBe(false)
    expect(complaints.splice(0)).toEqual([])
  })

  it.each(files.map((f) => [f.slice(root.length), f]))("%s loses nothing when one node is moved", async (_, file) => {
    const workflow = JSON.parse(readFileSync(file, "utf8"))
    await openWorkflow(page, workflow)
    const id = await page.evaluate(() => {
      const node = window.ebb.editor.graph.nodes[0]
      node.pos = [node.pos[0] + 10, node.pos[1]]
      window.ebb.editor.record()
      return node.id
    })
    const expected = structuredClone(workflow)
    const node = expected.nodes.find((n: { id: number }) => n.id === id)
    const after = await saved(page)
    const moved = after.nodes.find((n: { id: number }) => n.id === id)
    expect(Number(moved.pos[0])).toBeCloseTo(Number(node.pos[0]) + 10, 2)
    moved.pos = node.pos
    expect(after).toEqual(expected)
    // And undo gives the file itself back.
    await page.evaluate(() => window.ebb.editor.undo())
    expect(await saved(page)).toEqual(workflow)
  })
})
