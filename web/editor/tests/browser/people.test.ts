// For everyone: names for screen readers and enough contrast (axe's rules for WCAG 2 A and AA), small windows, tablets, and
// Chinese.

import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import type { Page } from "playwright-core"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { drawn, finishedJobs, openWorkflow, placeOn, saved, type Stage, startStage, titles } from "./page.ts"

const LONG = 120_000
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

/** What axe finds wrong, in short. */
async function findings(page: Page): Promise<string[]> {
  await page.evaluate(axe)
  return page.evaluate(async () => {
    const { violations } = await (window as any).axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] })
    return violations.flatMap((v: any) => v.nodes.map((n: any) => `${v.id}: ${n.target.join(" ")} ${n.html.slice(0, 120)} ${n.any[0]?.message ?? ""}`))
  })
}

const panels = ["nodes", "models", "templates", "workflows", "queue", "gallery", "outline", "inspector", "plan", "memory", "sweep"]

async function withDemo(stage: Stage, options: Parameters<Stage["open"]>[0] = {}): Promise<Page> {
  const { page } = await stage.open(options)
  const workflow = demoWorkflow()
  workflow.nodes.find((x) => x.id === 3)!.widgets_values = [5, "fixed", 4, 4, "euler", "normal", 1]
  await openWorkflow(page, workflow)
  const before = await finishedJobs(page)
  await page.locator("#queue-button").click()
  await expect.poll(() => finishedJobs(page), { timeout: LONG }).toBe(before + 1)
  return page
}

async function showPanel(page: Page, id: string): Promise<void> {
  const button = page.locator(`[data-panel="${id}"].rail-button`)
  if ((await button.getAttribute("aria-pressed")) !== "true") await button.click()
  await page.waitForSelector(`.panel-body[data-panel="${id}"] *`)
  if (id === "inspector") await page.evaluate(() => window.ebb.editor.reveal("3"))
  if (id === "sweep") await page.getByRole("button", { name: /^(Add an axis|添加一个轴)$/ }).click()
  await page.waitForTimeout(250)
}

