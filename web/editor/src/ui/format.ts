// Numbers for people.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"]

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–"
  let n = value
  let unit = 0
  while (Math.abs(n) >= 1024 && unit < UNITS.length - 1) {
    n /= 1024
    unit++
  }
  return `${unit === 0 ? n : n.toFixed(n < 10 ? 2 : n < 100 ? 1 : 0)} ${UNITS[unit]}`
}

export function seconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–"
  if (value < 60) return `${value.toFixed(value < 10 ? 1 : 0)} s`
  const minutes = Math.floor(value / 60)
  return minutes < 60 ? `${minutes} min ${Math.round(value % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

export const percent = (value: number) => `${Math.round(value * 100)} %`
