// Running on the real server: progress, previews, results; errors on the node and input that caused them; a reload, and a
// server that dies, in the middle of a run; the queue.

import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { finishedJobs, openWorkflow, ready, type Stage, startStage } from "./page.ts"

const LONG = 120_000

/** Text to image with so many steps of sampling; what a seed gave once is cached, so each test has its own. */
const steps = (n: number, seed: number, control = "fixed") => {
  const workflow = demoWorkflow()
  workflow.nodes.find((x) => x.id === 3)!.widgets_values = [seed, control, n, 4, "euler", "normal", 1]
  return workflow
}

const underWay = (page: Page, share: number) => page.waitForFunction((share) => (window.ebb.editor.graph.getNodeById(3).progress ?? 0) > share, share, { timeout: 30_000 })
const result = (page: Page) => page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(9)).images[0]?.naturalWidth > 0, null, { timeout: LONG })
const idle = (page: Page) => page.waitForFunction(() => document.querySelector(".progress-text")!.textContent === "Idle", null, { timeout: LONG })
const stateOf = (page: Page, id: number) =>
  page.evaluate((id) => {
    const s = window.ebb.nodeState(window.ebb.editor.graph.getNodeById(id))
    return { error: s.error as string | null, inputs: [...s.badInputs] as string[], images: s.images.length as number }
  }, id)

