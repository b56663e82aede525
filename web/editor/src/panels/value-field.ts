// A widget as a form field.

import type { LGraphNode } from "@comfyorg/litegraph"
import type { App } from "../app.ts"
import { nodeState } from "../graph/node-state.ts"
import { step } from "../graph/commands.ts"
import { t } from "../i18n/index.ts"
import { h } from "../ui/dom.ts"
import { evaluate } from "../widgets/arithmetic.ts"
import { ColorWidget } from "../widgets/color.ts"
import { MultilineWidget } from "../widgets/text.ts"

export function valueField(app: App, node: LGraphNode, widget: any): HTMLElement {
  const label = String(widget.label ?? widget.name)
  const input = node.inputs.find((i) => i.widget?.name === widget.name)
  const link = input?.link != null ? node.graph?.getLink(input.link) : undefined
  const source = link ? node.graph?.getNodeById(link.origin_id) : null
  const bad = nodeState(node).badInputs.has(widget.name)
  if (source) return h("div", { class: "field" }, h("span", {}, label), h("span", { class: "quiet small" }, t("widget.connected", { node: source.title })))

  if (widget.type === "button") return h("button", { type: "button", class: "wide-button", onclick: () => widget.callback?.(widget.value, app.editor.canvas, node) }, label)

  const set = (value: unknown) =>
    step(app, () => {
      if (widget.setValue) widget.setValue(value, { e: undefined, node, canvas: app.editor.canvas })
      else widget.value = value
    })
  return h("label", { class: bad ? "field bad" : "field", title: widget.tooltip }, h("span", {}, label), control(widget, set))
}

function control(widget: any, set: (value: unknown) => void): HTMLElement {
  if (widget.type === "toggle") {
    const box = h("input", { type: "checkbox", checked: Boolean(widget.value) })
    box.addEventListener("change", () => set(box.checked))
    return box
  }
  if (widget.type === "combo") {
    const values: unknown[] = Array.isArray(widget.options.values) ? widget.options.values : []
    const missing = !values.includes(widget.value)
    const select = h("select", { class: "wide" }, missing ? h("option", { value: "-1" }, `${String(widget.value)} (${t("widget.missingChoice")})`) : null, ...values.map((v, i) => h("option", { value: String(i) }, String(v))))
    select.value = String(values.indexOf(widget.value))
    select.addEventListener("change", () => set(values[Number(select.value)]))
    return select
  }
  if (widget instanceof MultilineWidget) {
    const area = h("textarea", { class: "wide", rows: 4, value: String(widget.value ?? "") })
    area.addEventListener("change", () => set(area.value))
    return area
  }
  const color = widget instanceof ColorWidget
  const number = widget.type === "number" || widget.type === "slider" || widget.type === "knob"
  const field = h("input", { type: color ? "color" : "text", inputMode: number ? "decimal" : "text", class: color ? "" : "wide", value: String(widget.value ?? "") })
  field.addEventListener("change", () => {
    if (!number) return set(field.value)
    const value = evaluate(field.value)
    if (value !== null) set(value)
    field.value = String(widget.value)
  })
  return field
}
