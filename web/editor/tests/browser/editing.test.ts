// Editing by mouse and keyboard, as people do it.

import { readFileSync } from "node:fs"
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { openWorkflow, saved, type Stage, startStage } from "./page.ts"

/** Where a slot of a node is in the window. */
async function slotAt(page: Page, id: number, which: "input" | "output", slot: number): Promise<{ x: number; y: number }> {
  return page.evaluate(([id, which, slot]) => {
    const { canvas } = window.ebb.editor
    const node = canvas.graph.getNodeById(id)
    const pos = which === "input" ? node.getInputPos(slot) : node.getOutputPos(slot)
    const rect = canvas.canvas.getBoundingClientRect()
    return { x: rect.x + (pos[0] + canvas.ds.offset[0]) * canvas.ds.scale, y: rect.y + (pos[1] + canvas.ds.offset[1]) * canvas.ds.scale }
  }, [id, which, slot] as const)
}

async function drag(page: Page, from: { x: number; y: number }, to: { x: number; y: number }): Promise<void> {
  await page.mouse.move(from.x, from.y)
  await page.mouse.down()
  await page.mouse.move((from.x + to.x) / 2, (from.y + to.y) / 2, { steps: 3 })
  await page.mouse.move(to.x, to.y, { steps: 3 })
  await page.mouse.up()
  await page.waitForTimeout(40)
}

const titles = (page: Page) => page.evaluate(() => window.ebb.editor.canvas.graph.nodes.map((n: { title: string }) => n.title))

describe("editing", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage()
  })
  afterAll(() => stage.close())

  it("builds a workflow from an empty canvas by mouse and keyboard, runs it, and shows the picture", async () => {
    const { page, complaints } = await stage.open()
    await page.mouse.dblclick(300, 250)
    await page.keyboard.type("empty image")
    await page.keyboard.press("Enter")
    expect(await titles(page)).toEqual(["EmptyImage"])
    // A link let go in the void offers what takes an image.
    const out = await slotAt(page, 1, "output", 0)
    await drag(page, out, { x: 800, y: 300 })
    await page.waitForSelector(".search")
    expect(await page.locator(".search-title").textContent()).toContain("IMAGE")
    await page.keyboard.type("save image")
    await page.keyboard.press("Enter")
    expect(await titles(page)).toEqual(["EmptyImage", "Save Image"])
    const workflow = await saved(page)
    expect(workflow.links).toHaveLength(1)
    await page.keyboard.press("Control+Enter")
    await page.waitForFunction(() => window.ebb.editor.graph.getNodeById(2) !== null)
    await expect.poll(() => page.evaluate(async () => (await window.ebb.runs.lists()).history.length), { timeout: 20_000 }).toBeGreaterThan(0)
    await page.keyboard.press("g")
    await page.waitForSelector(".gallery-cell img")
    await page.waitForFunction(() => (document.querySelector(".gallery-cell img") as HTMLImageElement).naturalWidth > 0)
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("undoes 200 steps and does them again", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    const states = await page.evaluate(() => {
      const { editor } = window.ebb
      const states = [JSON.stringify(editor.current())]
      for (let i = 0; i < 200; i++) {
        const nodes = editor.graph.nodes
        const node = nodes[i % nodes.length]
        if (i % 4 === 0) node.pos = [node.pos[0] + 7, node.pos[1] + 3]
        else if (i % 4 === 1) node.title = `step ${i}`
        else if (i % 4 === 2) node.mode = node.mode === 0 ? 4 : 0
        else if (node.widgets?.[0]?.type === "number") node.widgets[0].value = i
        else node.collapse()
        editor.record()
        states.push(JSON.stringify(editor.current()))
      }
      return states
    })
    expect(new Set(states).size).toBe(201)
    await page.locator("#graph").focus()
    for (let i = 199; i >= 0; i--) await page.keyboard.press("Control+z")
    expect(await page.evaluate(() => JSON.stringify(window.ebb.editor.current()))).toBe(states[0])
    expect(await page.evaluate(() => window.ebb.editor.canUndo)).toBe(false)
    for (let i = 0; i < 200; i++) await page.keyboard.press("Control+y")
    expect(JSON.parse(await page.evaluate(() => JSON.stringify(window.ebb.editor.current())))).toEqual(JSON.parse(states[200]!))
    await page.context().close()
  })

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

  it("copies in one tab and pastes in another", async () => {
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
    await other.evaluate(() => document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: new DataTransfer(), bubbles: true })))
    await other.waitForTimeout(100)
    const workflow = await saved(other)
    expect(workflow.nodes.map((n: { type: string }) => n.type).sort()).toEqual(["KSampler", "VAEDecode"])
    expect(workflow.links).toHaveLength(1)
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
    const drop = (name: string, type: string, data: number[]) =>
      page.evaluate(([name, type, data]) => {
        const transfer = new DataTransfer()
        transfer.items.add(new File([new Uint8Array(data)], name, { type }))
        document.getElementById("graph")!.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }))
      }, [name, type, data] as const)
    const { makePng } = (await import("../../dev/png.mjs" as string)) as { makePng: (...a: unknown[]) => Buffer }
    const workflow = demoWorkflow()
    await drop("made.png", "image/png", [...makePng(8, 1, 0, { workflow: JSON.stringify(workflow) })])
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.length === 7)
    expect(await saved(page)).toEqual(workflow)
    const api = readFileSync(new URL("../../../../tests/conformance/ui2api/syn_basic.api.json", import.meta.url))
    await drop("prompt.json", "application/json", [...api])
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
