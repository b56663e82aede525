// What is running, what waits, what came of it: the one place that listens to the socket and tells everyone else.

import type { Api } from "../api/client.ts"
import { ApiError } from "../api/client.ts"
import type { Socket } from "../api/socket.ts"
import type { HistoryEntry, NodeOutput, PromptFailure, QueueItem } from "../api/types.ts"
import { Emitter } from "../ui/emitter.ts"
import { Sent } from "./sent.ts"

/** Cells of a sweep run as one prompt, node 9 of cell 3 as `3/9`: on the canvas both are node 9. */
export const withoutCell = (id: string): string => id.replace(/^\d+\//, "")

export interface Progress {
  value: number
  max: number
}

/** A job this page has seen run. */
export interface Run {
  id: string
  /** Ids of all nodes of the prompt, for the share that is done; null until known. */
  total: number | null
  done: Set<string>
  cached: Set<string>
  current: string | null
  progress: Map<string, Progress>
  failed: { node: string | null; message: string } | null
}

export interface RunEvents {
  status: { remaining: number }
  started: Run
  progress: Run
  output: { run: Run; node: string; output: NodeOutput | null }
  preview: { node: string | null; image: Blob }
  finished: Run
  connection: { open: boolean }
  /** Queue or history are not what they were. */
  lists: undefined
}

export class Runs extends Emitter<RunEvents> {
  current: Run | null = null
  remaining = 0
  /** Sizes of the prompts this page sent. */
  private readonly sizes = new Map<string, number>()
  private readonly sent = new Sent()
  /** The job that ended last: frames of it that come late must not begin it again. */
  private over: string | null = null

  constructor(
    private readonly api: Api,
    readonly socket: Socket,
  ) {
    super()
    this.listen()
  }

  /** Sends a prompt. A refusal is thrown as `ApiError` with the server's findings. */
  async send(body: { prompt: object; extra_data?: object; front?: boolean; number?: number }): Promise<string> {
    // The server's own default is none, as ComfyUI's is; here there is a place to show them.
    const extra_data = { preview_method: "auto", ...body.extra_data }
    const answer = await this.api.prompt({ ...body, extra_data, client_id: this.socket.clientId })
    this.sizes.set(answer.prompt_id, Object.keys(body.prompt).length)
    this.sent.add(answer.prompt_id)
    this.emit("lists", undefined)
    if (Object.keys(answer.node_errors ?? {}).length) throw new ApiError(200, "", { error: undefined, node_errors: answer.node_errors } satisfies PromptFailure)
    return answer.prompt_id
  }

  private run(id: string): Run {
    if (this.current?.id === id) return this.current
    this.current = { id, total: this.sizes.get(id) ?? null, done: new Set(), cached: new Set(), current: null, progress: new Map(), failed: null }
    this.emit("started", this.current)
    if (this.current.total === null) void this.learnSize(this.current)
    return this.current
  }

  /** After a reload the server still knows how large the running prompt is. */
  private async learnSize(run: Run): Promise<void> {
    const queue = await this.api.queue().catch(() => null)
    const item = queue?.queue_running.find((i) => i[1] === run.id)
    if (!item) return
    run.total = Object.keys(item[2]).length
    this.emit("progress", run)
  }

  private listen(): void {
    const { socket } = this
    socket.on("open", () => {
      this.emit("connection", { open: true })
      this.emit("lists", undefined)
      void this.catchUp()
    })
    socket.on("closed", () => this.emit("connection", { open: false }))
    socket.on("status", ({ status }) => {
      this.remaining = status.exec_info.queue_remaining
      this.emit("status", { remaining: this.remaining })
      this.emit("lists", undefined)
    })
    socket.on("execution_start", ({ prompt_id }) => {
      // A server that was killed runs its jobs again, under the ids they had.
      this.over = null
      this.run(prompt_id)
    })
    socket.on("execution_cached", ({ prompt_id, nodes }) => {
      if (prompt_id === this.over) return
      const run = this.run(prompt_id)
      for (const id of nodes) run.cached.add(id)
      this.emit("progress", run)
    })
    socket.on("executing", ({ node, display_node, prompt_id }) => {
      if (node === null) return this.finish(prompt_id)
      if (prompt_id && prompt_id === this.over) return
      const run = prompt_id ? this.run(prompt_id) : this.current
      // Right after a reconnect the frame does not say which prompt it is about.
      if (!run) return
      run.current = withoutCell(display_node ?? node)
      this.emit("progress", run)
    })
    socket.on("progress_state", ({ prompt_id, nodes }) => {
      if (prompt_id === this.over) return
      const run = this.run(prompt_id)
      for (const [id, state] of Object.entries(nodes)) {
        run.progress.set(withoutCell(state.display_node_id ?? id), { value: state.value, max: state.max })
        if (state.state === "finished") run.done.add(id)
        if (state.state === "running") run.current = withoutCell(state.display_node_id ?? id)
      }
      this.emit("progress", run)
    })
    socket.on("progress", ({ prompt_id, node, value, max }) => {
      if (prompt_id && prompt_id === this.over) return
      const run = prompt_id ? this.run(prompt_id) : this.current
      if (!run || !node) return
      run.progress.set(withoutCell(node), { value, max })
      this.emit("progress", run)
    })
    socket.on("executed", ({ prompt_id, node, display_node, output }) => {
      if (prompt_id === this.over) return
      const run = this.run(prompt_id)
      run.done.add(node)
      this.emit("output", { run, node: withoutCell(display_node ?? node), output })
      this.emit("progress", run)
    })
    socket.on("preview", ({ node, image }) => this.emit("preview", { node: node ? withoutCell(node) : (this.current?.current ?? null), image }))
    socket.on("execution_error", (data) => {
      if (data.prompt_id === this.over) return
      const run = this.run(data.prompt_id)
      run.failed = { node: data.node_id ? withoutCell(data.node_id) : null, message: `${data.exception_message}`.trim() }
    })
    socket.on("execution_interrupted", ({ prompt_id }) => {
      if (prompt_id === this.over) return
      this.run(prompt_id).failed = { node: null, message: "" }
    })
  }

  private finish(id: string | undefined): void {
    const run = this.current
    if (!run || (id && run.id !== id)) return
    run.current = null
    this.current = null
    this.over = run.id
    this.sent.delete(run.id)
    this.emit("finished", run)
    this.emit("lists", undefined)
  }

  /** After a connection comes (back), what happened in between is in the history, not in the socket. */
  private async catchUp(): Promise<void> {
    const queue = await this.api.queue().catch(() => null)
    if (!queue) return
    const running = queue.queue_running[0]?.[1]
    const alive = new Set([...queue.queue_running, ...queue.queue_pending].map((item) => item[1]))
    if (this.current) this.sent.add(this.current.id)
    for (const id of this.sent.all) if (!alive.has(id)) await this.ended(id)
    if (running) {
      if (this.over === running) this.over = null
      this.run(running)
    }
  }

  /** A job that ended unseen. */
  private async ended(id: string): Promise<void> {
    const entry = (await this.api.historyOf(id).catch(() => ({}) as Record<string, HistoryEntry>))[id]
    this.sent.delete(id)
    if (!entry) return this.finish(id)
    const run = this.run(id)
    for (const [node, output] of Object.entries(entry.outputs)) this.emit("output", { run, node: withoutCell(node), output })
    const [kind, data] = entry.status.messages.at(-1) ?? []
    if (kind === "execution_error") run.failed = { node: data?.node_id ? withoutCell(String(data.node_id)) : null, message: String(data?.exception_message ?? "").trim() }
    if (kind === "execution_interrupted") run.failed = { node: null, message: "" }
    this.finish(id)
  }

  async lists(): Promise<{ running: QueueItem[]; pending: QueueItem[]; history: HistoryEntry[] }> {
    const [queue, history] = await Promise.all([this.api.queue(), this.api.history(100)])
    return {
      running: queue.queue_running,
      pending: [...queue.queue_pending].sort((a, b) => a[0] - b[0]),
      history: Object.values(history).reverse(),
    }
  }
}
