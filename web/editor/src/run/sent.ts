// The jobs this tab sent and has not seen end: what becomes of them while the page is reloaded, or the server is away, is
// asked for afterwards.

const STORED = "ebb.sent"

export class Sent {
  private readonly ids: Set<string>

  constructor() {
    let stored: unknown
    try {
      stored = JSON.parse(sessionStorage.getItem(STORED) ?? "[]")
    } catch {
      stored = []
    }
    this.ids = new Set(Array.isArray(stored) ? stored.map(String) : [])
  }

  get all(): string[] {
    return [...this.ids]
  }

  add(id: string): void {
    this.ids.add(id)
    this.write()
  }

  delete(id: string): void {
    if (this.ids.delete(id)) this.write()
  }

  private write(): void {
    try {
      sessionStorage.setItem(STORED, JSON.stringify(this.all))
    } catch {
      // Full or forbidden: what is missed then is still in the history.
    }
  }
}
