// From an empty canvas to a picture, by mouse and keyboard alone, with the demo model on the real server.

import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { root } from "../../dev/server.mjs"
import { drag, drawn, finishedJobs, saved, slotAt, type Stage, startStage, titles, widgetAt } from "./page.ts"

const LONG = 120_000

/** Types a name into the search that is open and takes what it finds first. */
async function choose(page: Page, name: string): Promise<void> {
  await page.waitForSelector(".search")
  await page.keyboard.type(name)
  await page.keyboard.press("Enter")
}

/** Does what opens the search, once what was done before is drawn. */
async function searchBy(page: Page, act: () => Promise<void>): Promise<void> {
  await drawn(page)
  await act()
  await page.waitForSelector(".search")
}

/** Presses a value on a node and types another. */
async function setValue(page: Page, id: number, name: string, value: string): Promise<void> {
  const at = await widgetAt(page, id, name)
  await page.mouse.click(at.x, at.y)
  await page.waitForSelector(".popover .field-input")
  await page.keyboard.type(value)
  await page.keyboard.press("Enter")
}

/** The pixels of a picture that the server has. */
const pixelsOf = (page: Page, url: string): Promise<number[]> =>
  page.evaluate(async (url) => {
    const bitmap = await createImageBitmap(await (await fetch(url)).blob())
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d")!
    context.drawImage(bitmap, 0, 0)
    return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data]
  }, url)

