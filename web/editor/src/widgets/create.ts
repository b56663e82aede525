// From an input's declaration to its widget, and to the companions some of them bring along.

import type { LGraphNode } from "@comfyorg/litegraph"
import { getHost } from "../graph/host.ts"
import { t } from "../i18n/index.ts"
import { defaultValue, hasControl, type InputDecl, uploadKind } from "../schema/inputs.ts"
import { ColorWidget } from "./color.ts"
import { CONTROL_MODES } from "./control.ts"
import { MultilineWidget } from "./text.ts"

type Widget = any

/** The library wants to be told of every widget who listens; here it is the editor as a whole. */
export const IGNORE = () => undefined

export function createWidgets(node: LGraphNode, decl: InputDecl): Widget {
  const widget = createOne(node, decl)
  widget.tooltip = decl.options.tooltip
  widget.advanced = decl.options.advanced
  if (hasControl(decl)) addControl(node, widget)
  const kind = uploadKind(decl)
  if (kind) addUpload(node, widget, kind)
  return widget
}

function createOne(node: LGraphNode, decl: InputDecl): Widget {
  const value = defaultValue(decl) as any
  const { options } = decl
  switch (decl.kind) {
    case "int":
    case "float":
      return node.addWidget(options.display === "slider" && options.min !== undefined && options.max !== undefined ? "slider" : "number", decl.name, value, onChange(decl), numberOptions(decl) as any)
    case "boolean":
      return node.addWidget("toggle", decl.name, Boolean(value), IGNORE, { on: options.label_on ?? "true", off: options.label_off ?? "false" })
    case "combo":
      return node.addWidget("combo", decl.name, value, IGNORE, { values: decl.values as string[] })
    case "color":
      return node.addCustomWidget(new ColorWidget({ name: decl.name, type: "custom", value, options: {}, y: 0 } as any, node) as any)
    default:
      if (!options.multiline) return node.addWidget("text", decl.name, String(value), IGNORE, {})
      return node.addCustomWidget(new MultilineWidget({ name: decl.name, type: "custom", value: String(value), options: { placeholder: options.placeholder }, y: 0 } as any, node) as any)
  }
}

/** Numbers above 2^53 cannot be told apart by a browser, so widgets stop there. */
const safe = (n: number | undefined, fallback: number) => Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, n ?? fallback))

export function numberOptions(decl: InputDecl): { min: number; max: number; step2: number; precision: number; round: number } {
  const { options, kind } = decl
  const min = safe(options.min, kind === "int" ? Number.MIN_SAFE_INTEGER : -1e9)
  const max = safe(options.max, kind === "int" ? Number.MAX_SAFE_INTEGER : 1e9)
  const step2 = options.step ?? (kind === "int" ? 1 : 0.5)
  const round = typeof options.round === "number" ? options.round : 0
  // As many places as the finer of step and rounding needs.
  const places = (n: number) => (n > 0 && n < 1 ? Math.min(8, Math.max(0, Math.ceil(-Math.log10(n)))) : 0)
  return { min, max, step2, round, precision: kind === "int" ? 0 : Math.max(places(step2), places(round), 1) }
}

function onChange(decl: InputDecl) {
  const { step2, min, round } = numberOptions(decl)
  return function (this: Widget, value: number) {
    if (decl.kind === "int") {
      // Whole steps are counted from the minimum, as for widths in steps of 8.
      const step = Math.max(1, Math.round(step2))
      const shift = Number.isSafeInteger(min) && min > -1e6 ? min % step : 0
      this.value = Math.round((value - shift) / step) * step + shift
    } else if (round > 0) {
      this.value = Number((Math.round(value / round) * round).toFixed(8))
    }
  } as never
}

function addControl(node: LGraphNode, target: Widget): void {
  const widget: Widget = node.addWidget("combo", "control_after_generate", "randomize", IGNORE, { values: [...CONTROL_MODES] as string[] })
  widget.label = t("widget.control")
  target.linkedWidgets = [widget]
}

const ACCEPT = { image: "image/*", audio: "audio/*", video: "video/*", file: "" }

function addUpload(node: LGraphNode, target: Widget, kind: keyof typeof ACCEPT): void {
  const button: Widget = node.addWidget("button", "upload", kind as any, () => pickFile(ACCEPT[kind], (file) => uploadInto(node, target, file)))
  button.label = t("node.upload")
  // The file format has a place for this button's value.
  button.serialize = true
  node.onDropFile = (file: File) => void uploadInto(node, target, file)
}

export async function uploadInto(node: LGraphNode, target: Widget, file: File): Promise<void> {
  try {
    const name = await getHost().upload(file)
    if (!target.options.values.includes(name)) target.options.values = [...target.options.values, name]
    target.value = name
    target.callback?.(name, undefined, node)
    getHost().filesChanged()
    getHost().changed(node)
  } catch (error) {
    getHost().warn(t("node.uploadFailed", { message: error instanceof Error ? error.message : String(error) }))
  }
}

export function pickFile(accept: string, use: (file: File) => void): void {
  const input = document.createElement("input")
  input.type = "file"
  input.accept = accept
  input.hidden = true
  input.addEventListener("change", () => input.files?.[0] && use(input.files[0]))
  for (const end of ["change", "cancel"]) input.addEventListener(end, () => input.remove())
  // Part of the page while people look for their file: what nobody holds is collected, and the choice would be lost.
  document.body.append(input)
  input.click()
}

export const slotType = (decl: InputDecl) => (decl.type === "*" ? "*" : decl.type) as any
