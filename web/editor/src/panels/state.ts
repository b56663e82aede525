// The two things a panel says when it cannot show what it is for.

import { ApiError } from "../api/client.ts"
import { t } from "../i18n/index.ts"
import { h } from "../ui/dom.ts"

export function failure(error: unknown): HTMLElement {
  if (error instanceof ApiError && error.missing) return h("p", { class: "quiet pad" }, t("panel.missing"))
  return h("p", { class: "problem pad", role: "alert" }, t("panel.failed", { message: error instanceof Error ? error.message : String(error) }))
}

export const quiet = (text: string) => h("p", { class: "quiet pad" }, text)
