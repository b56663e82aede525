// What a plan does about the budget, in words. The server's own sentence is English and says most; in other languages it is
// put together here from what the decision says in figures.

import type { PlanReport } from "../api/v1.ts"
import { language, type StringKey, t } from "../i18n/index.ts"
import { bytes } from "../ui/format.ts"

type Decision = PlanReport["decisions"][number]

const SAID: Record<string, StringKey> = { tile: "plan.tile", split: "plan.split", stream: "plan.stream", quantize: "plan.quantize" }

export function decisionText(plan: PlanReport, decision: Decision): string {
  if (language() === "en") return decision.text
  const { kind, step, id, bytes: n } = decision
  const node = plan.steps[step] ? `${plan.steps[step].class_type} #${plan.steps[step].node}` : `#${id}`
  if (kind === "evict") {
    const name = plan.steps.flatMap((s) => s.loads).find((l) => l.id === id)?.name
    const again = plan.steps.some((s) => s.index > step && s.loads.some((l) => l.id === id))
    return name ? t(again ? "plan.evictAgain" : "plan.evict", { name, bytes: bytes(n) }) : decision.text
  }
  if (kind === "refuse" && n !== null) return t("plan.refuse", { node: id === null ? "" : node, bytes: bytes(n) }).trim()
  const key = SAID[kind]
  return key && n !== null ? t(key, { node, bytes: bytes(n) }) : decision.text
}
