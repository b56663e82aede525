// What happens to texts on their way into a prompt: choices, comments, placeholders in file names.

/** Removes comments and replaces each `{a|b}` by one of its choices; `\{` keeps a brace. */
export function dynamicPrompt(text: string, random: () => number = Math.random): string {
  const bare = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")
  let out = ""
  let i = 0
  while (i < bare.length) {
    const c = bare[i]!
    if (c === "\\" && (bare[i + 1] === "{" || bare[i + 1] === "}")) {
      out += bare[i + 1]
      i += 2
    } else if (c === "{") {
      const group = readGroup(bare, i)
      out += dynamicPrompt(group.choices[Math.floor(random() * group.choices.length)] ?? "", random)
      i = group.end
    } else {
      out += c
      i += 1
    }
  }
  return out
}

/** The choices of the group that opens at `start`, split at its own level only. An unclosed group runs to the end. */
function readGroup(text: string, start: number): { choices: string[]; end: number } {
  const choices: string[] = []
  let depth = 0
  let choice = ""
  let i = start + 1
  for (; i < text.length; i++) {
    const c = text[i]!
    if (c === "\\" && i + 1 < text.length) {
      choice += c + text[++i]
      continue
    }
    if (c === "{") depth++
    if (c === "}" && depth-- === 0) {
      i++
      break
    }
    if (c === "|" && depth === 0) {
      choices.push(choice)
      choice = ""
    } else choice += c
  }
  choices.push(choice)
  return { choices, end: i }
}

const two = (n: number) => String(n).padStart(2, "0")

/** `%date:yyyy-MM-dd%` in a file name prefix. */
export function formatDate(pattern: string, now: Date): string {
  const parts: Record<string, string> = {
    yyyy: String(now.getFullYear()),
    yy: two(now.getFullYear() % 100),
    MM: two(now.getMonth() + 1),
    M: String(now.getMonth() + 1),
    dd: two(now.getDate()),
    d: String(now.getDate()),
    hh: two(now.getHours()),
    h: String(now.getHours()),
    mm: two(now.getMinutes()),
    m: String(now.getMinutes()),
    ss: two(now.getSeconds()),
    s: String(now.getSeconds()),
  }
  return pattern.replace(/yyyy|yy|MM|M|dd|d|hh|h|mm|m|ss|s/g, (k) => parts[k]!)
}

/**
 * Replaces `%Node.widget%` and `%date:…%` in a file name prefix. `lookup` answers the widget's value for a node's title or
 * "Node name for S&R"; what it does not know stays as it is, since the server has placeholders of its own.
 */
export function fillPrefix(prefix: string, lookup: (node: string, widget: string) => unknown, now: Date = new Date()): string {
  return prefix.replace(/%([^%]+)%/g, (whole, inner: string) => {
    if (inner.startsWith("date:")) return formatDate(inner.slice(5), now)
    const dot = inner.indexOf(".")
    if (dot < 0) return whole
    const value = lookup(inner.slice(0, dot), inner.slice(dot + 1))
    // The value becomes part of a file name.
    return value === undefined ? whole : String(value).replace(/[/?<>\\:*|"\x00-\x1F\x7F]/g, "_")
  })
}
