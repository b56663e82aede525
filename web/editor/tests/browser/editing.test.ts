// Editing by mouse and keyboard, as people do it.

import { readFileSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { drag, drawn, dropFile, openWorkflow, placeOn, saved, slotAt, type Stage, startStage, titles } from "./page.ts"

describe("editing", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage()
  })
  afterAll(() => stage.close())

  it("undoes 200 steps of mouse and keyboard one by one, and does them again", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    const now = () => page.evaluate(() => JSON.stringify(window.ebb.editor.current()))
    const states = [await now()]
    const ids = [3, 4, 5, 6, 7, 8, 9]
    for (let i = 0; i < 200; i++) {
      const at = await placeOn(page, ids[i % ids.length]!, 70, -14)
      if (i % 4 === 0) await drag(page, at, { x: at.x + 6, y: at.y + (i % 8 ? 5 : -5) })
      else {
        await page.mouse.click(at.x, at.y)
        // A press alone is no step.
        expect(await now(), `pressing at step ${i}`).toBe(states[i])
        await page.keyboard.press(["", "Control+m", "ArrowRight", "Alt+c"][i % 4]!)
        await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 0)))
      }
      states.push(await now())
    }
    // Each of them was a step of its own.
    expect(states.filter((s, i) => i > 0 && s === states[i - 1])).toEqual([])
    for (let i = 199; i >= 0; i--) {
      await page.keyboard.press("Control+z")
      expect(JSON.parse(await now()), `back at step ${i}`).toEqual(JSON.parse(states[i]!))
    }
    expect(await saved(page)).toEqual(demoWorkflow())
    expect(await page.evaluate(() => window.ebb.editor.canUndo)).toBe(false)
    expect(await page.evaluate(() => window.ebb.editor.dirty)).toBe(false)
    for (let i = 1; i <= 200; i++) {
      await page.keyboard.press("Control+y")
      if (i % 20 === 0) expect(JSON.parse(await now()), `forth at step ${i}`).toEqual(JSON.parse(states[i]!))
    }
    expect(await page.evaluate(() => window.ebb.editor.canRedo)).toBe(false)
    expect(complaints).toEqual([])
    await page.context().close()
  }, 180_000)

  it("mutes, bypasses, collapses, groups and deletes by keys", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.evaluate(() => window.ebb.editor.canvas.selectItems([window.ebb.editor.graph.getNodeById(6)]))
    const node = async () => (await saved(page)).nodes.find((n: { id: number }) => n.id === 6)
    await page.locator("#graph").focus()
    await page.keyboard.press("Control+m")
    expect((await node()).mode).toBe(2)
    await page.keyboard.press("Control+b")
    expect((await node()).mode).toBe(4)
    await page.keyboard.press("Control+b")
    expect((await node()).mode).toBe(0)
    await page.keyboard.press("Alt+c")
    expect((await node()).flags.collapsed).toBe(true)
    await page.keyboard.press("Control+g")
    expect((await saved(page)).groups).toHaveLength(1)
    await page.keyboard.press("Delete")
    expect(await node()).toBeUndefined()
    await page.context().close()
  })

  it("copies in one tab and pastes in another, once", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.evaluate(() => window.ebb.editor.canvas.selectItems([3, 8].map((id) => window.ebb.editor.graph.getNodeById(id))))
    await page.locator("#graph").focus()
    await page.keyboard.press("Control+c")
    const other = await page.context().newPage()
    await other.goto(stage.url)
    await other.waitForFunction(() => document.documentElement.dataset.ready === "true")
    await openWorkflow(other, { nodes: [], links: [], groups: [], version: 0.4 })
    await other.locator("#graph").focus()
    await other.keyboard.press("Control+v")
    await expect.poll(async () => (await saved(other)).nodes.length).toBeGreaterThan(0)
    await other.waitForTimeout(150)
    const workflow = await saved(other)
    expect(workflow.nodes.map((n: { type: string }) => n.type).sort()).toEqual(["KSampler", "VAEDecode"])
    expect(workflow.links).toHaveLength(1)
    await other.keyboard.press("Control+z")
    expect((await saved(other)).nodes).toEqual([])
    await page.context().close()
  })

  it("cuts, pastes with the sources kept, and opens the menu by its key", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    const count = async () => (await saved(page)).nodes.length
    const at = await placeOn(page, 3, 70, -14)
    await page.mouse.click(at.x, at.y)
    await page.keyboard.press("Control+c")
    await page.keyboard.press("Control+Shift+V")
    await expect.poll(count).toBe(8)
    const copy = (await saved(page)).nodes.find((n: { id: number; type: string }) => n.type === "KSampler" && n.id !== 3)
    const exported: any = await page.evaluate(() => window.ebb.exportPrompt())
    expect(exported[copy.id].inputs).toEqual(exported["3"].inputs)
    await page.keyboard.press("Control+z")
    await expect.poll(count).toBe(7)
    await drawn(page)
    // Elsewhere on the title: two presses of one place, soon after each other, would be a double click.
    await page.mouse.click(at.x + 30, at.y)
    await page.keyboard.press("Control+x")
    await expect.poll(count).toBe(6)
    await page.keyboard.press("Control+v")
    await expect.poll(count).toBe(7)
    const other = await placeOn(page, 6, 70, -14)
    await page.mouse.click(other.x, other.y)
    await page.keyboard.press("Shift+F10")
    await page.getByRole("menuitemcheckbox", { name: /^Bypass/ }).press("Enter")
    expect((await saved(page)).nodes.find((n: { id: number }) => n.id === 6).mode).toBe(4)
    // Keys that belong to a button of the page are no keys of the graph.
    await page.locator('[data-panel="queue"].rail-button').focus()
    await page.keyboard.press("Delete")
    expect(await count()).toBe(7)
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("offers what fits a link let go in the void, and bends links with reroutes", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, { nodes: [], links: [], groups: [], version: 0.4 })
    await page.mouse.dblclick(500, 250)
    await page.keyboard.type("ksmplr")
    await page.keyboard.press("Enter")
    expect(await titles(page)).toEqual(["KSampler"])
    await drag(page, await slotAt(page, 1, "input", "latent_image"), { x: 300, y: 500 })
    await page.waitForSelector(".search")
    expect(await page.locator(".search-title").textContent()).toContain("LATENT")
    const offered = await page.locator(".search-list li .found-name").allTextContents()
    expect(offered).toContain("Empty Latent Image")
    expect(offered).not.toContain("Save Image")
    await page.keyboard.type("empty latent")
    await page.keyboard.press("Enter")
    expect((await saved(page)).links).toHaveLength(1)
    await page.evaluate(() => {
      const { canvas } = window.ebb.editor
      const link = [...canvas.graph.links.values()][0]
      canvas.showLinkMenu(link, { clientX: 400, clientY: 300, canvasX: 10, canvasY: 10 })
    })
    await page.getByRole("menuitem", { name: "Add a reroute here" }).click()
    expect((await saved(page)).extra.reroutes).toHaveLength(1)
    const exported: any = await page.evaluate(() => window.ebb.exportPrompt())
    expect(exported["1"].inputs.latent_image).toEqual(["2", 0])
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("makes a subgraph, enters it, leaves it and unpacks it, and the prompt stays the same but for ids", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    const prompt = () => page.evaluate(() => window.ebb.exportPrompt())
    const before: any = await prompt()
    await page.evaluate(() => window.ebb.editor.canvas.selectItems([3, 8].map((id) => window.ebb.editor.graph.getNodeById(id))))
    await page.locator("#graph").focus()
    await page.keyboard.press("Control+Shift+E")
    await page.waitForFunction(() => window.ebb.editor.graph.subgraphs.size === 1)
    const inside: any = await prompt()
    const instance = Object.keys(inside).find((id) => id.endsWith(":3"))!.split(":")[0]!
    expect(inside[`${instance}:3`].inputs).toEqual(before["3"].inputs)
    expect(inside[`${instance}:8`].inputs.samples).toEqual([`${instance}:3`, 0])
    expect(inside["9"].inputs.images).toEqual([`${instance}:8`, 0])
    await page.evaluate((id) => window.ebb.editor.enter(window.ebb.editor.graph.getNodeById(Number(id))), instance)
    expect(await titles(page)).toEqual(["KSampler", "VAE Decode"])
    expect(await page.locator(".crumb").count()).toBe(2)
    await page.locator(".crumb").first().click()
    await page.evaluate((id) => window.ebb.unpack(Number(id)), instance)
    const after: any = await prompt()
    expect(Object.values(after).map((n: any) => n.class_type).sort()).toEqual(Object.values(before).map((n: any) => n.class_type).sort())
    const sampler = Object.keys(after).find((id) => after[id].class_type === "KSampler")!
    expect(after[sampler].inputs).toEqual(before["3"].inputs)
    expect((await saved(page)).definitions).toBeUndefined()
    // Both were single steps.
    await page.keyboard.press("Control+z")
    await page.keyboard.press("Control+z")
    expect(await prompt()).toEqual(before)
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("opens a picture's workflow when it is dropped, and a prompt without places is laid out", async () => {
    const { page } = await stage.open()
    const { makePng } = (await import("../../dev/png.mjs" as string)) as { makePng: (...a: unknown[]) => Buffer }
    const workflow = demoWorkflow()
    await dropFile(page, "made.png", "image/png", makePng(8, 1, 0, { workflow: JSON.stringify(workflow) }))
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.length === 7)
    expect(await saved(page)).toEqual(workflow)
    const api = readFileSync(new URL("../../../../tests/conformance/ui2api/syn_basic.api.json", import.meta.url))
    await dropFile(page, "prompt.json", "application/json", api)
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.length === 3)
    const exported: any = await page.evaluate(() => window.ebb.exportPrompt())
    const expected = JSON.parse(api.toString())
    for (const id of Object.keys(expected)) expect(exported[id].inputs).toEqual(expected[id].inputs)
    await page.context().close()
  })

  it("sets every value and connection by keyboard in the inspector", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.locator("#graph").focus()
    await page.keyboard.press("o")
    await page.locator('.outline [data-node="3"]').focus()
    await page.keyboard.press("Enter")
    const steps = page.getByLabel("steps", { exact: true })
    await steps.fill("4*5")
    await steps.press("Tab")
    const cfg = page.getByLabel("cfg", { exact: true })
    await cfg.fill("6.5")
    await cfg.press("Tab")
    await page.getByLabel(/^positive/).selectOption({ value: "7.0" })
    await page.locator("#graph").focus()
    const node = (await saved(page)).nodes.find((n: { id: number }) => n.id === 3)
    expect(node.widgets_values.slice(2, 4)).toEqual([20, 6.5])
    const exported: any = await page.evaluate(() => window.ebb.exportPrompt())
    expect(exported["3"].inputs.positive).toEqual(["7", 0])
    await page.context().close()
  })

  it("shows the widgets inside that an instance lists, and writes them where they live", async () => {
    const { page, complaints } = await stage.open()
    const inner = { id: 5, type: "CLIPTextEncode", pos: [0, 0], size: [300, 150], flags: {}, order: 0, mode: 0, inputs: [{ name: "clip", type: "CLIP", link: null }], outputs: [{ name: "CONDITIONING", type: "CONDITIONING", links: [] }], properties: {}, widgets_values: ["hello"] }
    const definition = { id: "6f1b0f6e-0000-4000-8000-000000000001", version: 1, state: { lastGroupId: 0, lastNodeId: 5, lastLinkId: 0, lastRerouteId: 0 }, revision: 0, config: {}, name: "Words", inputNode: { id: -10, bounding: [-300, 0, 120, 60] }, outputNode: { id: -20, bounding: [500, 0, 120, 60] }, inputs: [], outputs: [], widgets: [], nodes: [inner], groups: [], links: [], extra: {} }
    const instance = { id: 1, type: definition.id, pos: [100, 100], size: [300, 160], flags: {}, order: 0, mode: 0, inputs: [], outputs: [], properties: { proxyWidgets: [["5", "text"], ["5", "nothing"], ["9", "text"]] } }
    const workflow = { id: "w", revision: 0, last_node_id: 1, last_link_id: 0, nodes: [instance], links: [], groups: [], definitions: { subgraphs: [definition] }, config: {}, extra: {}, version: 0.4 }
    await openWorkflow(page, workflow)
    expect(await saved(page)).toEqual(workflow)
    expect(await page.evaluate(() => window.ebb.editor.graph.nodes[0].widgets.map((w: any) => [w.label, w.value]))).toEqual([["text", "hello"]])
    await page.evaluate(() => {
      window.ebb.editor.graph.nodes[0].widgets[0].value = "bye"
      window.ebb.editor.record()
    })
    const expected = structuredClone(workflow)
    expected.definitions.subgraphs[0]!.nodes[0]!.widgets_values = ["bye"]
    expect(await saved(page)).toEqual(expected)
    await page.evaluate(() => window.ebb.editor.undo())
    expect(await page.evaluate(() => window.ebb.editor.graph.nodes[0].widgets[0].value)).toBe("hello")
    expect(complaints).toEqual([])
    await page.context().close()
  })
})
