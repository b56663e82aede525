// Pretends to run prompts: the frames of the protocol in their order, with pictures made from the seed.
import { makePng } from "./png.mjs"

const isLink = (v) => Array.isArray(v) && v.length === 2 && typeof v[0] === "string"

export function order(prompt) {
  const done = new Set()
  const out = []
  const visit = (id) => {
    if (done.has(id) || !prompt[id]) return
    done.add(id)
    for (const v of Object.values(prompt[id].inputs)) if (isLink(v)) visit(v[0])
    out.push(id)
  }
  Object.keys(prompt).forEach(visit)
  return out
}

/** A value's content history: class, literals, and the same of what feeds it. */
export function signature(prompt, id) {
  const { class_type, inputs } = prompt[id]
  const parts = Object.entries(inputs).map(([k, v]) => `${k}=${isLink(v) && prompt[v[0]] ? signature(prompt, v[0]) + v[1] : JSON.stringify(v)}`)
  return `${class_type}(${parts.sort().join(",")})`
}

export class MockEngine {
  constructor({ send, broadcast, schemas, files, stepMs }) {
    Object.assign(this, { send, broadcast, schemas, files, stepMs })
    this.pending = []
    this.running = null
    this.history = new Map()
    this.cache = new Map()
    this.counter = 0
    this.pictures = 0
    this.stopped = false
    this.listeners = []
  }

  remaining = () => this.pending.length + (this.running ? 1 : 0)
  status() {
    this.broadcast("status", { status: { exec_info: { queue_remaining: this.remaining() } } })
  }

  submit(item) {
    this.pending.push(item)
    this.pending.sort((a, b) => a[0] - b[0])
    this.status()
    void this.pump()
  }

  async pump() {
    if (this.running) return
    const item = this.pending.shift()
    if (!item) return
    this.running = item
    this.status()
    await this.execute(item)
    this.running = null
    void this.pump()
  }

  async execute(item) {
    const [, id, prompt, extra] = item
    const client = extra.client_id
    const now = () => Date.now()
    const emit = (type, data) => this.send(client, type, { ...data, prompt_id: id })
    const messages = []
    const say = (type, data) => {
      const message = { ...data, prompt_id: id, timestamp: now() }
      messages.push([type, message])
      emit(type, { ...data, timestamp: message.timestamp })
    }
    const outputs = {}
    const states = {}
    const state = (node, s, value = 0, max = 1) => {
      states[node] = { value, max, state: s, node_id: node, prompt_id: id, display_node_id: node, parent_node_id: null, real_node_id: node }
      emit("progress_state", { nodes: states })
    }
    say("execution_start", {})
    const cached = order(prompt).filter((n) => this.cache.has(signature(prompt, n)))
    say("execution_cached", { nodes: cached })
    let ending = ["execution_success", {}]
    this.stopped = false
    for (const node of order(prompt)) {
      const { class_type, inputs } = prompt[node]
      const known = this.cache.get(signature(prompt, node))
      const outputNode = this.schemas[class_type]?.output_node
      if (known) {
        if (outputNode) {
          outputs[node] = known
          emit("executed", { node, display_node: node, output: known })
        }
        continue
      }
      state(node, "running")
      emit("executing", { node, display_node: node })
      for (const l of this.listeners) l(class_type, node, id)
      if (/KSampler/.test(class_type)) {
        const steps = Math.min(50, Number(inputs.steps) || 8)
        for (let i = 1; i <= steps && !this.stopped; i++) {
          await sleep(this.stepMs)
          this.preview(client, node, id, makePng(48, Number(inputs.seed) || 1, 1 - i / steps))
          state(node, "running", i, steps)
          emit("progress", { node, value: i, max: steps })
        }
      } else await sleep(this.stepMs / 2)
      if (this.stopped) {
        ending = ["execution_interrupted", { node_id: node, node_type: class_type, executed: [] }]
        break
      }
      if (inputs.text === "fail here") {
        ending = ["execution_error", { node_id: node, node_type: class_type, executed: [], exception_message: "the text asked for a failure\n", exception_type: "ValueError", traceback: [], current_inputs: {}, current_outputs: [] }]
        break
      }
      const output = outputNode ? this.makeOutput(class_type, prompt, node, extra) : null
      this.cache.set(signature(prompt, node), output ?? {})
      if (output) outputs[node] = output
      if (outputNode) emit("executed", { node, display_node: node, output })
      state(node, "finished", 1, 1)
    }
    this.history.set(id, { prompt: item, outputs, status: { status_str: ending[0] === "execution_success" ? "success" : "error", completed: ending[0] === "execution_success", messages: [...messages, [ending[0], { ...ending[1], prompt_id: id, timestamp: now() }]] }, meta: {} })
    emit(ending[0], { ...ending[1], timestamp: now() })
    const left = this.pending.length
    this.broadcast("status", { status: { exec_info: { queue_remaining: left } } })
    emit("executing", { node: null })
  }

  makeOutput(type, prompt, node, extra) {
    if (type === "PreviewAny") return { text: [JSON.stringify(prompt[node].inputs)] }
    const seeds = Object.values(prompt).map((n) => Number(n.inputs.seed ?? n.inputs.noise_seed)).filter(Number.isFinite)
    const name = `ebb_${String(++this.pictures).padStart(5, "0")}_.png`
    const kind = type === "SaveImage" ? "output" : "temp"
    this.files.set(`${kind}/${name}`, makePng(128, (seeds[0] ?? 7) + prompt[node].inputs.images?.[0]?.length, 0, { prompt: JSON.stringify(prompt), workflow: JSON.stringify(extra.extra_pnginfo?.workflow ?? null) }))
    return { images: [{ filename: name, subfolder: "", type: kind }] }
  }

  preview(client, node, prompt_id, png) {
    const meta = Buffer.from(JSON.stringify({ node_id: node, prompt_id, display_node_id: node, parent_node_id: null, real_node_id: node, image_type: "image/png" }))
    const head = Buffer.alloc(8)
    head.writeUInt32BE(4, 0)
    head.writeUInt32BE(meta.length, 4)
    this.send(client, null, Buffer.concat([head, meta, png]))
  }
}

const sleep = (ms) => new Promise((r) => setTimeout(r, ms))
