// The editor against the real server with the demo model. Skipped where cargo has not built it, except in CI.

import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Stage, ready, startStage } from "./page.ts"
import { available, binary, type Server, startServer } from "./server.ts"

const workflows = new URL("../../../../workflows/", import.meta.url).pathname
const LONG = 120_000

/** Drops a workflow of the repository on the canvas, as people do. */
async function dropWorkflow(page: Page, file: string): Promise<Record<string, any>> {
  const prompt = JSON.parse(readFileSync(join(workflows, file), "utf8"))
  await page.evaluate((text) => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([text], "w.json", { type: "application/json" }))
    document.getElementById("graph")!.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }))
  }, JSON.stringify(prompt))
  await page.waitForFunction((n) => window.ebb.editor.graph.nodes.length === n, Object.keys(prompt).length)
  return prompt
}

it.runIf(process.env.CI)("the server is built", () => expect(available, binary).toBe(true))

describe.skipIf(!available)("with the real server", () => {
  let server: Server
  let stage: Stage
  beforeAll(async () => {
    server = await startServer()
    process.env.EBB_URL = server.url
    stage = await startStage()
    delete process.env.EBB_URL
  })
  afterAll(async () => {
    await stage?.close()
    server?.stop()
  })

  const finished = (page: any) => page.waitForFunction(() => window.ebb.runs.current === null && window.ebb.runs.remaining === 0, null, { timeout: LONG })
  const idle = (page: any) => expect.poll(() => page.evaluate(async () => (await window.ebb.runs.lists()).history.length), { timeout: LONG })

  it("opens the demo from the empty canvas, runs it, and shows the picture on the node and in the gallery", async () => {
    const { page, complaints } = await stage.open()
    await page.locator(".empty-card").first().click()
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.length === 7)
    await page.locator("#queue-button").click()
    await idle(page).toBe(1)
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.some((n: any) => n.type === "SaveImage" && window.ebb.nodeState(n).images[0]?.naturalWidth === 128), null, { timeout: 20_000 })
    await page.locator("#graph").focus()
    await page.keyboard.press("g")
    await page.waitForFunction(() => (document.querySelector(".gallery-cell img") as HTMLImageElement | null)?.naturalWidth)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("builds a workflow from nothing by mouse and keyboard and runs it", async () => {
    const { page, complaints } = await stage.open()
    await page.mouse.dblclick(300, 250)
    await page.keyboard.type("empty image")
    await page.keyboard.press("Enter")
    const from = await page.evaluate(() => {
      const { canvas, graph } = window.ebb.editor
      const pos = graph.nodes[0].getOutputPos(0)
      const rect = canvas.canvas.getBoundingClientRect()
      return { x: rect.x + (pos[0] + canvas.ds.offset[0]) * canvas.ds.scale, y: rect.y + (pos[1] + canvas.ds.offset[1]) * canvas.ds.scale }
    })
    await page.mouse.move(from.x, from.y)
    await page.mouse.down()
    await page.mouse.move(700, 300, { steps: 5 })
    await page.mouse.move(820, 320, { steps: 3 })
    await page.mouse.up()
    await page.waitForSelector(".search")
    await page.keyboard.type("preview image")
    await page.keyboard.press("Enter")
    const before = await page.evaluate(async () => (await window.ebb.runs.lists()).history.length)
    await page.keyboard.press("Control+Enter")
    await idle(page).toBe(before + 1)
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.some((n: any) => n.type === "PreviewImage" && window.ebb.nodeState(n).images[0]?.naturalWidth > 0), null, { timeout: 20_000 })
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it.each(readdirSync(workflows).filter((f) => f.endsWith(".json")))("opens %s and sends the same prompt", async (file) => {
    const { page } = await stage.open()
    const prompt = await dropWorkflow(page, file)
    const exported: any = await page.evaluate(() => window.ebb.exportPrompt())
    for (const [id, node] of Object.entries<any>(prompt)) {
      expect(exported[id].class_type).toBe(node.class_type)
      expect(exported[id].inputs, id).toMatchObject(node.inputs)
    }
    await page.context().close()
  })

  it("follows its job through a reload in the middle", async () => {
    const { page } = await stage.open()
    await dropWorkflow(page, "text-to-image.json")
    await page.evaluate(() => {
      const sampler = window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler")
      sampler.widgets.find((w: any) => w.name === "steps").value = 150
      sampler.widgets.find((w: any) => w.name === "seed").value = 77
      window.ebb.editor.record()
    })
    await page.locator("#queue-button").click()
    await page.waitForFunction(() => [...(window.ebb.runs.current?.progress.values() ?? [])].some((p: any) => p.max > 1 && p.value > 2), null, { timeout: LONG })
    await page.reload()
    await ready(page)
    await page.waitForFunction(() => window.ebb.runs.current !== null, null, { timeout: 20_000 })
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.some((n: any) => n.type === "SaveImage" && window.ebb.nodeState(n).images.length > 0), null, { timeout: LONG })
    await finished(page)
    await page.context().close()
  }, LONG)

  it("marks what the server refuses on the node and its input", async () => {
    const { page } = await stage.open()
    await dropWorkflow(page, "text-to-image.json")
    await page.evaluate(() => {
      window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler").disconnectInput(0)
      window.ebb.editor.record()
    })
    await page.locator("#queue-button").click()
    await page.waitForSelector(".toast.error")
    const state = await page.evaluate(() => {
      const s = window.ebb.nodeState(window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler"))
      return { error: s.error, inputs: [...s.badInputs] }
    })
    expect(state).toEqual({ error: "“model” needs a connection or a value.", inputs: ["model"] })
    await page.context().close()
  })

  it("shows the plan before and after a run, the memory that is held, and what the models are", async () => {
    const { page, complaints } = await stage.open()
    await dropWorkflow(page, "text-to-image.json")
    await page.evaluate(() => {
      window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler").widgets.find((w: any) => w.name === "seed").value = 123
      window.ebb.editor.record()
    })
    await page.locator("#graph").focus()
    await page.keyboard.press("e")
    await page.waitForSelector(".plan-step")
    // The sampler has a seed it never had, so it runs; what feeds it may be cached from an earlier test.
    expect(await page.locator(".plan-step:not(.cached)").count()).toBeGreaterThan(0)
    const history = await page.evaluate(async () => (await window.ebb.runs.lists()).history.length)
    await page.locator("#queue-button").click()
    await idle(page).toBe(history + 1)
    // Nothing changed since, so nothing would run.
    await expect.poll(() => page.locator(".plan-step:not(.cached)").count(), { timeout: 20_000 }).toBe(0)
    await page.locator("#graph").focus()
    await page.keyboard.press("m")
    await expect.poll(() => page.locator(".resident").count(), { timeout: 10_000 }).toBeGreaterThan(0)
    await page.keyboard.press("l")
    await expect.poll(() => page.locator(".model").first().textContent(), { timeout: 10_000 }).toContain("sd1")
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("runs a sweep as one job, fills its grid, and opens a cell from its picture", async () => {
    const { page, complaints } = await stage.open()
    await dropWorkflow(page, "text-to-image.json")
    // What earlier tests left in the cache would not run again.
    await page.evaluate(() => window.ebb.api.free())
    await expect.poll(() => page.evaluate(async () => (await (await fetch("/v1/memory")).json()).residents.length), { timeout: 10_000 }).toBe(0)
    await page.locator("#graph").focus()
    await page.keyboard.press("s")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis textarea").first().fill("501..503")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis textarea").nth(1).fill("2, 5")
    // Loader, size, two texts once; sampling, decoding and saving for each of six.
    await expect.poll(() => page.locator(".sweep-cost").textContent(), { timeout: 10_000 }).toContain("6 cells, 6 pictures")
    expect(await page.locator(".sweep-cost").textContent()).toContain("22 node runs instead of 42")
    const before = await page.evaluate(async () => (await window.ebb.runs.lists()).history.length)
    await page.getByRole("button", { name: "Run the sweep" }).click()
    await expect.poll(() => page.locator(".sweep-cell img").count(), { timeout: LONG }).toBe(6)
    await idle(page).toBe(before + 1)
    await page.reload()
    await ready(page)
    await expect.poll(() => page.locator(".sweep-cell img").count(), { timeout: 20_000 }).toBe(6)
    await page.locator("#graph").focus()
    await page.keyboard.press("g")
    await page.locator(".gallery-cell").nth(4).click()
    await page.getByRole("button", { name: "Open its workflow" }).click()
    await page.getByRole("button", { name: "OK" }).click({ timeout: 2000 }).catch(() => undefined)
    const widgets = () => page.evaluate(() => Object.fromEntries(window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler").widgets.map((w: any) => [w.name, w.value])))
    await expect.poll(async () => [501, 502, 503].includes((await widgets()).seed) && [2, 5].includes((await widgets()).cfg), { timeout: 10_000 }).toBe(true)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("shows memory as it was over time, pins, and gives back", async () => {
    const { page, complaints } = await stage.open()
    await dropWorkflow(page, "text-to-image.json")
    await page.evaluate(() => {
      window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler").widgets.find((w: any) => w.name === "seed").value = 900
      window.ebb.editor.record()
    })
    await page.locator("#graph").focus()
    await page.keyboard.press("m")
    const before = await page.evaluate(async () => (await window.ebb.runs.lists()).history.length)
    await page.locator("#queue-button").click()
    await idle(page).toBe(before + 1)
    const denoiser = page.locator(".resident", { hasText: "denoiser" })
    // 7.44 MiB: what `ebb inspect` says of this file's denoiser in memory.
    await expect.poll(() => denoiser.textContent(), { timeout: 10_000 }).toContain("7.44 MiB")
    await denoiser.getByRole("button", { name: /^Pin/ }).click()
    await expect.poll(() => denoiser.getByRole("button", { name: /^Evict/ }).isDisabled(), { timeout: 5000 }).toBe(true)
    await denoiser.getByRole("button", { name: /^Unpin/ }).click()
    await expect.poll(() => denoiser.getByRole("button", { name: /^Evict/ }).isEnabled(), { timeout: 5000 }).toBe(true)
    await denoiser.getByRole("button", { name: /^Evict/ }).click()
    await expect.poll(() => page.locator(".toast").last().textContent(), { timeout: 5000 }).toContain("7.44 MiB given back")
    await expect.poll(() => denoiser.count(), { timeout: 5000 }).toBe(0)
    const report: any = await page.evaluate(async () => (await fetch("/v1/memory")).json())
    const kinds = new Set(report.markers.map((m: any) => m.kind))
    for (const kind of ["load", "step", "job_start", "job_end", "evict"]) expect(kinds, kind).toContain(kind)
    expect(report.samples.length).toBeGreaterThan(3)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("moves a waiting job to the front without sending it again", async () => {
    const { page } = await stage.open()
    await dropWorkflow(page, "text-to-image.json")
    await page.evaluate(async () => {
      await fetch("/v1/queue/pause", { method: "POST" })
      const set = (seed: number) => {
        window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler").widgets.find((w: any) => w.name === "seed").value = seed
        return window.ebb.exportPrompt()
      }
      for (const seed of [1001, 1002, 1003]) await window.ebb.runs.send({ prompt: set(seed) })
    })
    const waiting = () => page.evaluate(async () => (await window.ebb.runs.lists()).pending.map((i: any) => i[1]))
    const ids: string[] = await waiting()
    await page.locator("#graph").focus()
    await page.keyboard.press("q")
    await page.getByRole("button", { name: "Move to the front" }).last().click()
    await expect.poll(waiting, { timeout: 5000 }).toEqual([ids[2], ids[0], ids[1]])
    await page.getByRole("button", { name: "Move down" }).first().click()
    await expect.poll(waiting, { timeout: 5000 }).toEqual([ids[0], ids[2], ids[1]])
    await page.evaluate(async () => {
      await window.ebb.api.clearQueue()
      await fetch("/v1/queue/resume", { method: "POST" })
    })
    await page.context().close()
  })
})
