// The UI workflow as it is on disk. Only what the editor reads is named: everything else rides along untouched, see `merge.ts`.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type NodeId = number | string

/** What a node does when its turn comes. The numbers are the file format's. */
export const Mode = { always: 0, muted: 2, bypassed: 4 } as const

export interface DocInput {
  name: string
  type: Json
  link?: number | null
  widget?: { name: string }
  label?: string
  [key: string]: unknown
}

export interface DocOutput {
  name: string
  type: Json
  links?: number[] | null
  label?: string
  [key: string]: unknown
}

export interface DocNode {
  id: NodeId
  type: string
  pos: [number, number] | Record<string, number>
  size?: [number, number] | Record<string, number>
  mode?: number
  title?: string
  inputs?: DocInput[]
  outputs?: DocOutput[]
  properties?: Record<string, unknown>
  widgets_values?: unknown[] | Record<string, unknown>
  [key: string]: unknown
}

/** `[id, origin, origin slot, target, target slot, type]`, the form of version 0.4. */
export type LinkRow = [number, NodeId, number, NodeId, number, Json]

/** The form of version 1 and of subgraph definitions. */
export interface LinkObject {
  id: number
  origin_id: NodeId
  origin_slot: number
  target_id: NodeId
  target_slot: number
  type: Json
  [key: string]: unknown
}

export interface SubgraphSlot {
  id?: string
  name: string
  type: Json
  linkIds?: number[]
  label?: string
  [key: string]: unknown
}

export interface DocGraph {
  nodes: DocNode[]
  links?: (LinkRow | LinkObject)[]
  groups?: unknown[]
  [key: string]: unknown
}

export interface Definition extends DocGraph {
  id: string
  name?: string
  inputs?: SubgraphSlot[]
  outputs?: SubgraphSlot[]
}

export interface Workflow extends DocGraph {
  definitions?: { subgraphs?: Definition[]; [key: string]: unknown }
  extra?: Record<string, unknown>
}

/** Inside a definition, links start at and end in two nodes that are not in `nodes`. */
export const SUBGRAPH_INPUT = -10
export const SUBGRAPH_OUTPUT = -20

export function linkObject(link: LinkRow | LinkObject): LinkObject {
  if (!Array.isArray(link)) return link
  const [id, origin_id, origin_slot, target_id, target_slot, type] = link
  return { id, origin_id, origin_slot, target_id, target_slot, type }
}

export function isWorkflow(value: unknown): value is Workflow {
  return typeof value === "object" && value !== null && Array.isArray((value as Workflow).nodes)
}

/** An API prompt: every value has a `class_type`. */
export function isApiPrompt(value: unknown): value is Record<string, { class_type: string; inputs: Record<string, unknown> }> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false
  const entries = Object.values(value)
  return entries.length > 0 && entries.every((e) => typeof e === "object" && e !== null && typeof (e as { class_type?: unknown }).class_type === "string")
}
