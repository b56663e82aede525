// Copying and pasting nodes. The library keeps them in the browser's storage, which tabs share; they also go into the
// system's clipboard as text, so that what was copied last is what is pasted, and another browser can take it.

import type { LGraphCanvas } from "@comfyorg/litegraph"

const STORED = "litegrapheditor_clipboard"
const MARK = "ebb/nodes"

/** Set by the key, taken by the `copy` or `cut` event that follows it. */
let fresh = false

export function copySelected(canvas: LGraphCanvas): boolean {
  if (!canvas.selectedItems.size) return false
  canvas.copyToClipboard()
  fresh = true
  return true
}

/** Nodes as the text that stands for them in the system's clipboard; null when nothing was copied just now. */
function takeText(): string | null {
  const stored = fresh ? localStorage.getItem(STORED) : null
  fresh = false
  return stored && `{${JSON.stringify(MARK)}:${stored}}`
}

export function fillSystemClipboard(event: ClipboardEvent): void {
  const text = takeText()
  if (!text || !event.clipboardData) return
  event.clipboardData.setData("text/plain", text)
  event.preventDefault()
}

/** Takes nodes out of a pasted text, if that is what it is. */
export function takeNodes(text: string): boolean {
  if (!text.startsWith(`{${JSON.stringify(MARK)}:`)) return false
  try {
    localStorage.setItem(STORED, JSON.stringify((JSON.parse(text) as Record<string, unknown>)[MARK]))
    return true
  } catch {
    return false
  }
}

/** `connect`: their inputs keep the sources they had. */
export function pasteNodes(canvas: LGraphCanvas, at: [number, number] | null, connect = false): void {
  canvas.pasteFromClipboard({ connectInputs: connect, ...(at ? { position: at } : {}) })
}
