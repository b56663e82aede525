// Running: progress, previews, errors on the node and input that caused them, and a reload in the middle.

import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { openWorkflow, ready, type Stage, startStage } from "./page.ts"

const steps = (n: number, seed: number) => {
  const workflow = demoWorkflow()
  workflow.nodes.find((x) => x.id === 3)!.widgets_values = [seed, "fixed", n, 4, "euler", "normal", 1]
  return workflow
}

describe("running", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage(60)
  })
  afterAll(() => stage.close())

  it("shows progress, a preview and the result on the nodes", async () => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, steps(20, 1))
    await page.locator("#queue-button").click()
    await page.waitForFunction(() => (window.ebb.editor.graph.getNodeById(3).progress ?? 0) > 0.2, null, { timeout: 30_000 })
    expect(await page.locator(".progress").getAttribute("aria-valuenow")).not.toBeNull()
    await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(3)).preview !== null)
    await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(9)).images.length > 0, null, { timeout: 60_000 })
    await page.waitForFunction(() => document.querySelector(".progress-text")!.textContent === "Idle", null, { timeout: 10_000 })
    expect(complaints).toEqual([])
    await page.context().close()
  })

  it("loses nothing when the page is reloaded in the middle of a run", async () => {
    const { page } = await stage.open()
    await openWorkflow(page, steps(40, 2))
    await page.evaluate(() => {
      const node = window.ebb.editor.graph.getNodeById(6)
      node.title = "changed, not saved"
      window.ebb.editor.record()
    })
    await page.locator("#queue-button").click()
    await page.waitForFunction(() => (window.ebb.editor.graph.getNodeById(3).progress ?? 0) > 0.1, null, { timeout: 30_000 })
    await page.reload()
    await ready(page)
    expect(await page.evaluate(() => window.ebb.editor.graph.getNodeById(6).title)).toBe("changed, not saved")
    // It goes on following its job, and the result arrives on the node.
    await page.waitForFunction(() => window.ebb.runs.current !== null, null, { timeout: 10_000 })
    await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.getNodeById(9)).images.length > 0, null, { timeout: 60_000 })
    await page.context().close()
  })

  it("says what is wrong, on the node and the input, in words", async () => {
    const { page } = await stage.open()
    const workflow = steps(4, 3)
    workflow.nodes.find((x) => x.id === 4)!.widgets_values = ["gone.safetensors"]
    await openWorkflow(page, workflow)
    await page.evaluate(() => {
      window.ebb.editor.graph.getNodeById(3).disconnectInput(0)
      window.ebb.editor.record()
    })
    await page.locator("#queue-button").click()
    await page.waitForSelector(".toast.error")
    const marks = await page.evaluate(() => [3, 4].map((id) => {
      const s = window.ebb.nodeState(window.ebb.editor.graph.getNodeById(id))
      return { error: s.error as string, inputs: [...s.badInputs] as string[] }
    }))
    expect(marks[0]).toMatchObject({ inputs: ["model"] })
    expect(marks[0]!.error).toContain("needs a connection")
    expect(marks[1]).toMatchObject({ inputs: ["ckpt_name"] })
    expect(marks[1]!.error).toContain("gone.safetensors")
    await page.context().close()
  })

  it("names a node the server does not have, before asking it", async () => {
    const { page } = await stage.open()
    const workflow = steps(4, 3)
    workflow.nodes.find((x) => x.id === 8)!.type = "DecoderFromTheFuture"
    await openWorkflow(page, workflow)
    await page.locator("#queue-button").click()
    await expect.poll(() => page.locator(".toast.error").last().textContent()).toContain("DecoderFromTheFuture")
    await page.context().close()
  })

  it("queues several, shows them waiting, moves one to the front and cancels one", async () => {
    const { page } = await stage.open()
    await page.evaluate(() => window.ebb.api.clearHistory())
    const workflow = steps(30, 10)
    ;(workflow.nodes.find((x) => x.id === 3)!.widgets_values as unknown[])[1] = "increment"
    await openWorkflow(page, workflow)
    await page.locator("#graph").focus()
    await page.keyboard.press("q")
    await page.locator(".run-count").fill("4")
    await page.locator("#queue-button").click()
    const waiting = page.locator(".list-section", { hasText: "Waiting" }).locator(".row")
    await expect.poll(() => waiting.count(), { timeout: 10_000 }).toBe(3)
    const seeds = async () => (await page.evaluate(async () => (await window.ebb.runs.lists()).pending.map((i: any) => i[2]["3"].inputs.seed))) as number[]
    const before = await seeds()
    await waiting.nth(2).getByRole("button", { name: "Move to the front" }).click()
    await expect.poll(seeds, { timeout: 10_000 }).toEqual([before[2], before[0], before[1]])
    await waiting.nth(1).getByRole("button", { name: "Remove" }).click()
    await expect.poll(seeds, { timeout: 10_000 }).toEqual([before[2], before[1]])
    await page.evaluate(() => window.ebb.api.clearQueue())
    await page.locator(".run-controls .icon-button").click()
    await expect.poll(() => page.locator(".toast").last().textContent(), { timeout: 10_000 }).toContain("stopped")
    await page.context().close()
  })
})