describe("running", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage()
  })
  afterAll(() => stage.close())

  it("shows progress on the node and over all, a live preview, and the result on the node and in the gallery", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, steps(60, 1))
    await page.locator("#queue-button").click()
    await underWay(page, 0.2)
    const share = Number(await page.locator(".progress").getAttribute("aria-valuenow"))
    expect(share).toBeGreaterThan(0)
    expect(share).toBeLessThan(100)
    expect(await page.locator(".progress-text").textContent()).toMatch(/\d of 7 nodes · \d+\/60/)
    await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(3)).preview !== null)
    await result(page)
    await idle(page)
    expect(await finishedJobs(page)).toBe(1)
    await page.keyboard.press("g")
    await page.locator(".gallery-cell").first().click()
    await page.waitForFunction(() => ((document.querySelector(".viewer-image") as HTMLImageElement | null)?.naturalWidth ?? 0) === 64)
    await page.evaluate(() => window.ebb.editor.open({ nodes: [], links: [], groups: [], version: 0.4 }, null))
    await page.getByRole("button", { name: "Open its workflow" }).click()
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.length === 7)
    expect(await page.evaluate(() => window.ebb.editor.current())).toEqual(steps(60, 1))
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("loses nothing when the page is reloaded in the middle of a run", async () => {
    const { page, complaints } = await stage.open()
    const workflow = steps(400, 2)
    // A second result that is there before the reload.
    workflow.nodes.push({ id: 10, type: "PreviewImage", pos: [40, 560], size: [210, 250], flags: {}, order: 0, mode: 0, inputs: [{ name: "images", type: "IMAGE", link: 10 }], outputs: [], properties: {}, widgets_values: [] } as never)
    workflow.nodes.push({ id: 11, type: "EmptyImage", pos: [40, 420], size: [210, 130], flags: {}, order: 0, mode: 0, inputs: [], outputs: [{ name: "IMAGE", type: "IMAGE", links: [10] }], properties: {}, widgets_values: [32, 32, 1, 255] } as never)
    ;(workflow.links as unknown[]).push([10, 11, 0, 10, 0, "IMAGE"])
    await openWorkflow(page, workflow)
    await page.evaluate(() => {
      const node = window.ebb.editor.graph.getNodeById(6)
      node.title = "changed, not saved"
      window.ebb.editor.record()
      window.ebb.editor.canvas.ds.scale = 0.7
    })
    await page.locator("#graph").focus()
    await page.keyboard.press("m")
    await page.locator("#queue-button").click()
    await underWay(page, 0.1)
    const before = await page.evaluate(() => ({ run: window.ebb.runs.current.id as string, share: window.ebb.editor.graph.getNodeById(3).progress as number, cheap: window.ebb.nodeState(window.ebb.editor.graph.getNodeById(10)).images.length as number }))
    await page.reload()
    await ready(page)
    // The work, unsaved as it was, where it was looked at, and the panel that was open.
    expect(await page.evaluate(() => window.ebb.editor.graph.getNodeById(6).title)).toBe("changed, not saved")
    expect(await page.evaluate(() => [window.ebb.editor.dirty, window.ebb.editor.canvas.ds.scale])).toEqual([true, 0.7])
    expect(await page.locator(".panel.dock h2").textContent()).toBe("Memory")
    // The same job, further on; what was there already is there again.
    await page.waitForFunction((id) => window.ebb.runs.current?.id === id, before.run, { timeout: 20_000 })
    await underWay(page, before.share)
    expect((await stateOf(page, 10)).images).toBe(before.cheap)
    await result(page)
    await idle(page)
    expect((await stateOf(page, 10)).images).toBe(1)
    // And once more, when nothing runs: results stay.
    await page.reload()
    await ready(page)
    await result(page)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("keeps tabs apart: each its own work, its own jobs, and another id for a copy of a tab", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, steps(4, 50))
    const id: string = await page.evaluate(() => window.ebb.runs.socket.clientId)
    const copy = await page.context().newPage()
    await copy.addInitScript((id) => sessionStorage.getItem("ebb.clientId") ?? sessionStorage.setItem("ebb.clientId", id), id)
    await copy.goto(stage.url)
    await ready(copy)
    await expect.poll(() => copy.evaluate(() => window.ebb.runs.socket.clientId), { timeout: 5000 }).not.toBe(id)
    expect(await page.evaluate(() => window.ebb.runs.socket.clientId)).toBe(id)
    await openWorkflow(copy, steps(4, 51))
    await copy.locator("#queue-button").click()
    await result(copy)
    await page.bringToFront()
    await page.locator("#queue-button").click()
    await result(page)
    const seed = (p: Page) => p.evaluate(() => window.ebb.editor.graph.getNodeById(3).widgets[0].value)
    await page.reload()
    await ready(page)
    await copy.bringToFront()
    await copy.reload()
    await ready(copy)
    expect([await seed(page), await seed(copy)]).toEqual([50, 51])
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("shows what finished while the page was away", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, steps(40, 3))
    await page.locator("#queue-button").click()
    await underWay(page, 0.05)
    await page.goto("about:blank")
    const other = await page.context().newPage()
    await other.goto(stage.url)
    await expect.poll(() => other.evaluate(async () => (await (await fetch("/api/queue")).json()).queue_running.length), { timeout: LONG }).toBe(0)
    await other.close()
    await page.goto(stage.url)
    await ready(page)
    await result(page)
    await page.context().close()
  }, LONG)

  it("says what is wrong before it runs, on the node and the input, in words", async () => {
    const { page } = await stage.open()
    const workflow = steps(4, 4)
    workflow.nodes.find((x) => x.id === 4)!.widgets_values = ["gone.safetensors"]
    await openWorkflow(page, workflow)
    await page.evaluate(() => {
      window.ebb.editor.graph.getNodeById(3).disconnectInput(0)
      window.ebb.editor.record()
    })
    await page.locator("#queue-button").click()
    await page.waitForSelector(".toast.error")
    expect(await page.locator(".toast.error").textContent()).toContain("Problems marked on the nodes: 2")
    expect(await stateOf(page, 3)).toMatchObject({ error: "“model” needs a connection or a value.", inputs: ["model"] })
    expect(await stateOf(page, 4)).toMatchObject({ error: "“gone.safetensors” is not one of the choices for “ckpt_name”.", inputs: ["ckpt_name"] })
    await page.getByRole("button", { name: "Show the node" }).click()
    await page.keyboard.press("i")
    await expect.poll(() => page.locator(".panel-body[data-panel=inspector] .problem").textContent()).toMatch(/“model” needs|gone\.safetensors/)
    // Put right, the marks go with the next run.
    await page.evaluate(() => {
      const { editor } = window.ebb
      editor.graph.getNodeById(4).widgets[0].value = "tiny-emoji-sd1.safetensors"
      editor.graph.getNodeById(4).connect(0, editor.graph.getNodeById(3), 0)
      editor.record()
    })
    await page.locator("#queue-button").click()
    await result(page)
    expect(await stateOf(page, 3)).toMatchObject({ error: null, inputs: [] })
    await page.context().close()
  }, LONG)

  it("names a node the server does not have, before asking it", async () => {
    const { page } = await stage.open()
    const workflow = steps(4, 5)
    workflow.nodes.find((x) => x.id === 8)!.type = "DecoderFromTheFuture"
    await openWorkflow(page, workflow)
    await page.locator("#queue-button").click()
    await expect.poll(() => page.locator(".toast.error").last().textContent()).toContain("DecoderFromTheFuture")
    expect((await stateOf(page, 8)).error).toContain("DecoderFromTheFuture")
    await page.context().close()
  })

  it("queues several, puts one first, moves, cancels, and runs one again", async () => {
    const { page } = await stage.open()
    await page.evaluate(() => window.ebb.api.clearHistory())
    // Long enough for all that is done meanwhile; it is stopped in the end.
    await openWorkflow(page, steps(5000, 1000, "increment"))
    await page.locator("#graph").focus()
    await page.keyboard.press("q")
    await page.locator(".run-count").fill("4")
    await page.locator("#queue-button").click()
    const waiting = page.locator(".list-section", { hasText: "Waiting" }).locator(".row")
    await expect.poll(() => waiting.count(), { timeout: 10_000 }).toBe(3)
    const seeds = () => page.evaluate(async () => (await window.ebb.runs.lists()).pending.map((i: any) => i[2]["3"].inputs.seed)) as Promise<number[]>
    expect(await seeds()).toEqual([1001, 1002, 1003])
    await waiting.nth(2).getByRole("button", { name: "Move to the front" }).click()
    await expect.poll(seeds, { timeout: 10_000 }).toEqual([1003, 1001, 1002])
    await waiting.nth(1).getByRole("button", { name: "Move down" }).click()
    await expect.poll(seeds, { timeout: 10_000 }).toEqual([1003, 1002, 1001])
    await waiting.nth(1).getByRole("button", { name: "Remove" }).click()
    await expect.poll(seeds, { timeout: 10_000 }).toEqual([1003, 1001])
    // In front of all of them.
    await page.locator(".run-count").fill("1")
    await page.getByRole("button", { name: "More ways to run" }).click()
    await page.getByRole("menuitem", { name: /^Queue first/ }).click()
    await expect.poll(seeds, { timeout: 10_000 }).toEqual([1004, 1003, 1001])
    await page.getByRole("button", { name: "Clear waiting" }).click()
    await expect.poll(seeds, { timeout: 10_000 }).toEqual([])
    await page.getByRole("button", { name: "Stop what is running now" }).click()
    await expect.poll(() => page.locator(".toast").last().textContent(), { timeout: 10_000 }).toContain("stopped")
    const history = page.locator(".list-section", { hasText: "Finished" }).locator(".row")
    await expect.poll(() => history.first().textContent(), { timeout: 10_000 }).toContain("stopped")
    await history.first().getByRole("button", { name: "Queue again" }).click()
    await page.waitForFunction(() => window.ebb.runs.current !== null, null, { timeout: 10_000 })
    await page.keyboard.press("Control+Alt+Enter")
    await idle(page)
    await page.context().close()
  }, LONG)
})

