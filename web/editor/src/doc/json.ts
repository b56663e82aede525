// JSON with whole numbers beyond 2^53 kept as they are written. Seeds go up to 2^64 - 1, and a file that holds one must come
// out of a load and a save with the same digits. Such numbers are kept as `BigNumber`: a number to whoever computes, its own
// digits to whoever writes.

const LARGE = /-?\d{16,}/

export function parseJson(text: string): unknown {
  if (!LARGE.test(text)) return JSON.parse(text)
  // Mark large integers outside of strings, then let JSON.parse do the rest.
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) => {
    if (token[0] === '"' || !/^-?\d{16,}$/.test(token) || Number.isSafeInteger(Number(token))) return token
    return `"${MARK}${token}"`
  })
  return JSON.parse(marked, (_, value) => (typeof value === "string" && value.startsWith(MARK) ? new BigNumber(value.slice(MARK.length)) : value))
}

/** Starts with a private-use character, which no text in a workflow has a reason to hold. */
const MARK = "\uE000big:"

/** A whole number too large for a double. Arithmetic and display see the nearest number. */
export class BigNumber {
  constructor(readonly digits: string) {}
  valueOf(): number {
    return Number(this.digits)
  }
  toString(): string {
    return this.digits
  }
  toFixed(): string {
    return this.digits
  }
  toJSON(): string {
    return MARK + this.digits
  }
}

export function stringifyJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(/"\uE000big:(-?\d+)"/g, "$1")
}

/** A deep copy that keeps large numbers. */
export function cloneJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_, v) => (typeof v === "string" && v.startsWith(MARK) ? new BigNumber(v.slice(MARK.length)) : v)) as T
}
