// The frame: bar above, rail at the left, panels beside and below, the canvas in the middle.

import { type StringKey, t } from "../i18n/index.ts"
import { fill, h } from "./dom.ts"
import { type IconName, icon } from "./icons.ts"

export type Place = "side" | "right" | "dock"

export interface Panel {
  id: string
  title: string
  icon: IconName
  place: Place
  /** A letter that opens and closes it. */
  key?: string
  /** Builds the panel when it is first shown. The answer is told when it is shown and hidden later. */
  build(body: HTMLElement): { shown?(): void; hidden?(): void } | void
}

interface Opened {
  panel: Panel
  body: HTMLElement
  hooks: { shown?(): void; hidden?(): void }
}

const STORED = "ebb.panels"
/** As in the styles: side panels lie over the canvas here. */
const NARROW = matchMedia("(max-width: 900px)")
const SIZES: Record<Place, { name: string; min: number; start: number }> = {
  side: { name: "--side-width", min: 220, start: 300 },
  right: { name: "--right-width", min: 220, start: 290 },
  dock: { name: "--dock-height", min: 140, start: 280 },
}

export class Shell {
  readonly bar = h("header", { class: "bar" })
  readonly canvas = h("canvas", { id: "graph", tabIndex: 0, role: "application" })
  readonly stage = h("main", { class: "stage" }, this.canvas)
  private readonly rail = h("nav", { class: "rail", "aria-label": t("menu.view") })
  private readonly places: Record<Place, HTMLElement> = {
    side: h("aside", { class: "panel side", hidden: true }),
    right: h("aside", { class: "panel right", hidden: true }),
    dock: h("section", { class: "panel dock", hidden: true }),
  }
  private readonly panels: Panel[] = []
  private readonly built = new Map<string, Opened>()
  private readonly open: Partial<Record<Place, string>> = {}
  private readonly buttons = new Map<string, HTMLButtonElement>()

  mount(root: HTMLElement): void {
    for (const place of ["side", "right", "dock"] as const) this.setSize(place, this.stored()[`${place}Size`] ?? SIZES[place].start)
    fill(root, this.bar, h("div", { class: "middle" }, this.rail, this.places.side, h("div", { class: "center" }, this.stage, this.places.dock), this.places.right))
  }

  add(...panels: Panel[]): void {
    for (const panel of panels) {
      this.panels.push(panel)
      const button = h("button", { class: "rail-button", type: "button", title: panel.key ? `${panel.title} (${panel.key.toUpperCase()})` : panel.title, "aria-label": panel.title, "aria-pressed": "false", onclick: () => this.toggle(panel.id), dataset: { panel: panel.id } })
      button.append(icon(panel.icon), h("span", { class: "rail-label", "aria-hidden": "true" }, t(`rail.${panel.id}` as StringKey)))
      this.buttons.set(panel.id, button)
      // What belongs below or at the right sits at the lower end of the rail.
      if (panel.place !== "side" && !this.rail.querySelector(".rail-space")) this.rail.append(h("span", { class: "rail-space" }))
      this.rail.append(button)
    }
  }

  /** Opens what was open last time. */
  restore(): void {
    const stored = this.stored()
    for (const place of ["side", "right", "dock"] as const) if (stored[place]) this.show(stored[place]!)
  }

  toggle(id: string): void {
    const panel = this.panels.find((p) => p.id === id)
    if (!panel) return
    if (this.open[panel.place] === id) this.hide(panel.place)
    else this.show(id)
  }

  isOpen(id: string): boolean {
    return Object.values(this.open).includes(id)
  }

  show(id: string): void {
    const panel = this.panels.find((p) => p.id === id)
    if (!panel || this.open[panel.place] === id) return
    // Where there is room for one only, the one that is asked for is it.
    for (const place of NARROW.matches ? (["side", "right", "dock"] as const) : [panel.place]) this.hide(place)
    const opened = this.built.get(id) ?? this.build(panel)
    const place = this.places[panel.place]
    place.setAttribute("aria-label", panel.title)
    fill(place, this.handle(panel.place), h("div", { class: "panel-head" }, h("h2", {}, panel.title), this.closeButton(panel.place)), opened.body)
    place.hidden = false
    this.open[panel.place] = id
    this.buttons.get(id)?.setAttribute("aria-pressed", "true")
    opened.hooks.shown?.()
    this.store()
  }

  hide(where: Place): void {
    const id = this.open[where]
    if (!id) return
    this.built.get(id)?.hooks.hidden?.()
    this.buttons.get(id)?.setAttribute("aria-pressed", "false")
    this.places[where].hidden = true
    delete this.open[where]
    this.store()
  }

  panelForKey(key: string): Panel | undefined {
    return this.panels.find((p) => p.key === key)
  }
  get keyed(): Panel[] {
    return this.panels.filter((p) => p.key)
  }

  private build(panel: Panel): Opened {
    const body = h("div", { class: "panel-body", dataset: { panel: panel.id } })
    const hooks = panel.build(body) ?? {}
    const opened = { panel, body, hooks }
    this.built.set(panel.id, opened)
    return opened
  }

  private closeButton(where: Place): HTMLElement {
    const button = h("button", { class: "icon-button", type: "button", "aria-label": t("panel.close"), onclick: () => this.hide(where) })
    button.append(icon("close"))
    return button
  }

  /** The edge that is dragged, or moved by arrow keys, to give a panel more room. */
  private handle(where: Place): HTMLElement {
    const vertical = where === "dock"
    const handle = h("div", { class: "handle", role: "separator", tabIndex: 0, "aria-label": t("panel.resize"), "aria-orientation": vertical ? "horizontal" : "vertical", "aria-valuemin": SIZES[where].min })
    handle.setAttribute("aria-valuenow", String(Math.round(this.sizeOf(where))))
    const size = () => (vertical ? this.places[where].offsetHeight : this.places[where].offsetWidth)
    const sign = where === "side" ? 1 : -1
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId)
      const from = vertical ? event.clientY : event.clientX
      const before = size()
      const move = (e: PointerEvent) => this.setSize(where, before + sign * ((vertical ? e.clientY : e.clientX) - from))
      handle.addEventListener("pointermove", move)
      handle.addEventListener("pointerup", () => {
        handle.removeEventListener("pointermove", move)
        this.store()
      }, { once: true })
    })
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -20, ArrowUp: -20, ArrowRight: 20, ArrowDown: 20 }[event.key]
      if (step === undefined) return
      event.preventDefault()
      this.setSize(where, size() + sign * step)
      this.store()
    })
    return handle
  }

  private setSize(where: Place, size: number): void {
    const { name, min } = SIZES[where]
    const max = where === "dock" ? innerHeight * 0.7 : innerWidth * 0.5
    const own = Math.max(min, Math.min(max, size))
    document.documentElement.style.setProperty(name, `${own}px`)
    this.places[where].querySelector(".handle")?.setAttribute("aria-valuenow", String(Math.round(own)))
  }

  private sizeOf(where: Place): number {
    return Number.parseFloat(document.documentElement.style.getPropertyValue(SIZES[where].name)) || SIZES[where].start
  }

  private stored(): Partial<Record<Place, string>> & Partial<Record<`${Place}Size`, number>> {
    try {
      return JSON.parse(localStorage.getItem(STORED) ?? "{}")
    } catch {
      return {}
    }
  }

  private store(): void {
    const size = (p: Place) => this.sizeOf(p)
    localStorage.setItem(STORED, JSON.stringify({ ...this.open, sideSize: size("side"), rightSize: size("right"), dockSize: size("dock") }))
  }
}
