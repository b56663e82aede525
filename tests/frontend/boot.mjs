// Opens the front end, loads a workflow, queues it, waits for progress and the picture.
import assert from "node:assert/strict";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [address, executablePath, workflowPath, out] = process.argv.slice(2);
const workflow = JSON.parse(await readFile(workflowPath, "utf8"));
workflow["3"].inputs.steps = 6;

const context = await chromium.launchPersistentContext(await mkdtemp(join(tmpdir(), "ebb-chromium-")), {
  executablePath,
  headless: true,
  viewport: { width: 1280, height: 800 },
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
// The dialog of templates would cover what is looked at.
await fetch(`${address}/api/settings`, { method: "POST", body: JSON.stringify({ "Comfy.TutorialCompleted": true }) });

const page = context.pages()[0] ?? (await context.newPage());
const failures = [];
page.on("response", (response) => {
  const url = new URL(response.url());
  // What a user may not have yet: the front end asks, and takes 404 for an answer.
  const fine = /\/api\/userdata|\/docs\//;
  if (url.origin === address && response.status() >= 400 && !fine.test(url.pathname + url.search)) {
    failures.push(`${response.status()} ${response.request().method()} ${url.pathname}${url.search}`);
  }
});
// The front end's own: on a user's first start it sets settings before it has added them (its `NavigationMode`).
const firstStart = (error) => /onChange|addSetting/.test(error.stack) && error.message.includes("reading 'id'");
page.on("pageerror", (error) => firstStart(error) || failures.push(`page error: ${error.message}`));
const frames = [];
page.on("websocket", (socket) =>
  socket.on("framereceived", ({ payload }) => {
    if (typeof payload === "string") frames.push(JSON.parse(payload));
  }),
);

await page.goto(address);
await page.waitForFunction(() => window.app?.graph && window.app?.extensionManager, null, { timeout: 60_000 });
await page.waitForSelector("canvas");
await page.waitForTimeout(2_000);
await page.screenshot({ path: join(out, "1-booted.png") });

await page.evaluate((prompt) => window.app.loadApiJson(prompt, "text-to-image"), workflow);
await page.waitForTimeout(1_000);
const nodes = await page.evaluate(() => window.app.graph._nodes.length);
assert.equal(nodes, Object.keys(workflow).length, "every node of the workflow is on the canvas");
// Only what is in view is drawn, and only what is drawn shows its picture.
await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.Canvas.FitView"));
await page.waitForTimeout(1_000);
await page.screenshot({ path: join(out, "2-loaded.png") });

await page.evaluate(() => window.app.queuePrompt(0, 1));
await waitFor(() => frames.some((f) => f.type === "progress"), "progress");
await page.screenshot({ path: join(out, "3-running.png") });
await waitFor(() => frames.some((f) => f.type === "executed" && f.data.output?.images), "the picture");
await page.waitForFunction(() => window.app.graph._nodes.some((n) => n.imgs?.[0]?.naturalWidth === 128), null, {
  timeout: 20_000,
});
await page.waitForTimeout(500);
await page.screenshot({ path: join(out, "4-picture.png") });

const queued = await page.evaluate(async () => (await fetch("/api/queue")).json());
assert.deepEqual(queued, { queue_running: [], queue_pending: [] });
assert.deepEqual(failures, [], "requests of the front end that failed");
console.log(`the official front end works: ${nodes} nodes, ${frames.length} frames, screenshots in ${out}`);
await context.close();

async function waitFor(condition, what) {
  const deadline = Date.now() + 120_000;
  while (!condition()) {
    assert.ok(Date.now() < deadline, `${what} did not come; last frames: ${JSON.stringify(frames.slice(-3))}`);
    await page.waitForTimeout(50);
  }
}
