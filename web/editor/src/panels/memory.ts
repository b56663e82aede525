// What is in memory, why, and until when: a timeline by owner, and the list of what is held with the means to change it.

import type { App } from "../app.ts"
import { type Resident, v1 } from "../api/v1.ts"
import { t } from "../i18n/index.ts"
import { fill, h, throttle } from "../ui/dom.ts"
import { bytes } from "../ui/format.ts"
import { iconButton } from "../ui/bar.ts"
import type { Panel } from "../ui/shell.ts"
import { toast } from "../ui/toast.ts"
import { MemoryChart } from "./memory-chart.ts"
import { MemoryLog } from "./memory-log.ts"
import { failure } from "./state.ts"
import { untilWhen } from "./until.ts"

/** Where the server tells what happens, asking is for what it does not tell; elsewhere it is all there is. */
const EVERY_MS = 1000
const EVERY_MS_TOLD = 5000

export function memoryPanel(app: App): Panel {
  return { id: "memory", title: t("panel.memory"), icon: "memory", place: "dock", key: "m", build: (body) => build(app, body) }
}

function build(app: App, body: HTMLElement): { shown(): void; hidden(): void } {
  const log = new MemoryLog()
  const figures = h("div", { class: "figures" })
  // It stays the same button while the figures beside it change, so that it can be pressed and keeps the focus.
  const free = h("button", { type: "button", onclick: () => void app.api.free().then(ask) }, t("memory.free"))
  const whole = h("input", { type: "checkbox" })
  whole.addEventListener("change", () => {
    chart.whole = whole.checked
    chart.draw()
  })
  const head = h("div", { class: "figures" }, figures, free, h("label", { class: "check small" }, whole, t("memory.whole")))
  const plot = h("div", { class: "memory-plot" })
  const residents = h("div", { class: "residents" })
  const layout = h("div", { class: "memory" }, h("div", { class: "memory-left" }, head, plot), residents)
  const chart = new MemoryChart(plot, log, (node) => app.editor.reveal(node))
  let timer: ReturnType<typeof setTimeout> | undefined
  let visible = false

  const ask = async () => {
    clearTimeout(timer)
    if (!visible) return
    try {
      log.add(await v1.memory(app.api, log.latest))
      if (!layout.isConnected) fill(body, layout)
      const report = log.report!
      fill(
        figures,
        figure(t("memory.now"), bytes(log.total())),
        figure(t("memory.peak"), bytes(report.peak)),
        figure(t("memory.budget"), bytes(report.budget)),
        figure(t("memory.rss"), bytes(report.rss_anon)),
      )
      chart.draw()
      showResidents(app, residents, report.residents, () => void ask())
    } catch (error) {
      fill(body, failure(error))
    }
    if (visible) timer = setTimeout(() => void ask(), news?.readyState === EventSource.OPEN ? EVERY_MS_TOLD : EVERY_MS)
  }
  let news: EventSource | null = null
  const soon = throttle(() => void ask(), 200)
  const listen = () => {
    news = new EventSource(app.api.url("v1/events"))
    for (const kind of ["memory", "marker", "residents"]) news.addEventListener(kind, soon)
  }
  // What changes, changes at these moments.
  app.runs.on("finished", () => void ask())
  return {
    shown: () => ((visible = true), listen(), void ask()),
    hidden: () => ((visible = false), clearTimeout(timer), news?.close(), chart.leave()),
  }
}

const figure = (label: string, value: string) => h("div", { class: "figure" }, h("span", { class: "small quiet" }, label), h("strong", {}, value))

function showResidents(app: App, element: HTMLElement, list: readonly Resident[], again: () => void): void {
  // Buttons that are replaced under the pointer cannot be pressed, so only what changed is built anew.
  const key = JSON.stringify(list)
  if (element.dataset.shown === key) return
  element.dataset.shown = key
  const act = (work: Promise<unknown>) => void work.catch((e: Error) => toast(e.message, { kind: "error" })).then(again)
  fill(
    element,
    h("h3", {}, t("memory.residents"), h("span", { class: "count" }, list.length)),
    list.length ? h("ul", { class: "rows" }, ...list.map((r) => residentRow(app, r, act))) : h("p", { class: "quiet" }, t("memory.none")),
  )
}

function residentRow(app: App, r: Resident, act: (work: Promise<unknown>) => void): HTMLElement {
  const held = r.state === "in_use"
  const why = held ? t("memory.inUse", { nodes: r.holders.map((x) => `${x.class_type} #${x.node}`).join(", ") }) : r.state === "loading" ? t("memory.loading") : t("memory.evictable")
  const until = untilWhen(r)
  const target = r.holders[0]?.node ?? r.next_use?.node ?? null
  const pin = iconButton("pin", `${r.pinned ? t("memory.unpin") : t("memory.pin")}: ${r.name}`, () => act(v1.pin(app.api, r.id, !r.pinned)))
  pin.setAttribute("aria-pressed", String(r.pinned))
  const evict = iconButton("evict", `${t("memory.evict")}: ${r.name}`, () => act(v1.evict(app.api, r.id).then(({ freed }) => toast(t("memory.freed", { bytes: bytes(freed) })))))
  evict.disabled = held || r.pinned
  return h(
    "li",
    { class: "row resident", dataset: { resident: r.id } },
    h("span", { class: `dot ${r.kind}`, "aria-hidden": "true" }),
    h(
      "div",
      { class: "row-main", title: `${why}\n${until}` },
      h("div", {}, r.name, " ", h("strong", {}, bytes(r.bytes)), r.dtype ? h("span", { class: "tag" }, r.dtype) : null, r.pinned ? h("span", { class: "tag warn" }, t("memory.pinned")) : null),
      h("div", { class: "small quiet" }, `${why} · ${until}`),
    ),
    target ? iconButton("fit", t("run.showNode"), () => app.editor.reveal(target)) : null,
    r.kind === "weights" ? pin : null,
    evict,
  )
}
