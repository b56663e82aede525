// What becomes of a seed after each queued run.

export const CONTROL_MODES = ["fixed", "increment", "decrement", "randomize"] as const

/** The largest random seed: whole numbers up to here are exact in every language that handles the workflow. */
const LARGEST_RANDOM = 2 ** 50

export function nextValue(mode: string, value: number, range: { min: number; max: number; step: number }, random: () => number = Math.random): number {
  const { min, max, step } = range
  switch (mode) {
    case "increment":
      return value + step > max ? max : value + step
    case "decrement":
      return value - step < min ? min : value - step
    case "randomize": {
      const low = Math.max(min, -LARGEST_RANDOM)
      const high = Math.min(max, LARGEST_RANDOM)
      return low + Math.floor((random() * (high - low)) / step) * step
    }
    default:
      return value
  }
}

interface WidgetLike {
  name: string
  value?: unknown
  options: { min?: number; max?: number; step2?: number; values?: unknown }
  linkedWidgets?: WidgetLike[]
}

/** Applies the control of each widget of a node that has one. Answers whether anything changed. */
export function applyControls(widgets: readonly WidgetLike[]): boolean {
  let changed = false
  for (const widget of widgets) {
    const control = widget.linkedWidgets?.find((w) => w.name === "control_after_generate")
    if (!control || control.value === "fixed") continue
    const before = widget.value
    if (Array.isArray(widget.options.values)) widget.value = nextChoice(String(control.value), before, widget.options.values)
    else widget.value = nextValue(String(control.value), Number(before), { min: widget.options.min ?? 0, max: widget.options.max ?? Number.MAX_SAFE_INTEGER, step: widget.options.step2 ?? 1 })
    changed ||= widget.value !== before
  }
  return changed
}

function nextChoice(mode: string, value: unknown, values: readonly unknown[]): unknown {
  const at = values.indexOf(value)
  if (values.length === 0) return value
  const next = mode === "increment" ? Math.min(values.length - 1, at + 1) : mode === "decrement" ? Math.max(0, at - 1) : Math.floor(Math.random() * values.length)
  return values[next]
}
