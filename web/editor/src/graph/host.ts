// What nodes and widgets ask of the page around them, so that they need not know it.

import type { LGraphNode } from "@comfyorg/litegraph"

export interface Host {
  upload(file: File): Promise<string>
  imageUrl(name: string): string
  /** A file was added on the server: choices may have changed. */
  filesChanged(): void
  warn(message: string): void
  /** Something the user did changed a value outside the canvas's own events. */
  changed(node: LGraphNode | null): void
}

let host: Host | null = null

export function setHost(value: Host): void {
  host = value
}

export function getHost(): Host {
  if (!host) throw new Error("the page is not set up yet")
  return host
}
