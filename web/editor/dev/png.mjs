// Small PNG files made from nothing, for the mock server.
import { crc32, deflateSync } from "node:zlib"

function crc(data) {
  if (crc32) return crc32(data)
  let c = ~0
  for (const byte of data) {
    c ^= byte
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
  }
  return ~c >>> 0
}

function chunk(type, body) {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(body.length)
  head.write(type, 4, "latin1")
  const tail = Buffer.alloc(4)
  tail.writeUInt32BE(crc(Buffer.concat([head.subarray(4), body])))
  return Buffer.concat([head, body, tail])
}

/** A picture of soft blobs; the same seed gives the same picture. `texts` become tEXt chunks. */
export function makePng(size, seed, noise, texts = {}) {
  const rows = Buffer.alloc((size * 3 + 1) * size)
  let state = (seed * 2654435761) >>> 0 || 1
  const random = () => ((state = (state * 1664525 + 1013904223) >>> 0) / 2 ** 32)
  const blobs = Array.from({ length: 4 }, () => ({ x: random(), y: random(), r: 0.15 + random() * 0.3, c: [random(), random(), random()] }))
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const color = [0.08, 0.1, 0.16]
      for (const b of blobs) {
        const d = Math.hypot(x / size - b.x, y / size - b.y) / b.r
        const w = Math.exp(-d * d * 1.6)
        for (let i = 0; i < 3; i++) color[i] += w * b.c[i]
      }
      const at = y * (size * 3 + 1) + 1 + x * 3
      for (let i = 0; i < 3; i++) rows[at + i] = Math.max(0, Math.min(255, 255 * (color[i] * (1 - noise) + random() * noise)))
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(size, 0)
  header.writeUInt32BE(size, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const text = Object.entries(texts).map(([k, v]) => chunk("tEXt", Buffer.from(`${k}\0${v}`, "utf8")))
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk("IHDR", header), ...text, chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))])
}
