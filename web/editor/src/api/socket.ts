// The websocket: one connection that comes back by itself, decoded into typed frames.

import { Emitter } from "../ui/emitter.ts"
import type { Api } from "./client.ts"
import type { Frames } from "./types.ts"

const STORED = "ebb.clientId"
/** Other tabs answer at once; after this long nobody has. */
const SETTLED_MS = 200

export class Socket extends Emitter<Frames> {
  /** Kept for the life of the browser tab, so that a reload goes on receiving the frames of its own jobs. */
  clientId: string
  private attempts = 0
  /** Who was here first keeps the id. */
  private settled = false
  private agreed: Promise<void> = Promise.resolve()

  constructor(private readonly api: Api) {
    super()
    this.clientId = sessionStorage.getItem(STORED) ?? newId()
    sessionStorage.setItem(STORED, this.clientId)
    this.agreeWithOtherTabs()
  }

  /**
   * A tab that is a copy of another begins with that one's id, and the server talks to one of them only: the copy takes another.
   * That is settled before it connects, since the server forgets an id when either of its sockets closes.
   */
  private agreeWithOtherTabs(): void {
    const tabs = new BroadcastChannel("ebb.tabs")
    tabs.onmessage = ({ data }: MessageEvent<{ asks?: string; has?: string }>) => {
      if (this.settled && data.asks === this.clientId) tabs.postMessage({ has: this.clientId })
      if (this.settled || data.has !== this.clientId) return
      this.clientId = newId()
      sessionStorage.setItem(STORED, this.clientId)
    }
    tabs.postMessage({ asks: this.clientId })
    this.agreed = new Promise((resolve) =>
      setTimeout(() => {
        this.settled = true
        resolve()
      }, SETTLED_MS),
    )
  }

  /** Connects, and connects again whenever the connection ends. */
  start(): void {
    void this.agreed.then(() => this.connect())
  }

  private connect(): void {
    const url = new URL(this.api.url(`api/ws?clientId=${this.clientId}`))
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:"
    const socket = new WebSocket(url)
    socket.binaryType = "arraybuffer"
    socket.onopen = () => {
      this.attempts = 0
      // Only the first frame counts, and it asks for previews that say which node they belong to.
      socket.send(JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } }))
      this.emit("open", undefined)
    }
    socket.onmessage = (event) => (typeof event.data === "string" ? this.text(event.data) : this.binary(event.data as ArrayBuffer))
    socket.onclose = () => {
      this.emit("closed", undefined)
      setTimeout(() => this.connect(), Math.min(5000, 300 * 2 ** this.attempts++))
    }
  }

  private text(data: string): void {
    const frame = JSON.parse(data) as { type: keyof Frames; data: never }
    this.emit(frame.type, frame.data)
  }

  private binary(data: ArrayBuffer): void {
    const preview = decodePreview(data)
    if (preview) this.emit("preview", preview)
  }
}

/** Binary frames: a big-endian event number, then 1 = kind and image, 4 = length, metadata and image. */
export function decodePreview(data: ArrayBuffer): Frames["preview"] | null {
  if (data.byteLength < 8) return null
  const view = new DataView(data)
  const event = view.getUint32(0)
  if (event === 1) {
    const type = view.getUint32(4) === 2 ? "image/png" : "image/jpeg"
    return { node: null, prompt_id: null, image: new Blob([data.slice(8)], { type }) }
  }
  if (event === 4) {
    const length = view.getUint32(4)
    const meta = JSON.parse(new TextDecoder().decode(data.slice(8, 8 + length)))
    return { node: meta.display_node_id ?? meta.node_id, prompt_id: meta.prompt_id, image: new Blob([data.slice(8 + length)], { type: meta.image_type }) }
  }
  return null
}

/** `crypto.randomUUID` exists on secure pages only, and a server on the local network is none. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("")
}
