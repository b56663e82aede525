// Nothing is loaded from elsewhere, nothing is evaluated, and pictures go up and come back.

import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { root } from "../../dev/server.mjs"
import { drawn, finishedJobs, openWorkflow, saved, type Stage, startStage } from "./page.ts"

let stage: Stage
beforeAll(async () => {
  stage = await startStage()
})
afterAll(() => stage.close())

it("asks its own server only, whatever panel is open, under a policy without eval and inline scripts", async () => {
  const { page, complaints } = await stage.open()
  const hosts = new Set<string>()
  page.on("request", (request) => /^(blob|data):/.test(request.url()) || hosts.add(new URL(request.url()).origin))
  await page.reload()
  await page.waitForFunction(() => window.ebb?.editor)
  await openWorkflow(page, demoWorkflow())
  for (const button of await page.locator(".rail-button").all()) await button.click()
  await page.locator("#queue-button").click()
  await expect.poll(() => finishedJobs(page), { timeout: 60_000 }).toBe(1)
  expect([...hosts]).toEqual([stage.url])
  expect(complaints).toEqual([])
  // A bundle that is served from a folder gets the policy of the official front end, which needs both.
  if (!process.env.EBB_FRONT_END) {
    const policy = (await page.request.get(stage.url)).headers()["content-security-policy"]!
    expect(policy).not.toContain("unsafe-eval")
    expect(policy).toContain("default-src 'self'")
    expect(policy).not.toMatch(/script-src[^;]*unsafe-inline/)
    // Later, since what a test evaluates itself is let through.
    const evaluated = await page.evaluate(() => new Promise((resolve) => setTimeout(() => {
      try {
        resolve(new Function("return 1")())
      } catch (error) {
        resolve(String(error))
      }
    })))
    expect(evaluated).toMatch(/EvalError/)
  }
  await page.context().close()
}, 120_000)

it("takes a picture by the inspector, shows it on the node, and by a drop on the canvas", async () => {
  const { page, complaints } = await stage.open()
  // Told early that a file will be asked for: a busy browser opens its own dialog before it hears that it shall not.
  page.on("filechooser", () => {})
  await page.locator("#graph").focus()
  await page.keyboard.press("a")
  await page.keyboard.type("load image")
  await page.keyboard.press("Enter")
  await page.keyboard.press("i")
  const button = page.getByRole("button", { name: "Choose a file…" })
  await button.focus()
  // The form is not drawn again under someone's fingers.
  await drawn(page)
  expect(await button.evaluate((b) => b === document.activeElement)).toBe(true)
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")])
  await chooser.setFiles(join(root, "docs/images/text-to-image.png"))
  await expect.poll(async () => (await saved(page)).nodes[0].widgets_values[0]).toBe("text-to-image.png")
  await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.nodes[0]).images[0]?.naturalWidth === 128)
  // A picture without a workflow, dropped where nothing is, becomes a node of its own.
  await page.evaluate(async () => {
    const canvas = new OffscreenCanvas(20, 10)
    canvas.getContext("2d")!.fillRect(0, 0, 20, 10)
    const transfer = new DataTransfer()
    transfer.items.add(new File([await canvas.convertToBlob({ type: "image/png" })], "plain.png", { type: "image/png" }))
    document.getElementById("graph")!.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true, clientX: 200, clientY: 600 }))
  })
  await expect.poll(async () => (await saved(page)).nodes.map((n: { type: string; widgets_values: unknown[] }) => [n.type, n.widgets_values[0]])).toEqual([["LoadImage", "text-to-image.png"], ["LoadImage", "plain.png"]])
  await page.waitForFunction(() => window.ebb.nodeState(window.ebb.editor.graph.nodes[1]).images[0]?.naturalWidth === 20)
  // Undone, it is gone, and only it.
  await page.locator("#graph").focus()
  while ((await saved(page)).nodes.length > 1) await page.keyboard.press("Control+z")
  expect((await saved(page)).nodes[0].widgets_values[0]).toBe("text-to-image.png")
  expect(complaints).toEqual([])
  await page.context().close()
})
