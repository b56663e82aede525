// Adding a node by its name: double-click, or a link let go in the void, which offers only what fits it.

import { type LGraphNode, LiteGraph } from "@comfyorg/litegraph"
import type { App } from "../app.ts"
import { t } from "../i18n/index.ts"
import { inputsOf } from "../schema/inputs.ts"
import { typesMatch } from "../schema/match.ts"
import type { NodeInfo } from "../schema/types.ts"
import { fill, h } from "../ui/dom.ts"
import { rank } from "../ui/fuzzy.ts"
import { openPopover } from "../widgets/popover.ts"
import { addNode, step } from "./commands.ts"

/** The loose end of a link. */
export interface Loose {
  node: LGraphNode
  slot: number
  /** `output`: it comes out of `node` and looks for an input. */
  from: "output" | "input"
  type: unknown
}

const SHOWN = 60
const EXTRA: NodeInfo[] = ["Note", "Reroute", "PrimitiveNode"].map((name) => ({ name, display_name: name, category: "utils" }))

export function openSearch(app: App, screen: { x: number; y: number }, at: [number, number], loose: Loose | null = null): void {
  const field = h("input", { type: "search", class: "search-field", placeholder: t("search.placeholder"), "aria-label": t("search.placeholder"), role: "combobox", "aria-expanded": "true", "aria-controls": "search-list", autocomplete: "off", spellcheck: false })
  const takes = typeFilter(app, "input", loose?.from === "output" ? String(loose.type) : "")
  const gives = typeFilter(app, "output", loose?.from === "input" ? String(loose.type) : "")
  const list = h("ul", { class: "search-list", role: "listbox", id: "search-list", "aria-label": t("search.title") })
  const title = loose ? t(loose.from === "output" ? "search.fitsOutput" : "search.fitsInput", { type: String(loose.type) }) : t("search.title")
  const filters = h("div", { class: "search-filters" }, h("label", {}, t("nodes.filterIn"), takes), h("label", {}, t("nodes.filterOut"), gives))
  const popover = openPopover(h("div", { class: "search" }, h("div", { class: "search-title" }, title), field, filters, list), { x: screen.x - 20, y: screen.y - 20 }, { label: t("search.title") })

  let shown: NodeInfo[] = []
  let active = 0
  const render = () => {
    shown = findNodes([...Object.values(app.editor.schemas), ...EXTRA], field.value, takes.value, gives.value)
    active = 0
    fill(list, shown.length ? shown.slice(0, SHOWN).map((info, i) => option(info, i)) : h("li", { class: "quiet" }, t("nodes.none")))
    mark()
  }
  const option = (info: NodeInfo, index: number) =>
    h("li", { role: "option", id: `found-${index}`, onclick: () => choose(info), "aria-selected": "false", title: info.description || info.name }, h("span", { class: "found-name" }, info.display_name || info.name), h("span", { class: "found-path" }, info.category ?? ""))
  const mark = () => {
    for (const [i, item] of [...list.children].entries()) {
      item.classList.toggle("active", i === active)
      item.setAttribute("aria-selected", String(i === active))
    }
    list.children[active]?.scrollIntoView({ block: "nearest" })
    field.setAttribute("aria-activedescendant", `found-${active}`)
  }
  const choose = (info: NodeInfo) => {
    popover.close()
    const node = loose ? addConnected(app, info.name, at, loose) : addNode(app, info.name, at)
    app.editor.canvas.canvas.focus()
    return node
  }
  popover.element.addEventListener("keydown", (event) => {
    const size = Math.min(shown.length, SHOWN)
    if (event.key === "ArrowDown") active = Math.min(size - 1, active + 1)
    else if (event.key === "ArrowUp") active = Math.max(0, active - 1)
    else if (event.key === "Enter" && event.target === field && shown[active]) return void (event.preventDefault(), choose(shown[active]!))
    else return
    if (event.target !== field) return
    event.preventDefault()
    mark()
  })
  field.addEventListener("input", render)
  takes.addEventListener("change", render)
  gives.addEventListener("change", render)
  render()
  field.focus()
}

export function findNodes(all: readonly NodeInfo[], query: string, takes: string, gives: string): NodeInfo[] {
  const fits = all.filter((info) => (!takes || inputsOf(info).some((d) => typesMatch(takes, d.type))) && (!gives || (info.output ?? []).some((o) => typesMatch(o, gives))))
  if (!query.trim()) return [...fits].sort((a, b) => weight(b, takes, gives) - weight(a, takes, gives))
  return rank(fits, query, (i) => [i.display_name || i.name, i.name, i.category ?? ""]).map((r) => r.item)
}

