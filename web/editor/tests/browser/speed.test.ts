// A graph of a thousand nodes pans at no less than 30 frames a second, seen whole and seen near, dragged by the mouse.

import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Page } from "playwright-core"
import { openWorkflow, type Stage, startStage } from "./page.ts"

const WIDE = 40

function thousand(): unknown {
  const nodes = []
  const links = []
  for (let i = 0; i < 1000; i++) {
    const previous = i % WIDE ? i : null
    nodes.push({ id: i + 1, type: "ImageScale", pos: [(i % WIDE) * 360, Math.floor(i / WIDE) * 230], size: [300, 170], flags: {}, order: i, mode: 0, inputs: [{ name: "image", type: "IMAGE", link: previous }], outputs: [{ name: "IMAGE", type: "IMAGE", links: i % WIDE < WIDE - 1 ? [i + 1] : [] }], properties: {}, widgets_values: ["nearest-exact", 512, 512, "disabled"] })
    if (previous) links.push([i, i, 0, i + 1, 0, "IMAGE"])
  }
  return { last_node_id: 1000, last_link_id: 1000, nodes, links, groups: [], config: {}, extra: {}, version: 0.4 }
}

/** The frames in which the canvas was drawn, while the pointer moves for three seconds with the button down. */
async function pan(page: Page): Promise<{ fps: number; worst: number }> {
  await page.evaluate(() => {
    const { canvas } = window.ebb.editor
    const drawn: number[] = []
    const prototype = Object.getPrototypeOf(canvas)
    canvas.drawFrontCanvas = () => {
      prototype.drawFrontCanvas.call(canvas)
      drawn.push(performance.now())
    }
    Object.assign(window, { drawn })
  })
  await page.mouse.move(660, 60)
  await page.mouse.down({ button: "middle" })
  const end = Date.now() + 3000
  for (let i = 0; Date.now() < end; i++) {
    await page.mouse.move(660 - (i % 200), 60 + (i % 150))
    await page.waitForTimeout(4)
  }
  await page.mouse.up({ button: "middle" })
  return page.evaluate(() => {
    const { drawn } = window as unknown as { drawn: number[] }
    const gaps = drawn.slice(1).map((t, i) => t - drawn[i]!).sort((a, b) => a - b)
    return { fps: 1000 / gaps[Math.floor(gaps.length / 2)]!, worst: gaps[Math.floor(gaps.length * 0.95)]! }
  })
}

describe("speed", () => {
  let stage: Stage
  beforeAll(async () => {
    stage = await startStage()
  })
  afterAll(() => stage.close())

  it.each([["whole graph", 0.085], ["half way", 0.3], ["zoomed to work", 0.8]])("pans a thousand nodes at 30 frames a second: %s", async (_, scale) => {
    const { page, complaints } = await stage.open()
    await openWorkflow(page, thousand())
    await page.evaluate((scale) => {
      const { canvas } = window.ebb.editor
      canvas.ds.scale = scale
      canvas.ds.offset = [100, 100]
      canvas.setDirty(true, true)
    }, scale)
    await page.waitForTimeout(300)
    const offset = () => page.evaluate(() => [...window.ebb.editor.canvas.ds.offset] as number[])
    const start = await offset()
    // Another program that has the processor takes frames from one window; what the page itself is too slow for is missing in all.
    let fps = 0
    for (let tries = 0; tries < 3 && fps < 30; tries++) {
      const seen = await pan(page)
      console.log(`${seen.fps.toFixed(1)} frames a second (median) at scale ${scale}; 19 of 20 frames within ${seen.worst.toFixed(1)} ms`)
      fps = Math.max(fps, seen.fps)
    }
    expect(await offset()).not.toEqual(start)
    expect(fps).toBeGreaterThanOrEqual(30)
    expect(complaints).toEqual([])
    await page.context().close()
  })
})
