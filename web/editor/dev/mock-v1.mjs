// `/v1` of the mock: figures that hang together, so that panels can be tested against them.
import { order, signature } from "./mock-engine.mjs"

const MIB = 2 ** 20
export const UNET = { id: "w:tiny/unet", kind: "weights", name: "tiny-emoji-sd1 · unet", bytes: 96 * MIB }
export const CLIP = { id: "w:tiny/clip", kind: "weights", name: "tiny-emoji-sd1 · clip", bytes: 24 * MIB }
export const VAE = { id: "w:tiny/vae", kind: "weights", name: "tiny-emoji-sd1 · vae", bytes: 40 * MIB }
export const BUDGET = 256 * MIB
const OWNERS = [UNET, CLIP, VAE, { id: "activations", kind: "activations", name: "activations" }, { id: "cache", kind: "cache", name: "cached results" }]

const NEEDS = { CLIPTextEncode: [CLIP], KSampler: [UNET], VAEDecode: [VAE], VAEEncode: [VAE] }
const ACTIVATIONS = { KSampler: 56 * MIB, VAEDecode: 72 * MIB, CLIPTextEncode: 4 * MIB }

export class MockV1 {
  constructor(engine) {
    this.engine = engine
    this.resident = new Map()
    this.pinned = new Set()
    this.samples = []
    this.markers = []
    this.peak = 0
    this.busy = null
    this.sweeps = new Map()
    this.watchers = new Set()
    engine.listeners.push((type, node, prompt_id) => this.step(type, node, prompt_id))
    this.timer = setInterval(() => this.sample(), 200)
    this.timer.unref()
  }

  step(type, node, prompt_id) {
    for (const c of NEEDS[type] ?? []) {
      if (this.resident.has(c.id)) continue
      this.resident.set(c.id, c)
      this.mark("load", c.name, c.bytes, node, prompt_id)
    }
    this.busy = { type, node, prompt_id }
    this.mark("step", type, null, node, prompt_id)
    this.sample()
  }

  mark(kind, label, bytes, node = null, prompt_id = null) {
    this.markers.push({ t: Date.now(), kind, label, bytes, node, prompt_id })
    this.tell("marker", this.markers.at(-1))
  }

