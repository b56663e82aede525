// Plan, memory, sweep, models and templates on the real server, against figures that are known otherwise: from the model
// file's own header (`ebb inspect`), from `ebb plan` on the command line, and by counting.

import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { binary, root } from "../../dev/server.mjs"
import { dropFile, finishedJobs, ready, slotAt, type Stage, startStage } from "./page.ts"

const LONG = 120_000
const MIB = 1024 * 1024
/** Of tiny-emoji-sd1.safetensors in memory: 1,659,872 f32, 3,899,656 bf16 and 745,143 f32 numbers. */
const TEXT = 6_639_488
const DENOISER = 7_799_312
const VAE = 2_980_572

/** As the page writes bytes. */
const mib = (n: number) => `${(n / MIB).toFixed(n / MIB < 10 ? 2 : n / MIB < 100 ? 1 : 0)} MiB`

const workflow = "text-to-image.json"

async function openDemo(page: Page, seed: number): Promise<void> {
  await dropFile(page, workflow, "application/json", readFileSync(join(root, "workflows", workflow)))
  await page.waitForFunction(() => window.ebb.editor.graph.nodes.length === 7)
  await page.evaluate((seed) => {
    window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler").widgets.find((w: any) => w.name === "seed").value = seed
    window.ebb.editor.record()
  }, seed)
  await page.locator("#graph").focus()
}

async function forget(page: Page): Promise<void> {
  await page.evaluate(() => window.ebb.api.free())
  await expect.poll(() => page.evaluate(async () => (await (await fetch("/v1/memory")).json()).residents.length), { timeout: 10_000 }).toBe(0)
}

const run = async (page: Page): Promise<void> => {
  const before = await finishedJobs(page)
  await page.locator("#queue-button").click()
  await expect.poll(() => finishedJobs(page), { timeout: LONG }).toBe(before + 1)
}