describe("a workflow from nothing", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage()
  })
  afterAll(() => stage.close())

  it("is built with the demo model by mouse and keyboard, and its picture is that of the same workflow from its file", async () => {
    const { page, complaints } = await stage.open()
    await page.locator("#graph").focus()
    for (let i = 0; i < 2; i++) await page.keyboard.press("Alt+-")

    await searchBy(page, () => page.mouse.dblclick(100, 110))
    await choose(page, "load checkpoint")
    expect(await titles(page)).toEqual(["Load Checkpoint"])

    // A link let go in the void offers what takes it.
    await searchBy(page, async () => drag(page, await slotAt(page, 1, "output", "MODEL"), { x: 720, y: 110 }))
    await page.waitForSelector(".search")
    expect(await page.locator(".search-title").textContent()).toContain("MODEL")
    await choose(page, "ksampler")
    await searchBy(page, async () => drag(page, await slotAt(page, 1, "output", "CLIP"), { x: 400, y: 110 }))
    await choose(page, "clip text encode")
    await searchBy(page, async () => drag(page, await slotAt(page, 1, "output", "CLIP"), { x: 400, y: 330 }))
    await choose(page, "clip text encode")
    await searchBy(page, () => page.mouse.dblclick(100, 500))
    await choose(page, "empty latent")
    // Links between nodes that are there.
    await drag(page, await slotAt(page, 3, "output", 0), await slotAt(page, 2, "input", "positive"))
    await drag(page, await slotAt(page, 4, "output", 0), await slotAt(page, 2, "input", "negative"))
    await drag(page, await slotAt(page, 5, "output", 0), await slotAt(page, 2, "input", "latent_image"))
    await searchBy(page, async () => drag(page, await slotAt(page, 2, "output", 0), { x: 1000, y: 110 }))
    await choose(page, "vae decode")
    await drag(page, await slotAt(page, 1, "output", "VAE"), await slotAt(page, 6, "input", "vae"))
    await searchBy(page, async () => drag(page, await slotAt(page, 6, "output", 0), { x: 1000, y: 300 }))
    await choose(page, "save image")

    // Values: a text in place, numbers in their field, a choice from its list.
    const text = await widgetAt(page, 3, "text")
    await page.mouse.click(text.x, text.y + 20)
    await page.waitForSelector("textarea.widget-text")
    await page.keyboard.type("a red apple")
    await page.keyboard.press("Escape")
    await setValue(page, 5, "width", "64*2")
    await setValue(page, 5, "height", "128")
    await setValue(page, 2, "seed", "1")
    await setValue(page, 2, "cfg", "4")
    for (const [name, choice] of [["control_after_generate", "fixed"], ["scheduler", "normal"]] as const) {
      const at = await widgetAt(page, 2, name)
      await page.mouse.click(at.x, at.y)
      await page.waitForSelector(".choice-list")
      await page.locator(".choice-list").getByRole("option", { name: choice, exact: true }).click()
    }

    const built = await saved(page)
    expect(Object.fromEntries(built.nodes.map((n: { id: number; type: string }) => [n.id, n.type]))).toEqual({ 1: "CheckpointLoaderSimple", 2: "KSampler", 3: "CLIPTextEncode", 4: "CLIPTextEncode", 5: "EmptyLatentImage", 6: "VAEDecode", 7: "SaveImage" })
    expect(built.links).toHaveLength(9)

    await page.keyboard.press("Control+Enter")
    await expect.poll(() => finishedJobs(page), { timeout: LONG }).toBe(1)
    await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(7)).images[0]?.naturalWidth === 128, null, { timeout: 20_000 })
    const mine: string = await page.evaluate(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(7)).images[0].src)

    // The repository's text-to-image.json says the same with other ids.
    const prompt = JSON.parse(readFileSync(join(root, "workflows/text-to-image.json"), "utf8"))
    const id: string = await page.evaluate((prompt) => window.ebb.runs.send({ prompt }), prompt)
    await expect.poll(() => finishedJobs(page), { timeout: LONG }).toBe(2)
    const theirs: string = await page.evaluate(async (id) => {
      const entry = (await window.ebb.api.historyOf(id))[id]
      return window.ebb.api.view((Object.values(entry.outputs) as any[]).find((o) => o.images).images[0])
    }, id)
    const pixels = await pixelsOf(page, mine)
    expect(pixels).toEqual(await pixelsOf(page, theirs))
    // And it is a picture: red in the middle, on white.
    const at = (x: number, y: number) => pixels.slice((y * 128 + x) * 4, (y * 128 + x) * 4 + 3)
    const [r, g, b] = at(64, 80)
    expect(r! > 150 && g! < 120 && b! < 120, `${[r, g, b]}`).toBe(true)
    expect(Math.min(...at(2, 2))).toBeGreaterThan(220)

    await page.keyboard.press("g")
    await page.waitForFunction(() => ((document.querySelector(".gallery-cell img") as HTMLImageElement | null)?.naturalWidth ?? 0) > 0)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("is built without a mouse: nodes from the search, links and values in the inspector", async () => {
    const { page, complaints } = await stage.open()
    await page.locator("#graph").focus()
    const add = async (name: string) => {
      await page.keyboard.press("a")
      await choose(page, name)
    }
    for (const name of ["load checkpoint", "empty latent", "clip text encode", "clip text encode", "ksampler", "vae decode", "preview image"]) await add(name)
    await page.keyboard.press("o")
    /** Selects a node in the outline; its inspector opens. */
    const select = async (id: number) => {
      await page.locator(`.outline [data-node="${id}"]`).focus()
      await page.keyboard.press("Enter")
      await expect.poll(() => page.locator(".panel-body[data-panel=inspector]").textContent()).toContain(`Node ${id} ·`)
    }
    /** Chooses where an input comes from, by the keys of a list. */
    const connect = async (input: RegExp, from: string) => {
      await page.getByLabel(input).focus()
      await page.keyboard.type(from)
      await page.keyboard.press("Tab")
    }
    const value = async (label: string, text: string) => {
      await page.getByLabel(label, { exact: true }).fill(text)
      await page.keyboard.press("Tab")
    }
    await select(2)
    await value("width", "128")
    await value("height", "128")
    await select(3)
    await value("text", "a lemon")
    await connect(/^clip/, "Load")
    await select(4)
    await connect(/^clip/, "Load")
    await select(5)
    await value("steps", "4")
    await connect(/^model/, "Load")
    await connect(/^latent_image/, "Empty")
    await page.getByLabel(/^positive/).selectOption("3.0")
    await page.getByLabel(/^negative/).selectOption("4.0")
    await page.keyboard.press("Tab")
    await select(6)
    await connect(/^samples/, "KS")
    await connect(/^vae/, "Load")
    await select(7)
    await connect(/^images/, "VAE")
    const before = await finishedJobs(page)
    await page.keyboard.press("Control+Enter")
    await expect.poll(() => finishedJobs(page), { timeout: LONG }).toBe(before + 1)
    await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(7)).images[0]?.naturalWidth === 128, null, { timeout: 20_000 })
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)
})