describe("people", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage()
  })
  afterAll(() => stage.close())

  it.each(["dark", "light"] as const)("every panel has names and contrast: %s", async (theme) => {
    const { page: fresh } = await stage.open({ theme })
    expect(await findings(fresh), "empty canvas").toEqual([])
    await fresh.keyboard.press("a")
    expect(await findings(fresh), "search").toEqual([])
    await fresh.keyboard.press("Escape")
    await fresh.keyboard.press("Shift+?")
    expect(await findings(fresh), "shortcuts").toEqual([])
    await fresh.context().close()
    const page = await withDemo(stage, { theme })
    for (const id of panels) {
      await showPanel(page, id)
      expect(await findings(page), id).toEqual([])
    }
    await page.getByRole("button", { name: "File" }).click()
    expect(await findings(page), "menu").toEqual([])
    await page.context().close()
  }, LONG)

  it("every control of the page is reached by Tab, and shows that it has the focus", async () => {
    const page = await withDemo(stage)
    for (const id of ["queue", "inspector", "memory"]) await showPanel(page, id)
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur())
    const reached = new Set<string>()
    const describe = () =>
      page.evaluate(() => {
        const e = document.activeElement as HTMLElement
        const style = getComputedStyle(e)
        const seen = style.outlineStyle !== "none" || style.backgroundColor !== "rgba(0, 0, 0, 0)"
        e.dataset.reached = "true"
        return { key: `${e.tagName}.${e.className}#${e.id} ${e.getAttribute("aria-label") ?? e.textContent?.slice(0, 30)}`, seen }
      })
    // From wherever the last press was, once around: past the end of the page to where it began.
    let ends = 0
    for (let i = 0; i < 250 && ends < 2; i++) {
      await page.keyboard.press("Tab")
      const { key, seen } = await describe()
      if (key.startsWith("BODY") && ++ends) continue
      expect(seen, key).toBe(true)
      reached.add(key)
    }
    const missed = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, input, select, textarea, [tabindex='0']")].filter((e) => !e.dataset.reached && e.offsetParent !== null && !(e as HTMLButtonElement).disabled).map((e) => e.outerHTML.slice(0, 120)),
    )
    expect(missed).toEqual([])
    expect(reached.size).toBeGreaterThan(30)
    await page.context().close()
  }, LONG)

  it.each([["1280×720", 1280, 720], ["a tablet upright", 820, 1180], ["a tablet lying", 1180, 820]])("nothing sticks out or is covered at %s", async (_, width, height) => {
    const page = await withDemo(stage, { width, height })
    for (const id of panels) {
      await showPanel(page, id)
      const out = await page.evaluate(() => {
        const found: string[] = []
        const { scrollWidth, scrollHeight } = document.documentElement
        if (scrollWidth > innerWidth || scrollHeight > innerHeight) found.push(`the page is ${scrollWidth}×${scrollHeight}`)
        for (const e of document.querySelectorAll<HTMLElement>(".bar *, .rail *, .panel-head *, .toast *")) {
          const r = e.getBoundingClientRect()
          if (r.width && (r.right > innerWidth + 1 || r.left < -1)) found.push(e.outerHTML.slice(0, 80))
        }
        // The queue button stays the one that is pressed where it is seen.
        const r = document.getElementById("queue-button")!.getBoundingClientRect()
        if (!document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2)?.closest("#queue-button")) found.push("the queue button is covered")
        return found
      })
      expect(out, id).toEqual([])
      // Panels that need width have it: nothing of theirs is cut off at the side.
      const cut = await page.evaluate((id) => {
        const body = document.querySelector<HTMLElement>(`.panel-body[data-panel="${id}"]`)!
        return body.scrollWidth - body.clientWidth
      }, id)
      expect(cut, id).toBeLessThanOrEqual(1)
    }
    await page.context().close()
  }, LONG)

  it("works by touch: adds, moves, zooms by two fingers, opens the menu by a resting one, and runs", async () => {
    const { page, complaints } = await stage.open({ width: 820, height: 1180, touch: true })
    const client = await page.context().newCDPSession(page)
    const touch = (type: "touchStart" | "touchMove" | "touchEnd", ...points: { x: number; y: number }[]) => client.send("Input.dispatchTouchEvent", { type, touchPoints: points.map((p, id) => ({ ...p, id })) })
    await page.getByRole("button", { name: /^Open the demo/ }).tap()
    await page.waitForFunction(() => window.ebb.editor.graph.nodes.length === 7)
    await drawn(page)
    // One finger on a title moves the node.
    await page.evaluate(() => window.ebb.editor.reveal("3"))
    await drawn(page)
    const from = await placeOn(page, 3, 70, -14)
    const before = (await saved(page)).nodes.find((n: { id: number }) => n.id === 3).pos
    await touch("touchStart", from)
    for (let i = 1; i <= 5; i++) await touch("touchMove", { x: from.x + i * 8, y: from.y + i * 4 })
    await touch("touchEnd")
    await expect.poll(async () => (await saved(page)).nodes.find((n: { id: number }) => n.id === 3).pos[0]).toBeGreaterThan(before[0] + 20)
    // Two fingers zoom.
    const scale = () => page.evaluate(() => window.ebb.editor.canvas.ds.scale as number)
    const was = await scale()
    await touch("touchStart", { x: 300, y: 900 }, { x: 500, y: 900 })
    for (let i = 1; i <= 5; i++) await touch("touchMove", { x: 300 + i * 12, y: 900 }, { x: 500 - i * 12, y: 900 })
    await touch("touchEnd")
    expect(await scale()).toBeLessThan(was * 0.8)
    // A finger that rests opens the menu of the node under it.
    await page.evaluate(() => window.ebb.editor.reveal("3"))
    await drawn(page)
    const rest = await placeOn(page, 3, 70, -14)
    await touch("touchStart", rest)
    await page.waitForSelector(".menu", { timeout: 3000 })
    await touch("touchEnd")
    await page.getByRole("menuitemcheckbox", { name: /^Mute/ }).tap()
    expect((await saved(page)).nodes.find((n: { id: number }) => n.id === 3).mode).toBe(2)
    await page.getByRole("button", { name: /^Undo/ }).tap()
    // Two taps on nothing open the search.
    await page.evaluate(() => {
      window.ebb.editor.canvas.ds.offset[1] = -5000
      window.ebb.editor.canvas.setDirty(true, true)
    })
    await drawn(page)
    await page.touchscreen.tap(450, 500)
    await page.touchscreen.tap(450, 500)
    await page.waitForSelector(".search", { timeout: 3000 })
    await page.keyboard.type("note")
    await page.keyboard.press("Enter")
    expect(await titles(page)).toContain("Note")
    const jobs = await finishedJobs(page)
    await page.locator("#queue-button").tap()
    await expect.poll(() => finishedJobs(page), { timeout: LONG }).toBe(jobs + 1)
    expect(complaints).toEqual([])
    await page.context().close()
  }, LONG)

  it("speaks Chinese to those who do: no English is left but names", async () => {
    const page = await withDemo(stage, { locale: "zh-CN" })
    expect(await page.evaluate(() => document.documentElement.lang)).toBe("zh-CN")
    /** Texts of the page, and what is only spoken or shown on hovering. */
    const texts = () =>
      page.evaluate(() => {
        const found = new Set<string>()
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
        while (walker.nextNode()) {
          const parent = walker.currentNode.parentElement!
          if (parent.closest("script, noscript, style, kbd, [hidden], .tree, .viewer-name, option, .plan-node, .model, textarea")) continue
          found.add(walker.currentNode.textContent!.trim())
        }
        for (const e of document.querySelectorAll<HTMLElement>("[aria-label], [placeholder], [title]")) for (const name of ["aria-label", "placeholder", "title"]) found.add(e.getAttribute(name) ?? "")
        return [...found].filter(Boolean)
      })
    // Names of nodes, inputs, types, files, units and keys are the same in every language.
    const names = /\b(KSampler|CheckpointLoaderSimple|Ebb|ebb|ComfyUI|JSON|API|Ctrl\+\S+|Enter|Esc|MiB|GiB|KiB|VAEDecode|VAE|CLIPTextEncode|CLIP|EmptyLatentImage|SaveImage|PNG|UI|step|node_?\w*)\b/g
    const allowed = /^(English|中文|[a-z_0-9]+|[A-Z_]+( → \d+)?|#?\d.*|.*\.(safetensors|png|json).*|.*(Load Checkpoint|Prompt|Negative prompt|Empty Latent Image|VAE Decode|Save Image|a smiling face with heart eyes|a red apple|blurry).*|[0-9a-f-]{36})$/
    for (const id of panels) {
      await showPanel(page, id)
      const english = (await texts()).filter((s) => !allowed.test(s) && /[a-z]{3,}/.test(s.replace(names, "").replace(/\([A-Z]\)|“[^”]*”/g, "")))
      expect(english, id).toEqual([])
    }
    await page.context().close()
  }, LONG)
})
