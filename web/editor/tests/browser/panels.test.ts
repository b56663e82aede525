// Plan, memory, sweep and models panels against figures that are known: the mock's, which stand for models larger than the demo's.

import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { openWorkflow, ready, type Stage, startStage } from "./page.ts"

describe("panels", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage({ mock: true, stepMs: 10 })
  })
  afterAll(() => stage.close())

  it("lays the plan over the graph with one key", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.locator("#graph").focus()
    await page.keyboard.press("e")
    await page.waitForSelector(".plan-step")
    expect(await page.locator(".plan-step").count()).toBe(7)
    // 24 + 96 + 40 MiB of weights and 72 MiB for decoding, at the sixth step.
    expect(await page.locator(".plan-summary").textContent()).toContain("232 MiB at step 6")
    expect(await page.locator(".plan-summary .tag").first().textContent()).toBe("fits")
    const badges = await page.evaluate(() => window.ebb.editor.graph.nodes.map((n: any) => [n.id, window.ebb.nodeState(n).badge]))
    expect(Object.fromEntries(badges)["3"]).toBe("5  ⬇ 96.0 MiB")
    await page.keyboard.press("e")
    expect(await page.evaluate(() => window.ebb.editor.graph.nodes.every((n: any) => window.ebb.nodeState(n).badge === null))).toBe(true)
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("shows memory by owner, and pins and evicts", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.locator("#graph").focus()
    await page.keyboard.press("m")
    await page.locator("#queue-button").click()
    await expect.poll(() => page.locator(".resident").count(), { timeout: 20_000 }).toBe(3)
    expect(await page.locator(".memory-plot canvas").count()).toBe(1)
    expect(await page.locator(".legend-item").allTextContents()).toContain("tiny-emoji-sd1 · unet")
    const unet = page.locator('[data-resident="w:tiny/unet"]')
    expect(await unet.textContent()).toContain("96.0 MiB")
    await expect.poll(() => page.evaluate(() => window.ebb.runs.current), { timeout: 20_000 }).toBeNull()
    await unet.getByRole("button", { name: /^Pin/ }).click()
    await expect.poll(() => unet.getByRole("button", { name: /^Evict/ }).isDisabled(), { timeout: 5000 }).toBe(true)
    await unet.getByRole("button", { name: /^Unpin/ }).click()
    await expect.poll(() => unet.getByRole("button", { name: /^Evict/ }).isEnabled(), { timeout: 5000 }).toBe(true)
    await unet.getByRole("button", { name: /^Evict/ }).click()
    await expect.poll(() => page.locator(".resident").count(), { timeout: 5000 }).toBe(2)
    expect(await page.locator(".toast").last().textContent()).toContain("96.0 MiB given back")
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("says what a sweep costs, runs it, fills the grid, and opens a cell", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.locator("#graph").focus()
    await page.keyboard.press("s")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis textarea").first().fill("1..3")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis textarea").nth(1).fill("2, 4")
    await expect.poll(() => page.locator(".sweep-cost").textContent()).toContain("6 cells, 6 pictures")
    // Sampling, decoding and saving differ for each cell; the four nodes before them run once.
    expect(await page.locator(".sweep-cost").textContent()).toContain("22 node runs instead of 42")
    await page.getByRole("button", { name: "Run the sweep" }).click()
    await expect.poll(() => page.locator(".sweep-cell img").count(), { timeout: 40_000 }).toBe(6)
    await page.getByRole("button", { name: "seed = 3, cfg = 2", exact: true }).click()
    await page.getByRole("button", { name: "OK" }).click({ timeout: 2000 }).catch(() => undefined)
    await expect.poll(() => page.evaluate(() => window.ebb.editor.graph.getNodeById(3).widgets.map((w: any) => w.value))).toEqual([3, "fixed", 16, 2, "euler", "normal", 1])
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("replaces a text, and finds its grid again after a reload", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.locator("#graph").focus()
    await page.keyboard.press("s")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis select").first().selectOption("6")
    const words: string = await page.evaluate(() => window.ebb.editor.graph.getNodeById(6).widgets[0].value)
    const word = words.split(" ")[0]!
    await page.getByLabel("Replace this text").fill("not there")
    await page.locator(".axis textarea").first().fill("blue\ngreen")
    await expect.poll(() => page.locator(".sweep-cost").textContent()).toContain("does not occur")
    await page.getByLabel("Replace this text").fill(word)
    await expect.poll(() => page.locator(".sweep-cost").textContent()).toContain("2 cells")
    await page.getByRole("button", { name: "Run the sweep" }).click()
    await expect.poll(() => page.locator(".sweep-cell img").count(), { timeout: 40_000 }).toBe(2)
    await page.reload()
    await ready(page)
    await expect.poll(() => page.locator(".sweep-cell img").count(), { timeout: 20_000 }).toBe(2)
    await page.getByRole("button", { name: `“${word}” = green`, exact: true }).click()
    await page.getByRole("button", { name: "OK" }).click({ timeout: 2000 }).catch(() => undefined)
    await expect.poll(() => page.evaluate(() => window.ebb.editor.graph.getNodeById(6).widgets[0].value)).toBe(words.replaceAll(word, "green"))
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("refuses values that are none", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.locator("#graph").focus()
    await page.keyboard.press("s")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis textarea").first().fill("1, two")
    await expect.poll(() => page.locator(".sweep-cost").textContent()).toContain("“two” is not a value of seed")
    expect(await page.getByRole("button", { name: "Run the sweep" }).isDisabled()).toBe(true)
    await page.context().close()
  })

  it("lists models, says which cannot be read, and makes a loader", async () => {
    const { page } = await stage.open()
    await page.locator("#graph").focus()
    await page.keyboard.press("l")
    await page.waitForSelector(".model")
    expect(await page.locator(".panel-body[data-panel=models]").textContent()).toContain("the header says 4096 bytes")
    await page.locator(".model", { hasText: "watercolour" }).click()
    const node = await page.evaluate(() => {
      const n = window.ebb.editor.graph.nodes[0]
      return [n.type, n.widgets[0].value]
    })
    expect(node).toEqual(["LoraLoader", "watercolour.safetensors"])
    // Dragged, it stands where it was let go.
    await page.locator(".model", { hasText: "watercolour" }).dragTo(page.locator("#graph"), { targetPosition: { x: 300, y: 420 } })
    await expect.poll(() => page.evaluate(() => window.ebb.editor.graph.nodes.length)).toBe(2)
    const at = await page.evaluate(() => {
      const { canvas, graph } = window.ebb.editor
      const [x, y] = graph.nodes[1].pos
      return [(x + canvas.ds.offset[0]) * canvas.ds.scale, (y + canvas.ds.offset[1]) * canvas.ds.scale]
    })
    expect(Math.abs(at[0]! - 300)).toBeLessThan(60)
    expect(Math.abs(at[1]! - 420)).toBeLessThan(60)
    await page.context().close()
  })

  it("saves on the server and opens again", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, demoWorkflow())
    await page.locator("#graph").focus()
    await page.keyboard.press("Control+Shift+S")
    await page.getByRole("textbox", { name: "Name of the workflow" }).fill("mine")
    await page.keyboard.press("Enter")
    await page.waitForSelector(".toast")
    expect(JSON.parse(stage.mock!.userdata.get("workflows/mine.json")!.toString())).toEqual(demoWorkflow())
    await page.keyboard.press("w")
    await expect.poll(() => page.locator(".row-main", { hasText: "mine" }).count()).toBe(1)
    await page.context().close()
  })
})
