// Saving without loss. The canvas library keeps what it knows and writes it its own way; a file may hold more, and may say
// the same thing differently. So a save is a three-way merge: `base` is what the library wrote right after loading `original`,
// `current` is what it writes now, and only what differs between these two is carried over into the original.
//
// What follows: loading and saving gives back the file, byte for byte as JSON, and unknown fields survive edits around them.

import { jsonEqual } from "./equal.ts"

type Obj = Record<string, unknown>

export function merge(original: unknown, base: unknown, current: unknown): unknown {
  if (jsonEqual(base, current)) return original === undefined ? current : original
  if (Array.isArray(original) && Array.isArray(base) && Array.isArray(current)) return mergeArrays(original, base, current)
  if (isObject(original) && isObject(base) && isObject(current)) return mergeObjects(original, base, current)
  return current
}

function mergeObjects(original: Obj, base: Obj, current: Obj): Obj {
  const out: Obj = {}
  // The original's keys keep their order; new ones follow.
  for (const key of Object.keys(original)) {
    if (key in current) out[key] = merge(original[key], base[key], current[key])
    else if (!(key in base)) out[key] = original[key]
  }
  for (const key of Object.keys(current)) {
    if (key in original || current[key] === undefined) continue
    // What the library adds of itself on loading is not a change; what has changed since is.
    if (!jsonEqual(base[key], current[key])) out[key] = current[key]
  }
  return out
}

function mergeArrays(original: unknown[], base: unknown[], current: unknown[]): unknown[] {
  const key = keyFor(original, base, current)
  return key ? mergeKeyed(original, base, current, key) : mergeByPosition(original, base, current)
}

function mergeKeyed(original: unknown[], base: unknown[], current: unknown[], key: Key): unknown[] {
  const index = (list: unknown[]) => new Map(list.map((e) => [key(e), e]))
  const [byOriginal, byBase] = [index(original), index(base)]
  const inCurrent = new Set(current.map(key))
  const merged = current.map((e) => merge(byOriginal.get(key(e)), byBase.get(key(e)), e))
  // Elements the library dropped on loading (it could not read them) are still the file's.
  const dropped = original.filter((e) => !byBase.has(key(e)) && !inCurrent.has(key(e)))
  const sameMembers = base.length === current.length && base.every((e, i) => key(e) === key(current[i]))
  if (!sameMembers) return [...merged, ...dropped]
  // Nothing came, went or moved: keep the file's own order too.
  const byKey = new Map(merged.map((e, i) => [key(current[i]), e]))
  const kept = original.map((e) => (byKey.has(key(e)) ? byKey.get(key(e)) : e))
  const added = current.filter((e) => !byOriginal.has(key(e))).map((e) => byKey.get(key(e)))
  return [...kept, ...added]
}

function mergeByPosition(original: unknown[], base: unknown[], current: unknown[]): unknown[] {
  const merged = current.map((e, i) => (i < base.length && i < original.length ? merge(original[i], base[i], e) : e))
  return current.length === base.length && original.length > merged.length ? [...merged, ...original.slice(merged.length)] : merged
}

type Key = (element: unknown) => string

/** How the elements of these three lists can be told apart, or null when only their position does. */
function keyFor(...lists: unknown[][]): Key | null {
  const candidates: Key[] = [
    (e) => (isObject(e) && (typeof e.id === "number" || typeof e.id === "string") ? `id ${e.id}` : ""),
    // Link rows: an array of six that starts with the link's id.
    (e) => (Array.isArray(e) && (e.length === 6 || e.length === 7) && typeof e[0] === "number" ? `row ${e[0]}` : ""),
    // Slots have names only.
    (e) => (isObject(e) && typeof e.name === "string" && "type" in e ? `name ${e.name}` : ""),
  ]
  for (const key of candidates) {
    const usable = lists.every((list) => {
      const keys = list.map(key)
      return keys.every((k) => k !== "") && new Set(keys).size === keys.length
    })
    if (usable && lists.some((l) => l.length > 0)) return key
  }
  return null
}

const isObject = (value: unknown): value is Obj => typeof value === "object" && value !== null && !Array.isArray(value)
