// Whether a link of one type may end in an input of another.

export function typesMatch(from: unknown, to: unknown): boolean {
  if (from === to || from === "*" || to === "*" || from === 0 || to === 0 || from === "" || to === "") return true
  // An enumeration's type may be its list of values; every such list is a COMBO to the other end.
  const names = (t: unknown) => (Array.isArray(t) ? ["COMBO"] : String(t).toUpperCase().split(",").map((s) => s.trim()))
  const wanted = new Set(names(to))
  return names(from).some((n) => wanted.has(n))
}
