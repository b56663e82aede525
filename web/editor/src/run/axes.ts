// Sweep axes as people type them, and as values.

import type { Prompt } from "../export/index.ts"
import { inputsOf, type InputDecl, isWidget } from "../schema/inputs.ts"
import type { ObjectInfo } from "../schema/types.ts"

export interface Choosable {
  node: string
  title: string
  inputs: InputDecl[]
}

/** Nodes of a prompt and their inputs that hold a literal, which is what can be swept. */
export function choosable(prompt: Prompt, schemas: ObjectInfo): Choosable[] {
  return Object.entries(prompt).flatMap(([node, { class_type, inputs, _meta }]) => {
    const info = class_type ? schemas[class_type] : undefined
    const free = info ? inputsOf(info).filter((d) => isWidget(d) && d.name in inputs && !isLink(inputs[d.name])) : []
    return free.length ? [{ node, title: _meta.title ?? class_type!, inputs: free }] : []
  })
}

const isLink = (value: unknown) => Array.isArray(value)

/** The most values of one range; a slip of the finger must not make a million. */
export const RANGE_LIMIT = 500

/**
 * Reads values: one per line, for numbers also separated by commas, and ranges `4..12 step 2` (both ends in).
 * Throws the text that is no value.
 */
export function parseValues(text: string, decl: InputDecl): unknown[] {
  const numeric = decl.kind === "int" || decl.kind === "float"
  const parts = text.split(numeric ? /[\n,;]/ : /\n/).map((p) => p.trim()).filter(Boolean)
  return parts.flatMap((part) => (numeric ? numbers(part, decl) : [oneValue(part, decl)]))
}

function numbers(part: string, decl: InputDecl): number[] {
  const range = /^(-?[\d.]+)\s*(?:\.\.|…)\s*(-?[\d.]+)(?:\s*(?:step|\/|:)?\s*([\d.]+))?$/.exec(part.replace(/(\d)\.\.(?=[\d-])/, "$1 .. "))
  if (!range) {
    const value = Number(part)
    if (!Number.isFinite(value) || (decl.kind === "int" && !Number.isInteger(value))) throw part
    return [value]
  }
  const [from, to] = [Number(range[1]), Number(range[2])]
  const step = range[3] ? Number(range[3]) : 1
  const count = Math.floor(Math.abs(to - from) / step + 1e-9) + 1
  if (!(step > 0) || !Number.isFinite(from) || !Number.isFinite(to) || count > RANGE_LIMIT) throw part
  const values = Array.from({ length: count }, (_, i) => Number((from + Math.sign(to - from || 1) * i * step).toFixed(10)))
  if (decl.kind === "int" && !values.every(Number.isInteger)) throw part
  return values
}

function oneValue(part: string, decl: InputDecl): unknown {
  if (decl.kind === "boolean") {
    if (/^(true|yes|on|1)$/i.test(part)) return true
    if (/^(false|no|off|0)$/i.test(part)) return false
    throw part
  }
  if (decl.kind === "combo") {
    const found = decl.values.find((v) => String(v) === part)
    if (found === undefined) throw part
    return found
  }
  return part
}

/** All combinations, the last axis fastest. */
export function cellsOf(lengths: readonly number[]): number[][] {
  return lengths.reduce<number[][]>((cells, n) => cells.flatMap((c) => Array.from({ length: n }, (_, i) => [...c, i])), [[]])
}
