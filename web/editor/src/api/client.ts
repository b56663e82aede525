// The HTTP half of the server, relative to where the page came from, so that a reverse proxy may put it anywhere.

import { parseJson, stringifyJson } from "../doc/json.ts"
import type { ObjectInfo } from "../schema/types.ts"
import type { HistoryEntry, ImageRef, PromptAnswer, PromptFailure, QueueState, UserFile } from "./types.ts"

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly body: unknown = null,
  ) {
    super(message)
  }
  /** The server does not have this route. */
  get missing(): boolean {
    return this.status === 404 || this.status === 405 || this.status === 501
  }
}

export class Api {
  readonly base: URL
  constructor(base: URL | string = document.baseURI) {
    this.base = new URL("./", base)
  }

  url(path: string): string {
    return new URL(path, this.base).href
  }

  async json<T>(path: string, init?: RequestInit): Promise<T> {
    const answer = await fetch(this.url(path), init)
    const text = await answer.text()
    let body: unknown = null
    try {
      body = text ? parseJson(text) : null
    } catch {
      body = text
    }
    if (!answer.ok) throw new ApiError(answer.status, messageOf(body) ?? `${answer.status} ${answer.statusText}`, body)
    return body as T
  }

  post<T>(path: string, body: unknown): Promise<T> {
    return this.json<T>(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: stringifyJson(body) })
  }

  patch<T>(path: string, body: unknown): Promise<T> {
    return this.json<T>(path, { method: "PATCH", headers: { "Content-Type": "application/json" }, body: stringifyJson(body) })
  }

  objectInfo = () => this.json<ObjectInfo>("api/object_info")
  queue = () => this.json<QueueState>("api/queue")
  history = (max: number) => this.json<Record<string, HistoryEntry>>(`api/history?max_items=${max}`)
  historyOf = (id: string) => this.json<Record<string, HistoryEntry>>(`api/history/${encodeURIComponent(id)}`)
  prompt = (body: object) => this.post<PromptAnswer>("api/prompt", body)
  interrupt = (prompt_id?: string) => this.post("api/interrupt", prompt_id ? { prompt_id } : {})
  deleteQueued = (ids: string[]) => this.post("api/queue", { delete: ids })
  clearQueue = () => this.post("api/queue", { clear: true })
  deleteHistory = (ids: string[]) => this.post("api/history", { delete: ids })
  clearHistory = () => this.post("api/history", { clear: true })
  free = () => this.post("api/free", { unload_models: true, free_memory: true })
  settings = () => this.json<Record<string, unknown>>("api/settings")
  saveSetting = (id: string, value: unknown) => this.post(`api/settings/${encodeURIComponent(id)}`, value)

  view(image: ImageRef, preview?: string): string {
    const query = new URLSearchParams({ filename: image.filename, subfolder: image.subfolder ?? "", type: image.type ?? "output" })
    if (preview) query.set("preview", preview)
    return this.url(`api/view?${query}`)
  }

  async upload(file: File): Promise<string> {
    const form = new FormData()
    form.set("image", file)
    const answer = await this.json<{ name: string; subfolder: string }>("api/upload/image", { method: "POST", body: form })
    return answer.subfolder ? `${answer.subfolder}/${answer.name}` : answer.name
  }

  async userFiles(dir: string): Promise<UserFile[]> {
    try {
      return await this.json<UserFile[]>(`api/userdata?dir=${encodeURIComponent(dir)}&recurse=true&split=false&full_info=true`)
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return []
      throw error
    }
  }
  userFile = (path: string) => this.json<unknown>(`api/userdata/${encodeURIComponent(path)}`)
  saveUserFile = (path: string, body: unknown) =>
    this.json(`api/userdata/${encodeURIComponent(path)}?overwrite=true`, { method: "POST", headers: { "Content-Type": "application/json" }, body: stringifyJson(body, 2) })
  deleteUserFile = (path: string) => this.json(`api/userdata/${encodeURIComponent(path)}`, { method: "DELETE" })
}

function messageOf(body: unknown): string | undefined {
  if (typeof body === "string" && body.length < 300) return body || undefined
  const error = (body as PromptFailure | null)?.error
  if (typeof error === "string") return error
  return error ? [error.message, error.details].filter(Boolean).join(": ") : undefined
}