describe("figures", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage({ args: ["--memory", "64MiB"] })
  })
  afterAll(() => stage.close())

  it("the plan's: order, loads, peak, lives of values, and what is cached after a run", async () => {
    const { page, complaints } = await stage.open()
    await openDemo(page, 1)
    await page.keyboard.press("e")
    await page.waitForSelector(".plan-step")
    const cli = JSON.parse(execFileSync(binary, ["plan", join(root, "workflows", workflow), "--format", "json", "--memory", "64MiB"], { cwd: stage.server!.base, encoding: "utf8" }))
    const order: string[] = cli.steps.map((s: any) => s.node.id)
    expect(await page.locator(".plan-step .plan-node .quiet").allTextContents()).toEqual(order.map((id) => ` #${id}`))
    const summary = await page.locator(".plan-summary").textContent()
    expect(summary).toContain("7 steps, 0 from cache")
    // The highest point is decoding. A server keeps weights for the next job while there is room, so all three are there,
    // and what decoding works in, which the command line tells.
    const peak: number = TEXT + DENOISER + VAE + cli.steps[order.indexOf("8")].scratch
    const [, told, step] = /Predicted peak([\d.]+) MiB at step (\d+)/.exec(summary!)!
    expect(Number(step)).toBe(order.indexOf("8") + 1)
    // Besides, a latent of 4 KiB and two texts of 19.5 KiB live.
    expect(Math.abs(Number(told) - peak / MIB)).toBeLessThan(0.1)
    expect(summary).toContain("Budget64.0 MiB fits")
    // What each loads, on its node, to the byte of the file's header.
    const badges: Record<string, string> = await page.evaluate(() => Object.fromEntries(window.ebb.editor.graph.nodes.map((n: any) => [n.type + (n.title.includes("avoid") ? "-" : ""), window.ebb.nodeState(n).badge])))
    expect(badges.KSampler).toBe(`${order.indexOf("3") + 1}  ⬇ ${mib(DENOISER)}`)
    expect(badges.VAEDecode).toBe(`${order.indexOf("8") + 1}  ⬇ ${mib(VAE)}`)
    expect([badges.CLIPTextEncode, badges["CLIPTextEncode-"]].filter((b) => b!.includes("⬇"))).toEqual([expect.stringContaining(mib(TEXT))])
    // A server keeps results for the next job.
    expect(await page.locator(".plan-step", { hasText: "#3" }).getAttribute("title")).toBe("LATENT: its result is kept")
    // Nothing changes, so nothing would run.
    await run(page)
    // It was as was said.
    const measured: number = await page.evaluate(async () => (await (await fetch("/v1/memory")).json()).peak)
    expect(Math.abs(measured / MIB / Number(told) - 1)).toBeLessThan(0.03)
    await expect.poll(() => page.locator(".plan-step:not(.cached)").count(), { timeout: 20_000 }).toBe(0)
    expect(await page.locator(".plan-summary").textContent()).toContain("7 steps, 7 from cache")
    // Another text: its encoder, what follows, and nothing else.
    await page.evaluate(() => {
      window.ebb.editor.graph.getNodeById(6).widgets[0].value = "a lemon"
      window.ebb.editor.record()
    })
    await expect.poll(async () => (await page.locator(".plan-step:not(.cached) .plan-node .quiet").allTextContents()).map((x) => x.trim()), { timeout: 20_000 }).toEqual(["#6", "#3", "#8", "#9"])
    await page.keyboard.press("e")
    expect(await page.evaluate(() => window.ebb.editor.graph.nodes.every((n: any) => window.ebb.nodeState(n).badge === null))).toBe(true)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("the plan's ends: where values die when nothing is kept, in the list and on the wires", async () => {
    const own = await startStage({ args: ["--cache", "none"] })
    try {
      const { page, complaints } = await own.open()
      await openDemo(page, 1)
      await page.keyboard.press("e")
      await page.waitForSelector(".plan-step")
      const order = (await page.locator(".plan-step .plan-node .quiet").allTextContents()).map((x) => x.trim())
      const lives = (node: string) => page.locator(".plan-step", { hasText: `#${node}` }).getAttribute("title")
      // The sampler's latent dies when it is decoded, the picture when it is saved, the model when it has sampled.
      expect(await lives("3")).toBe(`LATENT: its result is dropped after step ${order.indexOf("#8") + 1}`)
      expect(await lives("8")).toBe(`IMAGE: its result is dropped after step ${order.indexOf("#9") + 1}`)
      expect(await lives("4")).toContain(`MODEL: its result is dropped after step ${order.indexOf("#3") + 1}`)
      // In the wire into the decoder's latent, near its end, there is the mark; in the wire's middle, the colour of life.
      const end = await slotAt(page, 8, "input", "samples")
      const colours = await page.evaluate(([x, y]) => {
        const canvas = document.getElementById("graph") as HTMLCanvasElement
        const rect = canvas.getBoundingClientRect()
        const { scale } = window.ebb.editor.canvas.ds
        window.ebb.editor.canvas.draw(true, true)
        const at = (dx: number, dy: number) => [...canvas.getContext("2d")!.getImageData((x! - rect.x + dx) * devicePixelRatio, (y! - rect.y + dy) * devicePixelRatio, 1, 1).data]
        return { mark: at(-14 * scale, 4.5 * scale), wire: at(-24 * scale, 0) }
      }, [end.x, end.y])
      expect(colours.mark.slice(0, 3), "orange").toEqual([0xf0, 0x88, 0x3e])
      expect(colours.wire[2]! > colours.wire[1]!, `violet: ${colours.wire}`).toBe(true)
      expect(complaints).toEqual([])
    } finally {
      await own.close()
    }
  }, LONG)

  it("the plan's decisions, when a picture is too large for the budget", async () => {
    const { page, complaints } = await stage.open()
    await openDemo(page, 2)
    await page.evaluate(() => {
      const size = window.ebb.editor.graph.nodes.find((n: any) => n.type === "EmptyLatentImage")
      size.widgets[0].value = size.widgets[1].value = 512
      window.ebb.editor.record()
    })
    await page.keyboard.press("e")
    await expect.poll(() => page.locator(".decisions").textContent(), { timeout: 10_000 }).toMatch(/VAEDecode #8: .*tile/)
    expect(await page.locator(".plan-summary .tag.good").first().textContent()).toBe("fits")
    const peak = Number(/([\d.]+) MiB at step/.exec((await page.locator(".plan-summary").textContent())!)![1])
    expect(peak).toBeLessThanOrEqual(64)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("memory's: bytes by owner over time, the budget, who held what and until when; pinned and given back", async () => {
    const { page, complaints } = await stage.open()
    await forget(page)
    await openDemo(page, 900)
    await page.keyboard.press("m")
    await run(page)
    const row = (name: string) => page.locator(".resident", { hasText: name })
    await expect.poll(() => row("denoiser").textContent(), { timeout: 10_000 }).toContain(mib(DENOISER))
    expect(await row("text encoder").textContent()).toContain(mib(TEXT))
    expect(await row("safetensors vae").textContent()).toContain(mib(VAE))
    // The figures above the timeline are those of the list below it.
    const report: any = await page.evaluate(async () => (await fetch("/v1/memory")).json())
    const held = report.samples.at(-1).bytes.reduce((a: number, b: number) => a + b, 0)
    const weights = report.residents.filter((r: any) => r.kind === "weights").reduce((n: number, r: any) => n + r.bytes, 0)
    expect(weights).toBe(TEXT + DENOISER + VAE)
    expect(held).toBeGreaterThanOrEqual(weights)
    await expect.poll(() => page.locator(".figures").first().textContent(), { timeout: 10_000 }).toContain(`Now${mib(held)}`)
    expect(await page.locator(".figures").first().textContent()).toContain("Budget64.0 MiB")
    const kinds = new Set(report.markers.map((m: any) => m.kind))
    for (const kind of ["load", "step", "job_start", "job_end"]) expect(kinds, kind).toContain(kind)
    // Over the moment of sampling, the pointer tells who held the denoiser then.
    const plot = (await page.locator(".memory-plot .u-over").boundingBox())!
    let told = ""
    for (let x = plot.width - 2; x > 0 && !told.includes("in use by KSampler #3"); x -= 2) {
      await page.mouse.move(plot.x + x, plot.y + plot.height / 2)
      told = (await page.locator(".chart-tip").textContent()) ?? ""
    }
    expect(told).toContain(`denoiser${mib(DENOISER)}`)
    expect(told).toContain("in use by KSampler #3")
    expect(told).toContain("no waiting job needs it")
    // Buttons.
    const pin = row("denoiser").getByRole("button", { name: /^Pin/ })
    await pin.click()
    await expect.poll(() => row("denoiser").getByRole("button", { name: /^Evict/ }).isDisabled(), { timeout: 5000 }).toBe(true)
    await row("denoiser").getByRole("button", { name: /^Unpin/ }).click()
    await expect.poll(() => row("denoiser").getByRole("button", { name: /^Evict/ }).isEnabled(), { timeout: 5000 }).toBe(true)
    await row("denoiser").getByRole("button", { name: /^Evict/ }).click()
    await expect.poll(() => page.locator(".toast").last().textContent(), { timeout: 5000 }).toContain(`${mib(DENOISER)} given back`)
    await expect.poll(() => row("denoiser").count(), { timeout: 5000 }).toBe(0)
    await expect.poll(() => page.evaluate(async () => (await (await fetch("/v1/memory")).json()).markers.at(-1).kind), { timeout: 5000 }).toBe("evict")
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("a sweep's: pictures, node runs and loads before it runs; the grid as it fills; a cell's workflow", async () => {
    const { page, complaints } = await stage.open()
    await openDemo(page, 1)
    await forget(page)
    await page.keyboard.press("s")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis textarea").first().fill("501..503")
    await page.getByRole("button", { name: "Add an axis" }).click()
    await page.locator(".axis textarea").nth(1).fill("2, 5")
    const cost = page.locator(".sweep-cost")
    await expect.poll(() => cost.textContent(), { timeout: 10_000 }).toContain("6 cells, 6 pictures")
    // Loader, size and two texts once; sampling, decoding and saving for each of six: 4 + 18 of 42. Each component once.
    expect(await cost.textContent()).toContain("22 node runs instead of 42")
    expect(await cost.textContent()).toContain(`3 model loads, ${mib(TEXT + DENOISER + VAE)}`)
    const before = await finishedJobs(page)
    await page.getByRole("button", { name: "Run the sweep" }).click()
    await page.waitForFunction(() => document.querySelectorAll(".sweep-cell img").length > 0, null, { timeout: LONG })
    await expect.poll(() => page.locator(".sweep-cell img").count(), { timeout: LONG }).toBe(6)
    await expect.poll(() => finishedJobs(page), { timeout: LONG }).toBe(before + 1)
    // As many loads as were said.
    const loads = await page.evaluate(async () => {
      const { markers } = await (await fetch("/v1/memory")).json()
      const start = markers.findLastIndex((m: any) => m.kind === "job_start")
      return markers.slice(start).filter((m: any) => m.kind === "load").length
    })
    expect(loads).toBe(3)
    await page.reload()
    await ready(page)
    await expect.poll(() => page.locator(".sweep-cell img").count(), { timeout: 20_000 }).toBe(6)
    await page.getByRole("button", { name: "seed = 502, cfg = 5", exact: true }).click()
    await page.getByRole("button", { name: "OK" }).click({ timeout: 2000 }).catch(() => undefined)
    const widgets = () => page.evaluate(() => Object.fromEntries(window.ebb.editor.graph.nodes.find((n: any) => n.type === "KSampler").widgets.map((w: any) => [w.name, w.value])))
    await expect.poll(widgets, { timeout: 10_000 }).toMatchObject({ seed: 502, cfg: 5 })
    // The picture itself carries the same.
    await page.locator("#graph").focus()
    await page.keyboard.press("g")
    await page.locator(".gallery-cell").first().click()
    await page.getByRole("button", { name: "Open its workflow" }).click()
    await page.getByRole("button", { name: "OK" }).click({ timeout: 2000 }).catch(() => undefined)
    await expect.poll(async () => [501, 502, 503].includes((await widgets()).seed as number) && [2, 5].includes((await widgets()).cfg as number), { timeout: 10_000 }).toBe(true)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("models': what the file is, what of it is in memory, and its loader in the graph", async () => {
    const { page, complaints } = await stage.open()
    await openDemo(page, 77)
    await run(page)
    await page.keyboard.press("l")
    const file = page.locator(".model", { hasText: "tiny-emoji-sd1.safetensors" })
    await expect.poll(() => file.textContent(), { timeout: 10_000 }).toMatch(/sd1 · denoiser · text_encoder · vae · f16 · 16\.5 MiB/)
    await expect.poll(() => file.textContent(), { timeout: 10_000 }).toContain(`in memory ${mib(TEXT + DENOISER + VAE)}`)
    await page.evaluate(() => window.ebb.editor.open({ nodes: [], links: [], groups: [], version: 0.4 }, null))
    await file.dragTo(page.locator("#graph"), { targetPosition: { x: 60, y: 500 } })
    await expect.poll(() => page.evaluate(() => window.ebb.editor.graph.nodes.map((n: any) => [n.type, n.widgets[0].value]))).toEqual([["CheckpointLoaderSimple", "tiny-emoji-sd1.safetensors"]])
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("templates: every workflow of the repository, each with its picture, and each opens", async () => {
    const { page, complaints } = await stage.open()
    await page.locator("#graph").focus()
    await page.keyboard.press("t")
    await page.waitForSelector(".card")
    const cards = page.locator(".card")
    expect(await cards.count()).toBe(6)
    await expect.poll(() => page.evaluate(() => [...document.querySelectorAll<HTMLImageElement>(".card img")].filter((i) => i.naturalWidth > 0).length), { timeout: 10_000 }).toBe(6)
    for (let i = 0; i < 6; i++) {
      await page.evaluate(() => window.ebb.editor.open({ nodes: [], links: [], groups: [], version: 0.4 }, null))
      await cards.nth(i).click()
      await page.waitForFunction(() => window.ebb.editor.graph.nodes.length > 5)
    }
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)
})
