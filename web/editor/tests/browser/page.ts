// One Chromium and one server for a test file. `EBB_URL` names a running Ebb to drive; without it, the mock is started.

import { type Browser, chromium, type Page } from "playwright-core"
import { startMock } from "../../dev/mock-server.mjs"

const ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

export interface Stage {
  browser: Browser
  url: string
  mock: Awaited<ReturnType<typeof startMock>> | null
  /** A fresh page on an empty browser profile, with everything it complained about. */
  open(options?: { width?: number; height?: number; path?: string; touch?: boolean }): Promise<{ page: Page; complaints: string[] }>
  close(): Promise<void>
}

export async function startStage(stepMs = 20): Promise<Stage> {
  const mock = process.env.EBB_URL ? null : await startMock({ stepMs })
  const url = process.env.EBB_URL ?? mock!.url
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS })
  return {
    browser,
    url,
    mock,
    async open({ width = 1280, height = 720, path = "/", touch = false } = {}) {
      const context = await browser.newContext({ viewport: { width, height }, colorScheme: "dark", locale: "en-US", hasTouch: touch })
      const page = await context.newPage()
      const complaints: string[] = []
      page.on("pageerror", (e) => complaints.push(`${e.stack ?? e}`))
      // A workflow may name pictures that are not there; the loader then shows none, and the browser says 404.
      const missingPicture = (url: string) => /\/view\?/.test(url)
      page.on("console", (m) => m.type() === "error" && !missingPicture(m.location().url) && complaints.push(m.text()))
      await page.goto(url + path)
      await ready(page)
      return { page, complaints }
    },
    async close() {
      await browser.close()
      await mock?.close()
    },
  }
}

export async function ready(page: Page): Promise<void> {
  await page.waitForFunction(() => document.documentElement.dataset.ready === "true")
}

/** Opens a workflow as if it were a file dropped in, and waits until it is there. */
export async function openWorkflow(page: Page, workflow: unknown): Promise<void> {
  await page.evaluate((w) => window.ebb.editor.open(w, "test"), workflow as never)
}

export const saved = (page: Page): Promise<any> => page.evaluate(() => JSON.parse(JSON.stringify(window.ebb.editor.current())))

declare global {
  interface Window {
    ebb: any
  }
}
