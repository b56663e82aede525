// Looks strings up in the language people chose.

import { en } from "./en.ts"
import { zh } from "./zh.ts"

export type StringKey = keyof typeof en
export type Strings = Record<StringKey, string>

export const LANGUAGES = { en: "English", zh: "中文" } as const
export type Language = keyof typeof LANGUAGES

const tables: Record<Language, Strings> = { en, zh }
const STORED = "ebb.language"

export function chooseLanguage(stored: string | null, preferred: readonly string[]): Language {
  if (stored && stored in tables) return stored as Language
  for (const tag of preferred) {
    const base = tag.toLowerCase().split("-")[0]!
    if (base in tables) return base as Language
  }
  return "en"
}

let current: Language = "en"

export function startLanguage(): void {
  current = chooseLanguage(localStorage.getItem(STORED), navigator.languages ?? [])
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en"
}

export const language = () => current

/** The page is built once in one language, so a change takes effect by loading it again; the draft survives that. */
export function setLanguage(next: Language): void {
  localStorage.setItem(STORED, next)
  location.reload()
}

export function t(key: StringKey, values: Record<string, string | number> = {}): string {
  return tables[current][key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole))
}
