// Texts that pictures carry: PNG's tEXt, zTXt and iTXt chunks, and the same in WebP's and JPEG's EXIF, where saved pictures keep their workflow.

export async function readTexts(data: ArrayBuffer): Promise<Record<string, string>> {
  const bytes = new Uint8Array(data)
  if (startsWith(bytes, [0x89, 0x50, 0x4e, 0x47])) return pngTexts(bytes)
  if (startsWith(bytes, [0x52, 0x49, 0x46, 0x46])) return exifTexts(webpExif(bytes))
  return {}
}

const startsWith = (bytes: Uint8Array, head: number[]) => head.every((b, i) => bytes[i] === b)
const latin1 = (bytes: Uint8Array) => Array.from(bytes, (b) => String.fromCharCode(b)).join("")
const utf8 = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

async function pngTexts(bytes: Uint8Array): Promise<Record<string, string>> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const texts: Record<string, string> = {}
  let at = 8
  while (at + 8 <= bytes.length) {
    const length = view.getUint32(at)
    const type = latin1(bytes.subarray(at + 4, at + 8))
    const body = bytes.subarray(at + 8, Math.min(at + 8 + length, bytes.length))
    const end = body.indexOf(0)
    if (end > 0 && type === "tEXt") texts[latin1(body.subarray(0, end))] = utf8(body.subarray(end + 1))
    if (end > 0 && type === "zTXt") texts[latin1(body.subarray(0, end))] = utf8(await inflate(body.subarray(end + 2)))
    if (end > 0 && type === "iTXt") texts[latin1(body.subarray(0, end))] = await internationalText(body.subarray(end + 1))
    if (type === "IEND") break
    at += 12 + length
  }
  return texts
}

/** After the keyword: compressed?, method, language, 0, translated keyword, 0, text. */
async function internationalText(body: Uint8Array): Promise<string> {
  const compressed = body[0] === 1
  const language = body.indexOf(0, 2)
  const translated = body.indexOf(0, language + 1)
  const text = body.subarray(translated + 1)
  return utf8(compressed ? await inflate(text) : text)
}

async function inflate(data: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([data as BlobPart]).stream().pipeThrough(new DecompressionStream("deflate"))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}

function webpExif(bytes: Uint8Array): Uint8Array | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 12
  while (at + 8 <= bytes.length) {
    const length = view.getUint32(at + 4, true)
    if (latin1(bytes.subarray(at, at + 4)) === "EXIF") return bytes.subarray(at + 8, at + 8 + length)
    at += 8 + length + (length % 2)
  }
  return null
}

/** Texts of the form `workflow:{…}` and `prompt:{…}` in whatever EXIF field they stand. */
function exifTexts(exif: Uint8Array | null): Record<string, string> {
  const texts: Record<string, string> = {}
  if (!exif) return texts
  for (const part of utf8(exif).split("\u0000")) {
    const match = /(workflow|prompt):\s*(\{[\s\S]*\})/i.exec(part)
    if (match) texts[match[1]!.toLowerCase()] = match[2]!
  }
  return texts
}
