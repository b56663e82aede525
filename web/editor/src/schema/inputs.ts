// Reads a node's declaration: which inputs it has, in which order, and which of them are widgets.

import type { InputOptions, InputSpec, NodeInfo } from "./types.ts"

export type InputKind = "int" | "float" | "string" | "boolean" | "combo" | "color" | "socket"

export interface InputDecl {
  name: string
  /** The slot's type: `INT`, `IMAGE`, `COMBO`, `*`, `"A,B"` … */
  type: string
  kind: InputKind
  options: InputOptions
  /** The values of an enumeration. */
  values: unknown[]
  optional: boolean
}

const KINDS: Record<string, InputKind> = { INT: "int", FLOAT: "float", STRING: "string", BOOLEAN: "boolean", COMBO: "combo", COLOR: "color" }

export function readSpec(name: string, spec: InputSpec, optional: boolean): InputDecl {
  const [rawType, rawOptions] = spec
  const options = rawOptions ?? {}
  const listed = Array.isArray(rawType)
  const type = listed ? "COMBO" : String(rawType)
  const kind = options.forceInput ? "socket" : (KINDS[type] ?? "socket")
  const values = listed ? rawType : Array.isArray(options.options) ? options.options : []
  return { name, type, kind, options, values, optional }
}

/** All inputs, required before optional, each section in `input_order` where it is given. */
export function inputsOf(info: NodeInfo): InputDecl[] {
  const section = (which: "required" | "optional") => {
    const specs = info.input?.[which] ?? {}
    const order = info.input_order?.[which] ?? []
    const names = [...order.filter((n) => n in specs), ...Object.keys(specs).filter((n) => !order.includes(n))]
    return names.map((n) => readSpec(n, specs[n]!, which === "optional"))
  }
  return [...section("required"), ...section("optional")]
}

export const isWidget = (decl: InputDecl) => decl.kind !== "socket"

/** Whether a second widget follows that says what becomes of the value after each run. */
export function hasControl(decl: InputDecl): boolean {
  if (decl.options.control_after_generate) return true
  return decl.kind === "int" && (decl.name === "seed" || decl.name === "noise_seed") && decl.options.control_after_generate === undefined
}

export function uploadKind(decl: InputDecl): "image" | "audio" | "video" | "file" | null {
  const o = decl.options
  return o.image_upload ? "image" : o.video_upload ? "video" : o.audio_upload ? "audio" : o.file_upload ? "file" : null
}

export interface ValueSlot {
  /** The input this value belongs to, or for a companion, the input it accompanies. */
  name: string
  role: "value" | "control" | "upload"
  decl: InputDecl
}

/** What the positions of `widgets_values` mean for this node. */
export function valueSlots(info: NodeInfo): ValueSlot[] {
  const slots: ValueSlot[] = []
  for (const decl of inputsOf(info)) {
    if (!isWidget(decl)) continue
    slots.push({ name: decl.name, role: "value", decl })
    if (hasControl(decl)) slots.push({ name: decl.name, role: "control", decl })
    if (uploadKind(decl)) slots.push({ name: decl.name, role: "upload", decl })
  }
  return slots
}

export function defaultValue(decl: InputDecl): unknown {
  if (decl.options.default !== undefined) return decl.options.default
  switch (decl.kind) {
    case "int":
    case "float":
      return Math.max(0, decl.options.min ?? 0)
    case "boolean":
      return false
    case "combo":
      return decl.values[0] ?? ""
    case "color":
      return "#000000"
    default:
      return ""
  }
}
