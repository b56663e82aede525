// When something in memory is wanted again, in words.

import type { Resident } from "../api/v1.ts"
import { t } from "../i18n/index.ts"

export function untilWhen({ next_use, pinned }: Pick<Resident, "next_use" | "pinned">): string {
  if (pinned) return t("memory.untilUnpinned")
  if (!next_use) return t("memory.noNext")
  return next_use.node === null || next_use.step === null ? t("memory.nextJob") : t("memory.next", { step: next_use.step + 1, node: next_use.node })
}
