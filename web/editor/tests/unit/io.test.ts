import { describe, expect, it } from "vitest"
import { decodePreview } from "../../src/api/socket.ts"
import { workflowFromApi } from "../../src/io/api-import.ts"
import { readTexts } from "../../src/io/png.ts"
import { workflowFromJson, workflowFromText } from "../../src/io/read.ts"
import { arrange } from "../../src/graph/align.ts"
import { History } from "../../src/graph/history.ts"
import { loaderFor } from "../../src/panels/loaders.ts"
import { deflateSync } from "node:zlib"

function chunk(type: string, body: Uint8Array): Uint8Array {
  const out = Buffer.alloc(12 + body.length)
  out.writeUInt32BE(body.length)
  out.write(type, 4, "latin1")
  out.set(body, 8)
  return out
}
const png = (...chunks: Uint8Array[]) => {
  const all = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]), ...chunks])
  return all.buffer.slice(all.byteOffset, all.byteOffset + all.length) as ArrayBuffer
}

describe("texts in pictures", () => {
  it("are read from all three kinds of chunks", async () => {
    const texts = await readTexts(png(
      chunk("tEXt", Buffer.from("prompt\0{\"a\":1}")),
      chunk("zTXt", Buffer.concat([Buffer.from("z\0\0"), deflateSync("packed")])),
      chunk("iTXt", Buffer.concat([Buffer.from("workflow\0\x01\0en\0\0"), deflateSync(Buffer.from("ünïcode"))])),
    ))
    expect(texts).toEqual({ prompt: '{"a":1}', z: "packed", workflow: "ünïcode" })
  })
  it("do not make a broken file an endless one", async () => {
    expect(await readTexts(png(chunk("tEXt", Buffer.from("no end")).subarray(0, 10)))).toEqual({})
    expect(await readTexts(new ArrayBuffer(3))).toEqual({})
  })
})

describe("reading workflows", () => {
  const ui = { nodes: [], links: [] }
  it("finds them plain and wrapped, and takes NaN for nothing", () => {
    expect(workflowFromText(JSON.stringify(ui), {})).toEqual(ui)
    expect(workflowFromJson({ workflow: ui }, {})).toEqual(ui)
    expect(workflowFromText('{"nodes":[],"x":NaN}', {})).toEqual({ nodes: [], x: null })
    for (const bad of ["", "[]", "{", '{"a":1}', "null"]) expect(workflowFromText(bad, {})).toBeNull()
  })
  it("gives a prompt places from left to right", () => {
    const w = workflowFromApi({ b: { class_type: "B", inputs: { x: ["a", 0] } }, a: { class_type: "A", inputs: {} } }, {})
    const at = (type: string) => Number((w.nodes.find((n) => n.type === type)!.pos as number[])[0])
    expect(at("A")).toBeLessThan(at("B"))
    expect(w.links).toEqual([[1, 2, 0, 1, 0, "*"]])
  })
})

describe("previews", () => {
  it("are decoded with and without metadata", async () => {
    const plain = new Uint8Array([0, 0, 0, 1, 0, 0, 0, 2, 9, 8]).buffer
    expect(decodePreview(plain)).toMatchObject({ node: null })
    const meta = new TextEncoder().encode('{"node_id":"3","prompt_id":"p","image_type":"image/png"}')
    const frame = new Uint8Array([0, 0, 0, 4, 0, 0, 0, meta.length, ...meta, 7]).buffer
    const decoded = decodePreview(frame)!
    expect(decoded).toMatchObject({ node: "3", prompt_id: "p" })
    expect([...new Uint8Array(await decoded.image.arrayBuffer())]).toEqual([7])
    expect(decodePreview(new ArrayBuffer(2))).toBeNull()
  })
})

describe("alignment", () => {
  const boxes = () => [{ id: 1, pos: [0, 0], size: [10, 10] }, { id: 2, pos: [50, 5], size: [20, 10] }, { id: 3, pos: [90, 30], size: [10, 10] }]
  it("puts edges and gaps in line", () => {
    const left = boxes()
    arrange(left, "left")
    expect(left.map((b) => b.pos[0])).toEqual([0, 0, 0])
    const right = boxes()
    arrange(right, "right")
    expect(right.map((b) => b.pos[0]! + b.size[0]!)).toEqual([100, 100, 100])
    const spread = boxes()
    arrange(spread, "spread")
    expect(spread.map((b) => b.pos[0])).toEqual([0, 40, 90])
  })
})

describe("history", () => {
  it("forgets the future after a new step", () => {
    const h = new History("a")
    h.push("b")
    h.push("c")
    expect([h.undo(), h.undo(), h.undo()]).toEqual(["b", "a", null])
    expect(h.redo()).toBe("b")
    h.push("d")
    expect(h.redo()).toBeNull()
    expect(h.undo()).toBe("b")
  })
})

describe("loaders", () => {
  it("are the first the server has", () => {
    expect(loaderFor("loras", "x.safetensors", (t) => t === "LoraLoaderModelOnly")).toEqual({ node: "LoraLoaderModelOnly", values: { lora_name: "x.safetensors" } })
    expect(loaderFor("configs", "x", () => true)).toBeNull()
  })
})
