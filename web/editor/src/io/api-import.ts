// An API prompt has no places, so it is laid out: columns by how far a node is from the inputs.

import type { DocInput, DocNode, LinkRow, Workflow } from "../doc/types.ts"
import { emptyWorkflow } from "../doc/prepare.ts"
import { inputsOf, isWidget, valueSlots } from "../schema/inputs.ts"
import type { ObjectInfo } from "../schema/types.ts"

type ApiNode = { class_type: string; inputs: Record<string, unknown>; _meta?: { title?: string } }

const GAP = 50
/** Between columns: room for links to be told apart. */
const AISLE = 80

export function workflowFromApi(prompt: Record<string, ApiNode>, schemas: ObjectInfo): Workflow {
  const ids = Object.keys(prompt)
  const numeric = ids.every((id) => /^\d+$/.test(id))
  // Ids of nodes that came out of subgraphs hold colons; the file format wants numbers or plain texts.
  const idOf = new Map(ids.map((id, i) => [id, numeric ? Number(id) : i + 1]))
  const links: LinkRow[] = []
  const nodes = new Map<string, DocNode>()
  for (const id of ids) nodes.set(id, bareNode(idOf.get(id)!, prompt[id]!, schemas))

  for (const id of ids) {
    for (const [name, value] of Object.entries(prompt[id]!.inputs)) {
      if (!isLink(value) || !nodes.has(value[0])) continue
      const from = nodes.get(value[0])!
      const to = nodes.get(id)!
      const output = (from.outputs ??= [])
      while (output.length <= value[1]) output.push({ name: "*", type: "*", links: [] })
      const slot = slotFor(to, name)
      const linkId = links.length + 1
      to.inputs![slot]!.link = linkId
      ;(output[value[1]]!.links ??= []).push(linkId)
      links.push([linkId, from.id, value[1], to.id, slot, output[value[1]]!.type])
    }
  }
  layOut(ids, prompt, nodes, schemas)
  return { ...emptyWorkflow(), nodes: [...nodes.values()], links, last_node_id: Math.max(0, ...idOf.values()), last_link_id: links.length }
}

const isLink = (value: unknown): value is [string, number] => Array.isArray(value) && value.length === 2 && typeof value[0] === "string" && typeof value[1] === "number"

function bareNode(id: number, node: ApiNode, schemas: ObjectInfo): DocNode {
  const info = schemas[node.class_type]
  const inputs: DocInput[] = info ? inputsOf(info).map((d) => ({ name: d.name, type: d.type, link: null, ...(isWidget(d) ? { widget: { name: d.name } } : {}) })) : []
  const literal = (name: string) => {
    const value = node.inputs[name]
    return value && typeof value === "object" && "__value__" in value ? value.__value__ : value
  }
  const values = info
    ? valueSlots(info).map((s) => (s.role === "control" ? "fixed" : s.role === "upload" ? "image" : isLink(node.inputs[s.name]) ? s.decl.options.default ?? null : literal(s.name) ?? s.decl.options.default ?? null))
    : Object.values(node.inputs).filter((v) => !isLink(v))
  const title = node._meta?.title
  return {
    id,
    type: node.class_type,
    pos: [0, 0],
    flags: {},
    order: 0,
    mode: 0,
    inputs,
    outputs: info?.output?.map((type, i) => ({ name: info.output_name?.[i] ?? String(type), type: Array.isArray(type) ? "COMBO" : type, links: [] })) ?? [],
    properties: { "Node name for S&R": node.class_type },
    widgets_values: values,
    ...(rowsTall(info) ? { size: [320, rowsTall(info)] as [number, number] } : {}),
    ...(title && title !== info?.display_name ? { title } : {}),
  }
}

/** Room for texts of many lines; other nodes take the size they need. */
function rowsTall(info: ObjectInfo[string] | undefined): number {
  const rows = info ? valueSlots(info) : []
  const tall = rows.filter((r) => r.decl.options.multiline).length
  return tall ? 50 + rows.length * 26 + tall * 90 : 0
}

function slotFor(node: DocNode, name: string): number {
  const inputs = (node.inputs ??= [])
  const at = inputs.findIndex((i) => i.name === name)
  return at >= 0 ? at : inputs.push({ name, type: "*", link: null }) - 1
}

function layOut(ids: string[], prompt: Record<string, ApiNode>, nodes: Map<string, DocNode>, schemas: ObjectInfo): void {
  const depth = new Map<string, number>()
  const visiting = new Set<string>()
  const depthOf = (id: string): number => {
    const known = depth.get(id)
    if (known !== undefined || visiting.has(id)) return known ?? 0
    visiting.add(id)
    const sources = Object.values(prompt[id]!.inputs).filter(isLink).filter(([from]) => nodes.has(from))
    const own = sources.length ? 1 + Math.max(...sources.map(([from]) => depthOf(from))) : 0
    visiting.delete(id)
    depth.set(id, own)
    return own
  }
  const widths: number[] = []
  for (const id of ids) widths[depthOf(id)] = Math.max(widths[depthOf(id)] ?? 0, widthOf(nodes.get(id)!, schemas))
  const left = (column: number) => widths.slice(0, column).reduce((x, width) => x + width + AISLE, 60)
  const heights = new Map<number, number>()
  for (const id of ids) {
    const column = depthOf(id)
    const y = heights.get(column) ?? 0
    const node = nodes.get(id)!
    node.pos = [left(column), 80 + y]
    heights.set(column, y + heightOf(node, schemas) + GAP)
  }
}

/** Near enough to how wide the node will be drawn: its title decides, or its widgets. */
function widthOf(node: DocNode, schemas: ObjectInfo): number {
  const info = schemas[node.type]
  const title = (node.title ?? info?.display_name ?? node.type).length * 8.4 + 60
  return Math.max(node.size?.[0] ?? 0, info?.output_node ? 240 : 230, title)
}

/** Near enough to how tall the node will be drawn. */
function heightOf(node: DocNode, schemas: ObjectInfo): number {
  const info = schemas[node.type]
  const sockets = (node.inputs ?? []).filter((i) => !i.widget).length
  const rows = info ? valueSlots(info) : []
  const tall = rows.filter((r) => r.role === "value" && r.decl.options.multiline).length
  const picture = info?.output_node || rows.some((r) => r.role === "upload") ? 230 : 0
  return 40 + Math.max(sockets, node.outputs?.length ?? 0) * 20 + rows.length * 26 + tall * 110 + picture
}
