// A server to build the editor against: ComfyUI's protocol and `/v1`, with nothing behind them. `npm run mock`, or from a test.
import { randomUUID } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { extname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { WebSocketServer } from "ws"
import { MockEngine } from "./mock-engine.mjs"
import { MockV1 } from "./mock-v1.mjs"
import { makePng } from "./png.mjs"
import { demoWorkflow } from "./demo-workflow.mjs"

const here = fileURLToPath(new URL(".", import.meta.url))
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png" }
const CSP = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; object-src 'none'; base-uri 'none'"

export function loadSchemas() {
  const schemas = JSON.parse(readFileSync(join(here, "../../../tests/conformance/object_info.core.json"), "utf8"))
  // File lists are empty in the fixture.
  schemas.CheckpointLoaderSimple.input.required.ckpt_name[0] = ["tiny-emoji-sd1.safetensors"]
  schemas.LoadImage.input.required.image[0] = ["example.png"]
  schemas.LoraLoader.input.required.lora_name[0] = ["watercolour.safetensors"]
  return schemas
}

export async function startMock({ port = 0, stepMs = 60, dist = join(here, "../dist") } = {}) {
  const schemas = loadSchemas()
  const sockets = new Map()
  const files = new Map([["input/example.png", makePng(64, 3, 0)]])
  const userdata = new Map()
  const settings = {}
  const send = (client, type, data) => {
    const socket = sockets.get(client)
    if (socket?.readyState === 1) socket.send(type === null ? data : JSON.stringify({ type, data }))
  }
  const broadcast = (type, data) => [...sockets.keys()].forEach((c) => send(c, type, data))
  const engine = new MockEngine({ send, broadcast, schemas, files, stepMs })
  const v1 = new MockV1(engine)
  let count = 0

  function validate(prompt) {
    const errors = {}
    for (const [id, node] of Object.entries(prompt)) {
      const info = schemas[node.class_type]
      if (!info) return [400, { error: { type: "invalid_prompt", message: "Cannot execute because a node is missing the class_type property.", details: `Node ID '#${id}'`, extra_info: {} }, node_errors: {} }]
      const own = []
      for (const [name, spec] of Object.entries(info.input?.required ?? {})) {
        const value = node.inputs[name]
        const base = { details: name, extra_info: { input_name: name, input_config: spec, received_value: value } }
        if (value === undefined) own.push({ ...base, type: "required_input_missing", message: "Required input is missing" })
        else if (Array.isArray(spec[0]) && !Array.isArray(value) && !spec[0].includes(value)) own.push({ ...base, type: "value_not_in_list", message: "Value not in list" })
        else if (typeof value === "number" && spec[1]?.max !== undefined && value > spec[1].max) own.push({ ...base, type: "value_bigger_than_max", message: "Value bigger than max" })
      }
      if (own.length) errors[id] = { errors: own, dependent_outputs: [], class_type: node.class_type }
    }
    if (!Object.values(prompt).some((n) => schemas[n.class_type].output_node)) return [400, { error: { type: "prompt_no_outputs", message: "Prompt has no outputs", details: "", extra_info: {} }, node_errors: {} }]
    if (Object.keys(errors).length) return [400, { error: { type: "prompt_outputs_failed_validation", message: "Prompt outputs failed validation", details: "", extra_info: {} }, node_errors: errors }]
    return null
  }

  const submit = (body) => {
    const id = body.prompt_id ?? randomUUID()
    const number = body.number ?? (body.front ? -count++ : count++)
    engine.submit([number, id, body.prompt, { ...body.extra_data, client_id: body.client_id }, Object.keys(body.prompt).filter((n) => schemas[body.prompt[n].class_type].output_node)])
    return { prompt_id: id, number, node_errors: {} }
  }

  const routes = {
    "GET /object_info": () => [200, schemas],
    "GET /queue": () => [200, { queue_running: engine.running ? [engine.running] : [], queue_pending: engine.pending }],
    "POST /queue": (body) => {
      engine.pending = body.clear ? [] : engine.pending.filter((i) => !(body.delete ?? []).includes(i[1]))
      engine.status()
      return [200, null]
    },
    "GET /history": (_, url) => [200, Object.fromEntries([...engine.history].slice(-Number(url.searchParams.get("max_items") ?? 1e4)))],
    "POST /history": (body) => {
      if (body.clear) engine.history.clear()
      for (const id of body.delete ?? []) engine.history.delete(id)
      return [200, null]
    },
    "POST /prompt": (body) => validate(body.prompt) ?? [200, submit(body)],
    "POST /interrupt": () => ((engine.stopped = true), [200, null]),
    "POST /free": () => [200, null],
    "GET /settings": () => [200, settings],
    "GET /v1/memory": (_, url) => [200, v1.memory(Number(url.searchParams.get("since") ?? 0))],
    "POST /v1/memory/evict": (body) => v1.evict(body.id),
    "POST /v1/memory/pin": (body) => v1.pin(body.id, body.pinned),
    "POST /v1/plan": (body) => validate(body.prompt) ?? [200, v1.plan(body.prompt)],
    "POST /v1/sweep/estimate": (body) => [200, v1.estimate(body)],
    "POST /v1/sweep": (body) => [200, sweep(body)],
    "GET /v1/models": () => [200, v1.models()],
    "GET /v1/templates": () => [200, [{ name: "demo", title: "Text to emoji", description: "The tiny demo model: a prompt, sixteen steps, a picture.", category: "demo", thumbnail: "/v1/templates/demo.png", url: "/v1/templates/demo", models: ["checkpoints/tiny-emoji-sd1.safetensors"], ready: true }, { name: "sdxl", title: "SDXL base", description: "Text to image at 1024 × 1024.", category: "image", thumbnail: null, url: "/v1/templates/demo", models: ["checkpoints/sd_xl_base_1.0.safetensors"], ready: false }]],
    "GET /v1/templates/demo": () => [200, demoWorkflow()],
  }

  function sweep({ prompt, axes, extra_data, client_id }) {
    const id = randomUUID()
    const cells = []
    const walk = (index) => {
      if (index.length < axes.length) return axes[index.length].values.forEach((_, i) => walk([...index, i]))
      const copy = structuredClone(prompt)
      index.forEach((v, a) => {
        const { node, input, search, values } = axes[a]
        copy[node].inputs[input] = search ? copy[node].inputs[input].replaceAll(search, values[v]) : values[v]
      })
      cells.push({ index, prompt_id: submit({ prompt: copy, extra_data, client_id }).prompt_id })
    }
    walk([])
    v1.sweeps.set(id, { axes, cells })
    return { id, cells }
  }

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost")
    const path = url.pathname.replace(/^\/api\//, "/")
    const chunks = []
    for await (const c of request) chunks.push(c)
    const raw = Buffer.concat(chunks)
    const answer = (status, body, type = "application/json") => {
      response.writeHead(status, { "Content-Type": type, "Content-Security-Policy": CSP })
      response.end(Buffer.isBuffer(body) ? body : body === null ? "" : JSON.stringify(body))
    }
    try {
      if (path === "/v1/events") return v1.watch(response)
      const route = routes[`${request.method} ${path}`]
      if (route) return answer(...route(raw.length && raw[0] === 123 ? JSON.parse(raw) : {}, url))
      if (path.startsWith("/history/")) {
        const id = path.slice(9)
        return answer(200, engine.history.has(id) ? { [id]: engine.history.get(id) } : {})
      }
      if (path.startsWith("/v1/sweep/")) {
        const sweep = v1.sweeps.get(path.slice(10))
        if (!sweep) return answer(404, { error: { code: "not_found", message: "no such sweep", details: null } })
        const cells = sweep.cells.map((c) => {
          const entry = engine.history.get(c.prompt_id)
          return { ...c, status: entry ? (entry.status.completed ? "completed" : "failed") : engine.running?.[1] === c.prompt_id ? "in_progress" : "pending", images: Object.values(entry?.outputs ?? {}).flatMap((o) => o.images ?? []) }
        })
        return answer(200, { id: path.slice(10), axes: sweep.axes, cells })
      }
      if (request.method === "PATCH" && path.startsWith("/v1/jobs/")) {
        const item = engine.pending.find((i) => i[1] === path.slice(9))
        if (!item) return answer(404, { error: { code: "not_found", message: "no such job waits", details: null } })
        const { place } = JSON.parse(raw)
        const rest = engine.pending.filter((i) => i !== item)
        const at = place === "front" ? 0 : place === "back" ? rest.length : rest.findIndex((i) => i[1] === place.before)
        rest.splice(at, 0, item)
        rest.forEach((i, n) => (i[0] = n))
        engine.pending = rest
        engine.status()
        return answer(200, {})
      }
      if (path === "/v1/templates/demo.png") return answer(200, makePng(160, 12, 0), "image/png")
      if (path === "/view") {
        const file = files.get(`${url.searchParams.get("type") ?? "output"}/${url.searchParams.get("filename")}`)
        return file ? answer(200, file, "image/png") : answer(404, null)
      }
      if (path === "/upload/image") {
        const name = /filename="([^"]+)"/.exec(raw.toString("latin1"))?.[1] ?? "upload.png"
        files.set(`input/${name}`, makePng(64, name.length, 0))
        schemas.LoadImage.input.required.image[0].push(name)
        return answer(200, { name, subfolder: "", type: "input" })
      }
      if (path === "/userdata") return answer(200, [...userdata].map(([p, b]) => ({ path: p.replace(/^workflows\//, ""), size: b.length, modified: Date.now() / 1000 })))
      if (path.startsWith("/userdata/")) {
        const file = decodeURIComponent(path.slice(10))
        if (request.method === "POST") return userdata.set(file, raw), answer(200, file)
        if (request.method === "DELETE") return userdata.delete(file), answer(204, null)
        return userdata.has(file) ? answer(200, userdata.get(file)) : answer(404, null)
      }
      const file = join(dist, path === "/" ? "index.html" : path)
      if (file.startsWith(dist) && existsSync(file)) return answer(200, readFileSync(file), TYPES[extname(file)] ?? "application/octet-stream")
      answer(404, { error: "not found" })
    } catch (error) {
      answer(500, { error: String(error) })
    }
  })
  const ws = new WebSocketServer({ noServer: true })
  server.on("upgrade", (request, socket, head) =>
    ws.handleUpgrade(request, socket, head, (connection) => {
      const client = new URL(request.url, "http://localhost").searchParams.get("clientId") ?? randomUUID()
      sockets.set(client, connection)
      connection.on("message", (m) => String(m).includes("feature_flags") && send(client, "feature_flags", { supports_preview_metadata: true, max_upload_size: 104857600 }))
      send(client, "status", { status: { exec_info: { queue_remaining: engine.remaining() } }, sid: client })
    }),
  )
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve))
  return { url: `http://127.0.0.1:${server.address().port}`, engine, v1, userdata, schemas, close: () => (clearInterval(v1.timer), ws.clients.forEach((c) => c.terminate()), new Promise((r) => server.close(r))) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const mock = await startMock({ port: Number(process.env.PORT ?? 8188), stepMs: 150 })
  console.log(`mock server at ${mock.url}`)
}
