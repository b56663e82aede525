// `/v1`, as `docs/v1-editor-contract.md` has it.

import { type Api, ApiError } from "./client.ts"
import type { ApiPrompt, ImageRef } from "./types.ts"

export type OwnerKind = "weights" | "activations" | "values" | "cache" | "scratch" | "other"

export interface MemoryReport {
  now: number
  budget: number | null
  rss_anon: number
  peak: number | null
  owners: { id: string; kind: OwnerKind; name: string }[]
  samples: MemorySample[]
  markers: MemoryMarker[]
  residents: Resident[]
}
export interface MemorySample {
  t: number
  bytes: number[]
  rss_anon: number
}
export interface MemoryMarker {
  t: number
  kind: string
  label: string
  bytes: number | null
  node: string | null
  prompt_id: string | null
}
export interface Resident {
  id: string
  kind: OwnerKind
  name: string
  family: string | null
  dtype: string | null
  bytes: number
  pinned: boolean
  state: "loading" | "in_use" | "evictable"
  holders: { node: string; class_type: string; prompt_id: string }[]
  /** A waiting job has no plan yet: it says neither step nor node. */
  next_use: { step: number | null; node: string | null; prompt_id: string } | null
}

export interface PlanReport {
  steps: PlanStep[]
  cached: string[]
  values: PlanValue[]
  peak: { bytes: number; step: number; node: string } | null
  budget: number | null
  fits: boolean
  decisions: { kind: string; step: number; id: string | null; bytes: number | null; text: string }[]
}
export interface PlanStep {
  index: number
  node: string
  class_type: string
  cached: boolean
  loads: { id: string; name: string; bytes: number }[]
  activation_bytes: number | null
  live_bytes: number | null
  peak_bytes: number | null
}
export interface PlanValue {
  id: string
  node: string
  slot: number
  type: string
  bytes: number | null
  produced_at: number
  consumers: { node: string; input: string; step: number }[]
  dies_at: number | null
}

/** An input and what it takes; with `search`, a text within it and what takes that text's place. */
export interface Axis {
  label?: string
  node: string
  input: string
  search?: string
  values: unknown[]
}
export interface SweepRequest {
  prompt: ApiPrompt
  axes: Axis[]
  extra_data?: object
  client_id?: string
}
export interface SweepEstimate {
  cells: number
  images: number | null
  steps: number
  steps_shared: number
  loads: { id: string; name: string; bytes: number; count: number }[]
  peak?: number | null
  seconds: number | null
}
export interface SweepState {
  id: string
  axes?: Axis[]
  cells: SweepCell[]
}
export interface SweepCell {
  index: number[]
  prompt_id: string
  status?: string
  images?: ImageRef[]
}

export interface ModelFile {
  name: string
  bytes: number
  modified: number | null
  family: string | null
  parts: string[]
  dtype: string | null
  resident_bytes: number
  error: string | null
}
export interface ModelFolder {
  name: string
  files: ModelFile[]
}

export interface Template {
  name: string
  title: string
  description: string
  category: string
  thumbnail: string | null
  url: string
  models: string[]
  ready: boolean
}

/** What a server that does not read model files still knows: their names and sizes. */
async function plainModels(api: Api): Promise<{ folders: ModelFolder[] }> {
  const folders = await api.json<{ name: string }[]>("api/experiment/models")
  return {
    folders: await Promise.all(
      folders.map(async ({ name }) => {
        const files = await api.json<{ name: string; size?: number; modified?: number }[]>(`api/experiment/models/${encodeURIComponent(name)}`)
        return { name, files: files.map((f) => ({ name: f.name, bytes: f.size ?? 0, modified: f.modified ?? null, family: null, parts: [], dtype: null, resident_bytes: 0, error: null })) }
      }),
    ),
  }
}

export const v1 = {
  memory: (api: Api, since?: number) => api.json<MemoryReport>(`v1/memory${since === undefined ? "" : `?since=${since}`}`),
  evict: (api: Api, id: string) => api.post<{ freed: number }>("v1/memory/evict", { id }),
  pin: (api: Api, id: string, pinned: boolean) => api.post<{ pinned: boolean }>("v1/memory/pin", { id, pinned }),
  plan: (api: Api, prompt: ApiPrompt) => api.post<PlanReport>("v1/plan", { prompt }),
  estimate: (api: Api, request: SweepRequest) => api.post<SweepEstimate>("v1/sweep/estimate", request),
  sweep: (api: Api, request: SweepRequest) => api.post<SweepState>("v1/sweep", request),
  sweepState: (api: Api, id: string) => api.json<SweepState>(`v1/sweep/${encodeURIComponent(id)}`),
  move: (api: Api, id: string, place: "front" | "back" | { before: string }) => api.patch<unknown>(`v1/jobs/${encodeURIComponent(id)}`, { place }),
  models: (api: Api) => api.json<{ folders: ModelFolder[] }>("v1/models").catch((error: unknown) => (error instanceof ApiError && error.missing ? plainModels(api) : Promise.reject(error))),
  templates: (api: Api) => api.json<Template[]>("v1/templates"),
}