  tell(event, data) {
    for (const response of this.watchers) response.write(`id: ${data.t}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
  }

  watch(response) {
    response.writeHead(200, { "Content-Type": "text/event-stream" })
    response.flushHeaders()
    this.watchers.add(response)
    response.on("close", () => this.watchers.delete(response))
  }

  sample() {
    if (!this.engine.running) this.busy = null
    const bytes = OWNERS.map((o) => (o.kind === "weights" ? (this.resident.has(o.id) ? o.bytes : 0) : o.kind === "activations" ? (ACTIVATIONS[this.busy?.type] ?? 0) : this.engine.cache.size * 200_000))
    const total = bytes.reduce((a, b) => a + b, 0)
    this.peak = Math.max(this.peak, total)
    this.samples.push({ t: Date.now(), bytes, rss_anon: total + 48 * MIB })
    if (this.samples.length > 3000) this.samples.splice(0, 1000)
  }

  memory(since) {
    const later = (x) => x.t > since
    const holders = (c) => (this.busy && (NEEDS[this.busy.type] ?? []).includes(c) ? [{ node: this.busy.node, class_type: this.busy.type, prompt_id: this.busy.prompt_id }] : [])
    return {
      now: Date.now(), budget: BUDGET, rss_anon: this.samples.at(-1)?.rss_anon ?? 0, peak: this.peak,
      owners: OWNERS.map(({ id, kind, name }) => ({ id, kind, name })),
      samples: this.samples.filter(later), markers: this.markers.filter(later),
      residents: [...this.resident.values()].map((c) => ({ id: c.id, kind: c.kind, name: c.name, family: "sd1", dtype: "f16", bytes: c.bytes, pinned: this.pinned.has(c.id), state: holders(c).length ? "in_use" : "evictable", holders: holders(c), next_use: this.engine.pending.length && c === UNET ? { step: 3, node: "3", prompt_id: this.engine.pending[0][1] } : null })),
    }
  }

  evict(id) {
    const c = this.resident.get(id)
    if (!c) return [404, { error: { code: "unknown_component", message: "nothing of this name is in memory", details: id } }]
    if (this.pinned.has(id)) return [409, { error: { code: "pinned", message: `${c.name} is pinned`, details: id } }]
    this.resident.delete(id)
    this.mark("evict", c.name, c.bytes)
    this.sample()
    return [200, { freed: c.bytes }]
  }

  pin(id, pinned) {
    if (pinned) this.pinned.add(id)
    else this.pinned.delete(id)
    return [200, { pinned }]
  }

  plan(prompt) {
    const ids = order(prompt)
    const isCached = (n) => this.engine.cache.has(signature(prompt, n))
    const cached = ids.filter(isCached)
    const loaded = new Set(this.resident.keys())
    const step = new Map()
    const steps = []
    let live = [...this.resident.values()].reduce((a, c) => a + c.bytes, 0)
    for (const node of ids) {
      const { class_type } = prompt[node]
      const loads = isCached(node) ? [] : (NEEDS[class_type] ?? []).filter((c) => !loaded.has(c.id))
      for (const c of loads) {
        loaded.add(c.id)
        live += c.bytes
      }
      const activation_bytes = isCached(node) ? 0 : (ACTIVATIONS[class_type] ?? MIB)
      step.set(node, steps.length)
      steps.push({ index: steps.length, node, class_type, cached: isCached(node), loads: loads.map(({ id, name, bytes }) => ({ id, name, bytes })), activation_bytes, live_bytes: live, peak_bytes: live + activation_bytes })
    }
    const values = ids.flatMap((node) => {
      const consumers = ids.flatMap((c) => Object.entries(prompt[c].inputs).filter(([, v]) => Array.isArray(v) && v[0] === node).map(([input, v]) => ({ node: c, input, step: step.get(c), slot: v[1] })))
      const slots = [...new Set(consumers.map((c) => c.slot))]
      return slots.map((slot) => {
        const own = consumers.filter((c) => c.slot === slot)
        return { id: `${node}.${slot}`, node, slot, type: this.engine.schemas[prompt[node].class_type]?.output?.[slot] ?? "*", bytes: 262144, produced_at: step.get(node), consumers: own.map(({ node: n, input, step: s }) => ({ node: n, input, step: s })), dies_at: Math.max(...own.map((c) => c.step)) }
      })
    })
    const top = steps.reduce((a, b) => (b.peak_bytes > a.peak_bytes ? b : a), steps[0])
    const fits = !top || top.peak_bytes <= BUDGET
    return { steps, cached, values, peak: top ? { bytes: top.peak_bytes, step: top.index, node: top.node } : null, budget: BUDGET, fits, decisions: top ? [{ kind: "evict", step: top.index, id: CLIP.id, bytes: CLIP.bytes, text: "clip is dropped before decoding: no later step needs it" }] : [] }
  }

  estimate({ prompt, axes }) {
    const cells = axes.reduce((n, a) => n * a.values.length, 1)
    const nodes = Object.keys(prompt).length
    const missing = [UNET, CLIP, VAE].filter((c) => !this.resident.has(c.id))
    const touched = new Set(axes.map((a) => a.node))
    const isLink = (v) => Array.isArray(v) && v.length === 2
    const depends = (id) => touched.has(id) || Object.values(prompt[id]?.inputs ?? {}).some((v) => isLink(v) && depends(v[0]))
    const varying = Object.keys(prompt).filter(depends).length
    return { cells, images: cells, steps: cells * nodes, steps_shared: nodes - varying + cells * varying, loads: missing.map(({ id, name, bytes }) => ({ id, name, bytes, count: 1 })), seconds: cells * 1.5 }
  }

  models() {
    return {
      folders: [
        { name: "checkpoints", files: [{ name: "tiny-emoji-sd1.safetensors", bytes: 160 * MIB, modified: 1763942400000, family: "sd1", parts: ["unet", "clip", "vae"], dtype: "f16", resident_bytes: [...this.resident.values()].reduce((a, c) => a + c.bytes, 0), error: null }, { name: "broken.safetensors", bytes: 1024, modified: 1763942400000, family: null, parts: [], dtype: null, resident_bytes: 0, error: "the header says 4096 bytes, the file has 1024" }] },
        { name: "loras", files: [{ name: "watercolour.safetensors", bytes: 12 * MIB, modified: 1763942400000, family: "sd1", parts: ["lora"], dtype: "f16", resident_bytes: 0, error: null }] },
        { name: "vae", files: [] },
      ],
    }
  }
}
