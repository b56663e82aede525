// Lines of a text in a width.

export function wrap(text: string, width: number, measure: (s: string) => number): string[] {
  const lines: string[] = []
  for (const paragraph of text.split("\n")) {
    let line = ""
    for (const word of paragraph.match(/\s*\S+|\s+$/g) ?? [""]) {
      if (line && measure(line + word) > width) {
        lines.push(line)
        line = word.trimStart()
      } else line += word
      // A word wider than the line, as in languages that write without spaces, breaks anywhere.
      while (line.length > 1 && measure(line) > width) {
        let fit = Math.max(1, Math.floor((line.length * width) / measure(line)))
        while (fit > 1 && measure(line.slice(0, fit)) > width) fit--
        lines.push(line.slice(0, fit))
        line = line.slice(fit)
      }
    }
    lines.push(line)
  }
  return lines
}
