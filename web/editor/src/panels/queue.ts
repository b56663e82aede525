// What runs, what waits, what is done.

import { ApiError } from "../api/client.ts"
import { v1 } from "../api/v1.ts"
import type { App } from "../app.ts"
import type { HistoryEntry, QueueItem } from "../api/types.ts"
import { t } from "../i18n/index.ts"
import type { Files } from "../io/files.ts"
import { iconButton } from "../ui/bar.ts"
import { debounce, fill, h } from "../ui/dom.ts"
import { seconds } from "../ui/format.ts"
import type { Panel } from "../ui/shell.ts"
import { toast } from "../ui/toast.ts"
import { openWorkflow, picturesOf, titleOf, took } from "./jobs.ts"
import { failure, quiet } from "./state.ts"

export function queuePanel(app: App, files: Files): Panel {
  return {
    id: "queue",
    title: t("panel.queue"),
    icon: "queue",
    place: "side",
    key: "q",
    build: (body) => {
      let visible = false
      const show = debounce(() => visible && void render(app, files, body), 80)
      app.runs.on("lists", show)
      return { shown: () => ((visible = true), show()), hidden: () => (visible = false) }
    },
  }
}

async function render(app: App, files: Files, body: HTMLElement): Promise<void> {
  try {
    const { running, pending, history } = await app.runs.lists()
    const act = (work: Promise<unknown>) => void work.catch((e: Error) => toast(e.message, { kind: "error" })).then(() => render(app, files, body))
    if (!running.length && !pending.length && !history.length) return fill(body, quiet(t("queue.empty")))
    fill(
      body,
      section(t("queue.running"), running.map((item) => jobRow(item, [iconButton("open", t("queue.open"), () => openWorkflow(item, app, files)), iconButton("stop", t("queue.cancel"), () => act(app.api.interrupt(item[1])))]))),
      section(
        t("queue.pending"),
        pending.map((item, i) => pendingRow(app, files, item, i, pending, act)),
        pending.length ? h("button", { type: "button", class: "link", onclick: () => act(app.api.clearQueue()) }, t("queue.clear")) : null,
      ),
      section(
        t("queue.history"),
        history.map((entry) => historyRow(app, files, entry, act)),
        history.length ? h("button", { type: "button", class: "link", onclick: () => act(app.api.clearHistory()) }, t("queue.clearHistory")) : null,
      ),
    )
  } catch (error) {
    fill(body, failure(error))
  }
}

function section(title: string, rows: HTMLElement[], action: HTMLElement | null = null): HTMLElement | null {
  return rows.length ? h("section", { class: "list-section" }, h("div", { class: "list-head" }, h("h3", {}, title, h("span", { class: "count" }, rows.length)), action), h("ul", { class: "rows" }, ...rows)) : null
}

function jobRow(item: QueueItem, buttons: HTMLElement[], before: HTMLElement[] = [], tags: (HTMLElement | null)[] = []): HTMLElement {
  return h("li", { class: "row" }, ...before, h("span", { class: "row-main", title: item[1] }, titleOf(item), ...tags), ...buttons)
}

type Act = (work: Promise<unknown>) => void

function pendingRow(app: App, files: Files, item: QueueItem, index: number, all: QueueItem[], act: Act): HTMLElement {
  const move = (place: Parameters<typeof v1.move>[2], number: number) => act(moved(app, item, place, number))
  const after = all[index + 2]
  const between = (a: QueueItem | undefined, b: QueueItem | undefined) => (a && b ? (a[0] + b[0]) / 2 : a ? a[0] + 1 : b ? b[0] - 1 : 0)
  const buttons = [
    index > 0 ? iconButton("first", t("queue.first"), () => move("front", between(undefined, all[0]))) : null,
    index > 0 ? iconButton("up", t("queue.up"), () => move({ before: all[index - 1]![1] }, between(all[index - 2], all[index - 1]))) : null,
    index < all.length - 1 ? iconButton("down", t("queue.down"), () => move(after ? { before: after[1] } : "back", between(all[index + 1], after))) : null,
    iconButton("open", t("queue.open"), () => openWorkflow(item, app, files)),
    iconButton("trash", t("queue.delete"), () => act(app.api.deleteQueued([item[1]]))),
  ].filter((b) => b !== null)
  return jobRow(item, buttons)
}

/** Moves a waiting job. ComfyUI's protocol has no way to: there it is sent again with the place wanted, then the old one is removed. */
async function moved(app: App, item: QueueItem, place: Parameters<typeof v1.move>[2], number: number): Promise<void> {
  try {
    return void (await v1.move(app.api, item[1], place))
  } catch (error) {
    if (!(error instanceof ApiError && error.missing)) throw error
  }
  await app.runs.send({ prompt: item[2], extra_data: item[3], number })
  await app.api.deleteQueued([item[1]])
}

function historyRow(app: App, files: Files, entry: HistoryEntry, act: Act): HTMLElement {
  const item = entry.prompt
  const picture = picturesOf(entry)[0]
  const time = took(entry)
  const last = entry.status.messages.at(-1)
  const state = entry.status.status_str === "success" ? null : h("span", { class: "tag bad" }, last?.[0] === "execution_interrupted" ? t("queue.stopped") : t("queue.failed"))
  const buttons = [
    iconButton("again", t("queue.again"), () => act(app.runs.send({ prompt: item[2], extra_data: item[3] }))),
    iconButton("open", t("queue.open"), () => openWorkflow(item, app, files)),
    iconButton("trash", t("queue.delete"), () => act(app.api.deleteHistory([item[1]]))),
  ]
  const thumb = picture ? h("img", { class: "thumb", src: app.api.view(picture.image, "webp;70"), alt: "", loading: "lazy" }) : h("span", { class: "thumb" })
  return jobRow(item, buttons, [thumb], [state, time === null ? null : h("span", { class: "small quiet" }, ` ${seconds(time)}`)])
}