describe("running, when things go wrong", () => {
  it("goes on when the server dies in the middle of a run and comes back", async () => {
    const stage = await startStage()
    try {
      const { page } = await stage.open()
      await openWorkflow(page, steps(300, 21))
      await page.locator("#queue-button").click()
      await underWay(page, 0.05)
      await stage.server!.kill()
      await expect.poll(() => page.locator(".toast.error").last().textContent(), { timeout: 20_000 }).toContain("does not answer")
      // Work goes on meanwhile.
      await page.locator("#graph").focus()
      await page.keyboard.press("Control+a")
      await page.keyboard.press("ArrowRight")
      await stage.server!.again()
      await expect.poll(() => page.locator(".toast").last().textContent(), { timeout: 20_000 }).toContain("Connected again")
      // The queue outlived it: the job runs again and its picture arrives.
      await result(page)
      await idle(page)
      expect(await page.evaluate(() => window.ebb.editor.canUndo)).toBe(true)
    } finally {
      await stage.close()
    }
  }, LONG)

  it("says on the node what failed while it ran", async () => {
    // Less than decoding needs, so that the run is refused at that node.
    const stage = await startStage({ args: ["--memory", "20MiB", "--savings", "none"] })
    try {
      const { page } = await stage.open()
      await page.locator("#graph").focus()
      const workflow = steps(2, 31)
      workflow.nodes.find((x) => x.id === 5)!.widgets_values = [256, 256, 1]
      await openWorkflow(page, workflow)
      await page.locator("#queue-button").click()
      await expect.poll(() => page.locator(".toast.error").last().textContent(), { timeout: 60_000 }).toMatch(/The run failed at VAE Decode.*MiB/)
      await expect.poll(async () => (await stateOf(page, 8)).error, { timeout: 10_000 }).toMatch(/MiB/)
    } finally {
      await stage.close()
    }
  }, LONG)
})
