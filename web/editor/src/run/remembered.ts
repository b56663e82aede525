// What runs gave, kept for the life of the browser tab: after a reload the nodes show their results again.

import type { NodeOutput } from "../api/types.ts"

const STORED = "ebb.outputs"

export class Remembered {
  private readonly outputs = new Map<string, NodeOutput>()
  /** Read before anything here is written. */
  private readonly before = sessionStorage.getItem(STORED)

  /** Takes up what the tab kept before it was loaded again. */
  restore(): void {
    try {
      for (const [id, output] of Object.entries(JSON.parse(this.before ?? "{}") as Record<string, NodeOutput>)) this.outputs.set(id, output)
    } catch {
      // Not what this page wrote: there is nothing to show then.
    }
  }

  set(id: string, output: NodeOutput): void {
    this.outputs.set(id, output)
    this.write()
  }

  /** Another workflow is open: its nodes have the same ids and other results. */
  clear(): void {
    this.outputs.clear()
    this.write()
  }

  [Symbol.iterator](): IterableIterator<[string, NodeOutput]> {
    return this.outputs.entries()
  }

  private write(): void {
    try {
      sessionStorage.setItem(STORED, JSON.stringify(Object.fromEntries(this.outputs)))
    } catch {
      // Full or forbidden: results are still in the gallery.
    }
  }
}
