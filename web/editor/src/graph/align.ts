// Putting nodes in line.

export interface Box {
  pos: ArrayLike<number> & { 0: number; 1: number }
  size: ArrayLike<number>
}
interface Linked extends Box {
  id: number | string
  inputs?: { link?: number | null }[]
  graph?: { getLink(id: number): { origin_id: number | string } | undefined } | null
}

export type How = "left" | "right" | "top" | "bottom" | "columns" | "rows" | "spread" | "arrange"

export function arrange(nodes: readonly any[], how: How): void {
  const boxes = nodes as Linked[]
  if (boxes.length < 2) return
  const set = (box: Box, axis: 0 | 1, value: number) => {
    const at: [number, number] = [box.pos[0], box.pos[1]]
    at[axis] = Math.round(value)
    ;(box as any).pos = at
  }
  const min = (axis: 0 | 1) => Math.min(...boxes.map((b) => b.pos[axis]))
  const max = (axis: 0 | 1) => Math.max(...boxes.map((b) => b.pos[axis] + b.size[axis]!))
  const middle = (axis: 0 | 1) => (min(axis) + max(axis)) / 2
  switch (how) {
    case "left": return eachOf(boxes, (b, v) => set(b, 0, v), min(0))
    case "top": return eachOf(boxes, (b, v) => set(b, 1, v), min(1))
    case "right": return eachOf(boxes, (b, v) => set(b, 0, v - b.size[0]!), max(0))
    case "bottom": return eachOf(boxes, (b, v) => set(b, 1, v - b.size[1]!), max(1))
    case "columns": return eachOf(boxes, (b, v) => set(b, 0, v - b.size[0]! / 2), middle(0))
    case "rows": return eachOf(boxes, (b, v) => set(b, 1, v - b.size[1]! / 2), middle(1))
    case "spread": return spread(boxes, max(0) - min(0) >= max(1) - min(1) ? 0 : 1, set)
    case "arrange": return byFlow(boxes, set)
  }
}

function eachOf(boxes: readonly Linked[], apply: (box: Linked, value: number) => void, value: number): void {
  for (const box of boxes) apply(box, value)
}

/** Equal gaps between neighbours; the outermost stay. */
function spread(boxes: Linked[], axis: 0 | 1, set: (b: Box, axis: 0 | 1, v: number) => void): void {
  const sorted = [...boxes].sort((a, b) => a.pos[axis] - b.pos[axis])
  const first = sorted[0]!
  const last = sorted.at(-1)!
  const sizes = sorted.reduce((sum, b) => sum + b.size[axis]!, 0)
  const gap = (last.pos[axis] + last.size[axis]! - first.pos[axis] - sizes) / (sorted.length - 1)
  let at: number = first.pos[axis]
  for (const box of sorted) {
    set(box, axis, at)
    at += box.size[axis]! + gap
  }
}

const COLUMN_GAP = 80
const ROW_GAP = 50

/** Columns by distance from the sources, each node as far right as its inputs demand. */
function byFlow(boxes: Linked[], set: (b: Box, axis: 0 | 1, v: number) => void): void {
  const here = new Map(boxes.map((b) => [String(b.id), b]))
  const depths = new Map<Linked, number>()
  const visiting = new Set<Linked>()
  const depth = (box: Linked): number => {
    const known = depths.get(box)
    if (known !== undefined || visiting.has(box)) return known ?? 0
    visiting.add(box)
    const sources = (box.inputs ?? []).flatMap((i) => {
      const link = i.link != null ? box.graph?.getLink(i.link) : undefined
      const from = link && here.get(String(link.origin_id))
      return from ? [depth(from)] : []
    })
    visiting.delete(box)
    const own = sources.length ? Math.max(...sources) + 1 : 0
    depths.set(box, own)
    return own
  }
  const columns: Linked[][] = []
  const [left, top] = [Math.min(...boxes.map((b) => b.pos[0])), Math.min(...boxes.map((b) => b.pos[1]))]
  for (const box of boxes) (columns[depth(box)] ??= []).push(box)
  let x = left
  for (const column of columns) {
    if (!column) continue
    let y = top
    for (const box of column.sort((a, b) => a.pos[1] - b.pos[1])) {
      set(box, 0, x)
      set(box, 1, y)
      y += box.size[1]! + ROW_GAP
    }
    x += Math.max(...column.map((b) => b.size[0]!)) + COLUMN_GAP
  }
}
