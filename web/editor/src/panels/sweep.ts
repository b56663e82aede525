// Inputs as axes: how many pictures and loads it will cost, then the grid as it fills.

import type { App } from "../app.ts"
import { ApiError } from "../api/client.ts"
import { type Axis, type SweepCell, type SweepEstimate, type SweepRequest, v1 } from "../api/v1.ts"
import { t } from "../i18n/index.ts"
import type { Prompt } from "../export/index.ts"
import type { Files } from "../io/files.ts"
import { type Choosable, cellsOf, choosable, parseValues } from "../run/axes.ts"
import { preparePrompt } from "../run/send.ts"
import { iconButton } from "../ui/bar.ts"
import { debounce, fill, h } from "../ui/dom.ts"
import { bytes, seconds } from "../ui/format.ts"
import type { Panel } from "../ui/shell.ts"
import { toast } from "../ui/toast.ts"
import { SweepGrid } from "./sweep-grid.ts"

const MAX_AXES = 3
const MAX_CELLS = 2000

interface Draft {
  node: string
  input: string
  /** In a text: what the values take the place of. */
  search: string
  text: string
}

export function sweepPanel(app: App, files: Files): Panel {
  return { id: "sweep", title: t("panel.sweep"), icon: "sweep", place: "dock", key: "s", build: (body) => build(app, files, body) }
}

function build(app: App, files: Files, body: HTMLElement): { shown(): void; hidden(): void } {
  let visible = false
  const drafts: Draft[] = []
  let prompt: Prompt = {}
  let options: Choosable[] = []
  const form = h("div", { class: "sweep-form" })
  const cost = h("div", { class: "sweep-cost", role: "status" })
  const grid = new SweepGrid(app, files)
  const run = h("button", { type: "button", class: "primary", disabled: true, onclick: () => void start() }, t("sweep.run"))
  const add = h("button", { type: "button", onclick: () => addAxis() }, t("sweep.add"))
  const lead = h("p", { class: "quiet small" }, t("sweep.lead"))
  fill(body, h("div", { class: "sweep" }, h("div", { class: "sweep-left" }, lead, form, h("div", { class: "sweep-foot" }, h("div", { class: "sweep-buttons" }, add, run), cost)), grid.element))

  let restored = false
  const refresh = () => {
    if (!visible) return
    prompt = preparePrompt(app.editor.current(), app.editor).prompt
    options = choosable(prompt, app.editor.schemas)
    if (!restored) void grid.restore(options)
    restored = true
    if (!body.contains(document.activeElement) || document.activeElement?.tagName === "BUTTON") showForm()
    void estimate()
  }
  const addAxis = () => {
    // Seeds and steps are what people vary first.
    const wanted = options.flatMap((o) => o.inputs.map((i) => ({ node: o.node, input: i.name }))).filter((c) => !drafts.some((d) => d.node === c.node && d.input === c.input))
    const first = ["seed", "noise_seed", "cfg", "steps", "sampler_name"].map((name) => wanted.find((w) => w.input === name)).find(Boolean) ?? wanted[0]
    if (!first || drafts.length >= MAX_AXES) return
    drafts.push({ ...first, search: "", text: suggestion(first) })
    showForm()
    void estimate()
  }
  const declOf = (d: { node: string; input: string }) => options.find((o) => o.node === d.node)?.inputs.find((i) => i.name === d.input)
  const suggestion = (d: { node: string; input: string }) => {
    const decl = declOf(d)
    const now = prompt[d.node]?.inputs[d.input]
    if (decl?.kind === "combo") return decl.values.slice(0, 3).join("\n")
    if (decl?.kind === "boolean") return "true\nfalse"
    return typeof now === "object" ? "" : String(now ?? "")
  }

  function showForm(): void {
    fill(form, ...drafts.map((d, i) => axisForm(d, i)))
    lead.hidden = drafts.length > 0
    add.disabled = drafts.length >= MAX_AXES || options.length === 0
  }

  function axisForm(draft: Draft, index: number): HTMLElement {
    const node = h("select", { class: "wide" }, ...options.map((o) => h("option", { value: o.node }, `${o.title} #${o.node}`)))
    node.value = draft.node
    const inputs = options.find((o) => o.node === draft.node)?.inputs ?? []
    const input = h("select", { class: "wide" }, ...inputs.map((i) => h("option", { value: i.name }, i.name)))
    input.value = draft.input
    const search = h("input", { class: "wide", type: "text", value: draft.search, placeholder: t("sweep.searchHint") })
    const values = h("textarea", { class: "wide", rows: 2, value: draft.text, placeholder: t("sweep.valuesHint") })
    node.addEventListener("change", () => {
      draft.node = node.value
      draft.input = options.find((o) => o.node === node.value)!.inputs[0]!.name
      draft.search = ""
      draft.text = suggestion(draft)
      showForm()
      void estimate()
    })
    input.addEventListener("change", () => {
      draft.input = input.value
      draft.search = ""
      draft.text = suggestion(draft)
      showForm()
      void estimate()
    })
    values.addEventListener("input", () => {
      draft.text = values.value
      estimateSoon()
    })
    search.addEventListener("input", () => {
      draft.search = search.value
      estimateSoon()
    })
    const remove = iconButton("trash", t("sweep.remove"), () => {
      drafts.splice(index, 1)
      showForm()
      void estimate()
    })
    return h(
      "fieldset",
      { class: "axis" },
      h("legend", { class: "visually-hidden" }, t("sweep.axis", { number: index + 1 })),
      h("label", { class: "field" }, h("span", {}, t("sweep.node")), node),
      h("label", { class: "field" }, h("span", {}, t("sweep.input")), input),
      h("label", { class: "field axis-values" }, h("span", { title: t("sweep.valuesHint") }, t("sweep.values")), values),
      remove,
      declOf(draft)?.kind === "string" ? h("label", { class: "field axis-search" }, h("span", {}, t("sweep.search")), search) : null,
    )
  }

  /** The axes as values, or what is wrong with them. */
  function readAxes(): { axes: Axis[] } | { problem: string } {
    const axes: Axis[] = []
    for (const draft of drafts) {
      const decl = declOf(draft)
      if (!decl) continue
      try {
        const values = parseValues(draft.text, decl)
        if (draft.search && !String(prompt[draft.node]?.inputs[draft.input]).includes(draft.search)) return { problem: t("sweep.notFound", { search: draft.search, input: draft.input }) }
        if (values.length) axes.push({ node: draft.node, input: draft.input, ...(draft.search ? { search: draft.search } : {}), values })
      } catch (value) {
        return { problem: t("sweep.badValue", { value: String(value), input: draft.input }) }
      }
    }
    const cells = axes.reduce((n, a) => n * a.values.length, 1)
    if (!axes.length) return { problem: t("sweep.empty") }
    return cells > MAX_CELLS ? { problem: t("sweep.tooMany", { cells, limit: MAX_CELLS }) } : { axes }
  }

  const request = (axes: Axis[]): SweepRequest => ({ prompt: prompt as never, axes, extra_data: { preview_method: "auto", extra_pnginfo: { workflow: app.editor.current() } }, client_id: app.runs.socket.clientId })

  let turn = 0
  async function estimate(): Promise<void> {
    const mine = ++turn
    const read = readAxes()
    run.disabled = "problem" in read
    if ("problem" in read) return fill(cost, h("p", { class: drafts.length ? "problem small" : "quiet small" }, read.problem))
    try {
      const found = await v1.estimate(app.api, { prompt: prompt as never, axes: read.axes })
      if (mine === turn) fill(cost, ...costLines(found))
    } catch (error) {
      if (mine !== turn) return
      // A server without sweeps still runs the cells one by one; how many there are needs no server.
      const cells = cellsOf(read.axes.map((a) => a.values.length)).length
      fill(cost, h("strong", {}, t("sweep.estimate", { cells, images: cells })), error instanceof ApiError && error.missing ? null : h("p", { class: "problem small" }, (error as Error).message))
    }
  }
  const estimateSoon = debounce(() => void estimate(), 250)

  async function start(): Promise<void> {
    const read = readAxes()
    if ("problem" in read) return
    run.disabled = true
    try {
      const sent = request(read.axes)
      grid.start(read.axes, await submit(app, sent), app.editor.current(), options)
    } catch (error) {
      toast((error as Error).message, { kind: "error" })
    }
    run.disabled = false
  }

  app.editor.on("changed", debounce(refresh, 300))
  return { shown: () => ((visible = true), refresh()), hidden: () => (visible = false) }
}

