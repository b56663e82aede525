// Fuzzy search: all characters of the query in order; whole words, word starts and runs count more.

export function fuzzyScore(query: string, text: string): number {
  const q = query.toLowerCase().trim()
  const s = text.toLowerCase()
  if (!q) return 1
  const at = s.indexOf(q)
  if (at >= 0) return 1000 - s.length + (at === 0 ? 500 : isWordStart(text, at) ? 300 : 0)
  // Each word somewhere, in any order.
  const words = q.split(/\s+/)
  if (words.length > 1 && words.every((w) => s.includes(w))) return 600 - s.length
  return subsequence(q.replace(/\s+/g, ""), text)
}

function subsequence(q: string, text: string): number {
  const s = text.toLowerCase()
  let score = 0
  let from = 0
  let last = -2
  for (const c of q) {
    const at = s.indexOf(c, from)
    if (at < 0) return 0
    score += at === last + 1 ? 8 : isWordStart(text, at) ? 6 : 1
    last = at
    from = at + 1
  }
  // Letters strewn all over a long text are no match.
  return score >= q.length * 3 ? score - text.length / 100 : 0
}

function isWordStart(text: string, at: number): boolean {
  if (at === 0) return true
  const before = text[at - 1]!
  const here = text[at]!
  return /[\s_\-./>()]/.test(before) || (/[a-z]/.test(before) && /[A-Z]/.test(here))
}

export interface Ranked<T> {
  item: T
  score: number
}

export function rank<T>(items: Iterable<T>, query: string, texts: (item: T) => string[]): Ranked<T>[] {
  const ranked: Ranked<T>[] = []
  for (const item of items) {
    // The first text is the name people see; the others count a little less.
    const score = Math.max(...texts(item).map((text, i) => fuzzyScore(query, text) * (i === 0 ? 1 : 0.9)))
    if (score > 0) ranked.push({ item, score })
  }
  return ranked.sort((a, b) => b.score - a.score)
}
