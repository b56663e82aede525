// Every UI file of the kit and every workflow of the repository: open, save, and get equal JSON. Against Ebb's own nodes, where
// much of the kit is unknown and must be kept, and against all of ComfyUI's core nodes, where it is known and drawn.

import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { root } from "../../dev/server.mjs"
import { drawn, dropFile, openWorkflow, saved, type Stage, startStage } from "./page.ts"

const kit = join(root, "tests/conformance/ui2api")
const files = readdirSync(kit).filter((f) => f.endsWith(".ui.json"))
const workflows = readdirSync(join(root, "workflows")).filter((f) => f.endsWith(".json"))
const read = (path: string) => JSON.parse(readFileSync(path, "utf8"))

it("the files are there", () => {
  expect(files.length).toBeGreaterThanOrEqual(27)
  expect(workflows.length).toBeGreaterThanOrEqual(6)
})

describe.each([["Ebb's nodes", false], ["all of ComfyUI's core nodes", true]])("load and save with %s", (_, mock) => {
  let stage: Stage
  let page: Awaited<ReturnType<Stage["open"]>>["page"]
  let complaints: string[]
  beforeAll(async () => {
    stage = await startStage({ mock })
    ;({ page, complaints } = await stage.open())
  })
  afterAll(() => stage.close())

  it.each(files)("%s comes back equal", async (file) => {
    const workflow = read(join(kit, file))
    await openWorkflow(page, workflow)
    // It has been drawn, and whatever drawing changes has been changed.
    await drawn(page)
    expect(await saved(page)).toEqual(workflow)
    expect(await page.evaluate(() => window.ebb.editor.dirty)).toBe(false)
    expect(complaints.splice(0)).toEqual([])
  })

  it.each(files)("%s loses nothing when one node is moved", async (file) => {
    const workflow = read(join(kit, file))
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

describe("workflows of the repository", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage()
  })
  afterAll(() => stage.close())

  it.each(workflows)("%s is opened, saved on the server and opened again, and exports equal JSON", async (file) => {
    const { page, complaints } = await stage.open()
    const path = join(root, "workflows", file)
    const prompt = read(path)
    await dropFile(page, file, "application/json", readFileSync(path))
    await page.waitForFunction((n) => window.ebb.editor.graph.nodes.length === n, Object.keys(prompt).length)
    const exported = () => page.evaluate(() => window.ebb.exportPrompt())
    expect(await exported()).toEqual(prompt)
    // Saved, it is a UI workflow with places; what it says is the same.
    const name = file.replace(/\.json$/, "")
    await page.locator("#graph").focus()
    await page.keyboard.press("Control+s")
    await expect.poll(() => page.locator(".toast").last().textContent()).toContain(name)
    const before = await saved(page)
    const onDisk = await page.evaluate((name) => window.ebb.api.userFile(`workflows/${name}.json`), name)
    expect(onDisk).toEqual(before)
    await page.evaluate(() => window.ebb.editor.clear())
    await page.keyboard.press("w")
    await page.locator(".row-main", { hasText: name }).first().click()
    await page.waitForFunction((n) => window.ebb.editor.graph.nodes.length === n, Object.keys(prompt).length)
    await drawn(page)
    expect(await saved(page)).toEqual(before)
    expect(await page.evaluate(() => window.ebb.editor.dirty)).toBe(false)
    expect(await exported()).toEqual(prompt)
    expect(complaints).toEqual([])
    await page.context().close()
  })
})