function costLines(e: SweepEstimate): (HTMLElement | null)[] {
  const loads = e.loads.reduce((n, l) => n + l.count, 0)
  return [
    h("strong", {}, t("sweep.estimate", { cells: e.cells, images: e.images ?? "?" })),
    h("div", { class: "small" }, t("sweep.steps", { shared: e.steps_shared, steps: e.steps })),
    h("div", { class: "small" }, t("sweep.loads", { count: loads, bytes: bytes(e.loads.reduce((n, l) => n + l.bytes * l.count, 0)) }), e.peak ? ` · ${t("sweep.peak", { bytes: bytes(e.peak) })}` : null),
    e.seconds === null ? null : h("div", { class: "small quiet" }, t("sweep.seconds", { seconds: seconds(e.seconds) })),
  ]
}

export interface Started {
  id: string | null
  cells: SweepCell[]
}

/** One request where the server knows sweeps; else each cell is queued by itself. */
async function submit(app: App, request: SweepRequest): Promise<Started> {
  try {
    return await v1.sweep(app.api, request)
  } catch (error) {
    if (!(error instanceof ApiError && error.missing)) throw error
  }
  const cells: Started["cells"] = []
  for (const index of cellsOf(request.axes.map((a) => a.values.length))) {
    const prompt = structuredClone(request.prompt)
    index.forEach((v, a) => {
      const { node, input, search, values } = request.axes[a]!
      const inputs = prompt[node]!.inputs
      inputs[input] = search ? String(inputs[input]).replaceAll(search, String(values[v])) : values[v]
    })
    cells.push({ index, prompt_id: await app.runs.send({ prompt, extra_data: request.extra_data }) })
  }
  return { id: null, cells }
}
