// `npm run screenshots [-- FOLDER]`: every panel, light and dark, English and Chinese, window and tablet, as PNG files to look
// at and to show, by default those of docs/images. Drives the real server with the demo model, or the one named by EBB_URL.
// For the Chinese page the system must have a font that has Chinese (Debian: fonts-wqy-zenhei or fonts-noto-cjk).
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { chromium } from "playwright-core"
import { chromiumOptions } from "./chromium.mjs"
import { root, startServer } from "./server.mjs"

const folder = process.argv[2] ?? join(root, "docs/images")
mkdirSync(folder, { recursive: true })
const server = process.env.EBB_URL ? null : await startServer(["--memory", "64MiB"])
const url = process.env.EBB_URL ?? server.url
const browser = await chromium.launch(chromiumOptions)
const only = process.env.ONLY?.split(",")

async function shot(name, options, act) {
  if (only && !only.includes(name)) return
  const { theme = "dark", language = "en", width = 1280, height = 720, touch = false } = options
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, locale: language === "zh" ? "zh-CN" : "en-US", hasTouch: touch })
  const page = await context.newPage()
  page.on("pageerror", (e) => console.error(`${name}: ${e.stack}`))
  page.on("console", (m) => m.type() === "error" && console.error(`${name}: ${m.text()}`))
  await page.goto(url)
  await page.waitForFunction(() => document.documentElement.dataset.ready === "true")
  await act(page)
  await page.waitForTimeout(350)
  await page.screenshot({ path: join(folder, `editor-${name}.png`) })
  await context.close()
  console.log(join(folder, `editor-${name}.png`))
}

const demo = async (page) => {
  await page.locator(".empty-card").first().click()
  await page.waitForFunction(() => window.ebb.editor.graph.nodes.length > 0)
}
const run = async (page) => {
  await page.evaluate(() => void (window.finished = new Promise((resolve) => window.ebb.runs.on("finished", resolve))))
  await page.locator("#queue-button").click()
  await page.evaluate(() => window.finished.then(() => undefined))
  await page.waitForTimeout(400)
}
const panel = (page, id) => page.locator(`[data-panel="${id}"].rail-button`).click()
const fit = (page) => page.evaluate(() => window.ebb.editor.fit())

await shot("empty", {}, async (page) => {
  await page.locator("body").click({ position: { x: 640, y: 20 } })
})
await shot("editor", {}, async (page) => {
  await demo(page)
  await run(page)
  await fit(page)
})
await shot("running", {}, async (page) => {
  await demo(page)
  await page.evaluate(() => window.ebb.editor.graph.getNodeById(3) && (window.ebb.editor.graph.getNodeById(3).widgets[2].value = 60))
  await page.locator("#queue-button").click()
  await page.waitForFunction(() => [...(window.ebb.runs.current?.progress.values() ?? [])].some((p) => p.max > 1 && p.value > 6), null, { timeout: 120_000 })
})
await shot("search", {}, async (page) => {
  await demo(page)
  await page.keyboard.press("a")
  await page.keyboard.type("ksam")
})
await shot("nodes", {}, async (page) => {
  await demo(page)
  await panel(page, "nodes")
  await fit(page)
})
await shot("inspector-light", { theme: "light" }, async (page) => {
  await demo(page)
  await run(page)
  await panel(page, "inspector")
  await panel(page, "outline")
  await page.evaluate(() => window.ebb.editor.reveal("3"))
})
await shot("memory", {}, async (page) => {
  await demo(page)
  await panel(page, "memory")
  // Seeds of their own, so that every run computes.
  for (const seed of [11, 12, 13]) {
    await page.evaluate((seed) => (window.ebb.editor.graph.getNodeById(3).widgets[0].value = seed), seed)
    await run(page)
  }
  await page.waitForTimeout(1500)
  await fit(page)
  // Over the moment of sampling in the middle of the timeline.
  const box = await page.locator(".memory-plot .u-over").boundingBox()
  for (let dx = 0; dx < box.width * 0.6; dx += 6) {
    await page.mouse.move(box.x + box.width * 0.35 + dx, box.y + box.height / 2)
    if (/KSampler/.test(await page.locator(".chart-tip").textContent())) break
  }
})
await shot("plan", {}, async (page) => {
  await demo(page)
  await page.evaluate(() => (window.ebb.editor.graph.getNodeById(6).widgets[0].value = "another text that was never seen"))
  await panel(page, "plan")
  await page.waitForSelector(".plan-step")
  await fit(page)
  await page.locator(".plan-step").nth(1).hover()
})
await shot("sweep", {}, async (page) => {
  await demo(page)
  await panel(page, "sweep")
  await page.waitForTimeout(300)
  await page.getByRole("button", { name: "Add an axis" }).click()
  await page.locator(".axis textarea").first().fill("1..3")
  await page.getByRole("button", { name: "Add an axis" }).click()
  await page.locator(".axis textarea").nth(1).fill("1..7 step 2")
  await page.waitForTimeout(600)
  await page.getByRole("button", { name: "Run the sweep" }).click()
  await page.waitForFunction(() => document.querySelectorAll(".sweep-cell img").length >= 8, null, { timeout: 120_000 })
  await fit(page)
})
await shot("models", {}, async (page) => {
  await demo(page)
  await panel(page, "models")
  await fit(page)
})
await shot("templates", {}, async (page) => panel(page, "templates"))
await shot("queue", {}, async (page) => {
  await demo(page)
  await run(page)
  await page.locator(".run-count").fill("3")
  await panel(page, "queue")
  await page.locator("#queue-button").click()
  await page.waitForTimeout(500)
  await fit(page)
})
await shot("gallery", {}, async (page) => {
  await demo(page)
  await run(page)
  await run(page)
  await panel(page, "gallery")
  await page.waitForSelector(".gallery-cell")
})
await shot("error", {}, async (page) => {
  await demo(page)
  await page.evaluate(() => {
    const { editor } = window.ebb
    editor.graph.getNodeById(3).disconnectInput(0)
    editor.graph.getNodeById(4).widgets[0].value = "gone.safetensors"
    editor.record()
  })
  await page.locator("#queue-button").click()
  await page.waitForSelector(".toast.error")
})
await shot("chinese", { language: "zh" }, async (page) => {
  await demo(page)
  await run(page)
  await page.evaluate(() => (window.ebb.editor.graph.getNodeById(6).widgets[0].value = "a blue heart"))
  await panel(page, "inspector")
  await panel(page, "plan")
  await page.evaluate(() => window.ebb.editor.reveal("3"))
  await fit(page)
})
await shot("tablet-light", { theme: "light", width: 1180, height: 820, touch: true }, async (page) => {
  await demo(page)
  await run(page)
  await fit(page)
})

await browser.close()
await server?.stop()
