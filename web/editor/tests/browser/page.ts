// One Chromium and one server for a test file: the real one with the demo model, as `cargo build` left it, or the mock for
// figures that a small model cannot give. `EBB_URL` names a running server to drive instead.

import { type Browser, chromium, type Page } from "playwright-core"
import { startMock } from "../../dev/mock-server.mjs"
import { chromiumOptions } from "../../dev/chromium.mjs"
import { type Server, startServer } from "../../dev/server.mjs"

export interface Stage {
  browser: Browser
  url: string
  mock: Awaited<ReturnType<typeof startMock>> | null
  server: Server | null
  /** A fresh page on an empty browser profile, with everything it complained about. */
  open(options?: { width?: number; height?: number; path?: string; touch?: boolean; theme?: "light" | "dark"; locale?: string }): Promise<{ page: Page; complaints: string[] }>
  close(): Promise<void>
}

export interface StageOptions {
  mock?: boolean
  /** The mock's time for a step of sampling. */
  stepMs?: number
  /** More of the real server's command line. */
  args?: string[]
}

export async function startStage({ mock: mocked = false, stepMs = 20, args = [] }: StageOptions = {}): Promise<Stage> {
  const mock = mocked ? await startMock({ stepMs }) : null
  const server = mocked || process.env.EBB_URL ? null : await startServer(args)
  const url = mock?.url ?? server?.url ?? process.env.EBB_URL!
  const browser = await chromium.launch(chromiumOptions)
  return {
    browser,
    url,
    mock,
    server,
    async open({ width = 1280, height = 720, path = "/", touch = false, theme = "dark", locale = "en-US" } = {}) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, locale, hasTouch: touch, isMobile: touch })
      const page = await context.newPage()
      const complaints: string[] = []
      page.on("pageerror", (e) => complaints.push(`${e.stack ?? e}`))
      // A workflow may name pictures that are not there; the loader then shows none, and the browser says 404.
      // So does the folder of saved workflows before there is one.
      const missing = (url: string) => /\/view\?|\/userdata\?dir=/.test(url)
      page.on("console", (m) => m.type() === "error" && !missing(m.location().url) && complaints.push(m.text()))
      await page.goto(url + path)
      await ready(page)
      return { page, complaints }
    },
    async close() {
      await browser.close()
      await mock?.close()
      await server?.stop()
    },
  }
}

export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => document.documentElement.dataset.ready === "true")
}

/** Waits for two frames: what can be pressed is what has been drawn, however long a busy machine takes for it. */
export async function drawn(page: Page): Promise<void> {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))
}

/** Opens a workflow as if it were a file dropped in, and waits until it is there. */
export async function openWorkflow(page: Page, workflow: unknown): Promise<void> {
  await page.evaluate((w) => window.ebb.editor.open(w, "test"), workflow as never)
  await drawn(page)
}

/** Drops a file on the canvas, as people do. */
export async function dropFile(page: Page, name: string, type: string, data: Buffer | string): Promise<void> {
  await page.evaluate(([name, type, data]) => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([new Uint8Array(data)], name, { type }))
    document.getElementById("graph")!.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }))
  }, [name, type, [...Buffer.from(data)]] as const)
}

export const saved = (page: Page): Promise<any> => page.evaluate(() => JSON.parse(JSON.stringify(window.ebb.editor.current())))

/** What the jobs of the server's history are, by how many. */
export const finishedJobs = (page: Page): Promise<number> => page.evaluate(async () => (await window.ebb.runs.lists()).history.length)

/** Where a slot of a node is in the window. */
export async function slotAt(page: Page, id: number, which: "input" | "output", slot: number | string): Promise<{ x: number; y: number }> {
  return page.evaluate(([id, which, slot]) => {
    const { canvas } = window.ebb.editor
    const node = canvas.graph.getNodeById(id)
    const slots = which === "input" ? node.inputs : node.outputs
    const index = typeof slot === "string" ? slots.findIndex((s: { name: string }) => s.name === slot) : slot
    const pos = which === "input" ? node.getInputPos(index) : node.getOutputPos(index)
    const rect = canvas.canvas.getBoundingClientRect()
    return { x: rect.x + (pos[0] + canvas.ds.offset[0]) * canvas.ds.scale, y: rect.y + (pos[1] + canvas.ds.offset[1]) * canvas.ds.scale }
  }, [id, which, slot] as const)
}

/** Where a place on a node, given from its upper left corner, is in the window. */
export async function placeOn(page: Page, id: number, dx: number, dy: number): Promise<{ x: number; y: number }> {
  return page.evaluate(([id, dx, dy]) => {
    const { canvas } = window.ebb.editor
    const { pos } = canvas.graph.getNodeById(id)
    const rect = canvas.canvas.getBoundingClientRect()
    return { x: rect.x + (pos[0] + dx + canvas.ds.offset[0]) * canvas.ds.scale, y: rect.y + (pos[1] + dy + canvas.ds.offset[1]) * canvas.ds.scale }
  }, [id, dx, dy] as const)
}

/** The middle of a widget of a node in the window. */
export async function widgetAt(page: Page, id: number, name: string): Promise<{ x: number; y: number }> {
  const [dx, dy] = await page.evaluate(([id, name]) => {
    const node = window.ebb.editor.canvas.graph.getNodeById(id)
    const widget = node.widgets.find((w: { name: string }) => w.name === name)
    return [node.size[0] / 2, widget.y + 10] as const
  }, [id, name] as const)
  return placeOn(page, id, dx, dy)
}

export async function drag(page: Page, from: { x: number; y: number }, to: { x: number; y: number }): Promise<void> {
  await drawn(page)
  await page.mouse.move(from.x, from.y)
  // The canvas takes note of what is under the pointer when it is drawn.
  await drawn(page)
  await page.mouse.down()
  await page.mouse.move((from.x + to.x) / 2, (from.y + to.y) / 2, { steps: 3 })
  await page.mouse.move(to.x, to.y, { steps: 3 })
  await page.mouse.up()
  await drawn(page)
}

export const titles = (page: Page): Promise<string[]> => page.evaluate(() => window.ebb.editor.canvas.graph.nodes.map((n: { title: string }) => n.title))

declare global {
  interface Window {
    ebb: any
  }
}