/** What fits by its own type stands before what takes anything, and old nodes come last. */
function weight(info: NodeInfo, takes: string, gives: string): number {
  let sum = info.deprecated ? -10 : 0
  if (info.experimental) sum -= 1
  if (takes && inputsOf(info).some((d) => d.type === takes && !d.optional && d.kind === "socket")) sum += 5
  if (gives && (info.output ?? []).includes(gives)) sum += 5
  // Loaders and samplers are what people reach for.
  if (/^(KSampler|CheckpointLoaderSimple|CLIPTextEncode|VAEDecode|VAEEncode|SaveImage|PreviewImage|LoadImage|EmptyLatentImage|LoraLoader)$/.test(info.name)) sum += 3
  return sum
}

function typeFilter(app: App, which: "input" | "output", chosen: string): HTMLSelectElement {
  const types = new Set<string>()
  for (const info of Object.values(app.editor.schemas)) {
    if (which === "input") for (const d of inputsOf(info)) types.add(d.type)
    else for (const o of info.output ?? []) if (typeof o === "string") types.add(o)
  }
  if (chosen) types.add(chosen)
  const select = h("select", {}, h("option", { value: "" }, t("nodes.any")), ...[...types].sort().map((type) => h("option", { value: type }, type)))
  select.value = chosen
  return select
}

/** Adds a node and ties the loose end to its first slot that fits. */
export function addConnected(app: App, type: string, at: [number, number], loose: Loose): LGraphNode | null {
  const node = LiteGraph.createNode(type)
  if (!node) return null
  step(app, () => {
    node.pos = loose.from === "output" ? at : [at[0] - node.size[0], at[1]]
    app.editor.canvas.graph!.add(node)
    if (loose.from === "output") {
      const slot = bestSlot(node.inputs, loose.type)
      if (slot >= 0) loose.node.connect(loose.slot, node, slot)
    } else {
      const slot = bestSlot(node.outputs, loose.type)
      if (slot >= 0) node.connect(slot, loose.node, loose.slot)
    }
    app.editor.canvas.selectItems([node])
  })
  return node
}

function bestSlot(slots: readonly { type: unknown; widget?: unknown }[], type: unknown): number {
  const exact = slots.findIndex((s) => s.type === type && !s.widget)
  if (exact >= 0) return exact
  const socket = slots.findIndex((s) => typesMatch(s.type, type) && !s.widget)
  return socket >= 0 ? socket : slots.findIndex((s) => typesMatch(s.type, type))
}

/** Answers the canvas's own events: double-click on nothing, a link dropped on nothing. */
export function searchOnCanvas(app: App): void {
  const { canvas } = app.editor
  canvas.canvas.addEventListener("litegraph:canvas", (event) => {
    const detail = (event as CustomEvent).detail as { subType: string; originalEvent?: { clientX: number; clientY: number; canvasX: number; canvasY: number } }
    const e = detail.originalEvent
    if (!e) return
    if (detail.subType === "empty-double-click") openSearch(app, { x: e.clientX, y: e.clientY }, [e.canvasX, e.canvasY])
  })
  canvas.linkConnector.events.addEventListener("dropped-on-canvas", (event) => {
    const e = (event as CustomEvent).detail as { clientX: number; clientY: number; canvasX: number; canvasY: number }
    const link = canvas.linkConnector.renderLinks[0] as any
    const loose = link && looseEnd(link)
    if (loose) openSearch(app, { x: e.clientX, y: e.clientY }, [e.canvasX, e.canvasY], loose)
  })
}

function looseEnd(link: { node: LGraphNode; fromSlot: { type: unknown }; toType: string; fromSlotIndex?: number }): Loose | null {
  const from = link.toType === "input" ? "output" : "input"
  const slots = (from === "output" ? link.node.outputs : link.node.inputs) as unknown[] | undefined
  const slot = slots ? slots.indexOf(link.fromSlot) : -1
  const index = slot >= 0 ? slot : (link.fromSlotIndex ?? -1)
  return index >= 0 && link.node.inputs ? { node: link.node, slot: index, from, type: Array.isArray(link.fromSlot.type) ? "COMBO" : link.fromSlot.type } : null
}
