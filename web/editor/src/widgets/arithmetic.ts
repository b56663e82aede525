// Sums typed into a number field: "512*2", "(3+1)/2". A small parser, since the page's security policy rightly forbids eval.

export function evaluate(text: string): number | null {
  const tokens = text.replace(",", ".").match(/\d+\.?\d*(?:e[+-]?\d+)?|\.\d+|[-+*/()]|\S/gi)
  if (!tokens) return null
  let position = 0
  const peek = () => tokens[position]
  const next = () => tokens[position++]

  function factor(): number {
    const token = next()
    if (token === "-") return -factor()
    if (token === "+") return factor()
    if (token === "(") {
      const value = sum()
      return next() === ")" ? value : NaN
    }
    return token !== undefined && /^[\d.]/.test(token) ? Number(token) : NaN
  }
  function product(): number {
    let value = factor()
    while (peek() === "*" || peek() === "/") value = next() === "*" ? value * factor() : value / factor()
    return value
  }
  function sum(): number {
    let value = product()
    while (peek() === "+" || peek() === "-") value = next() === "+" ? value + product() : value - product()
    return value
  }

  const value = sum()
  return position === tokens.length && Number.isFinite(value) ? value : null
}
