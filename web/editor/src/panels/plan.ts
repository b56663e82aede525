// What will happen when it runs: the steps in their order, what each loads and holds, the peak, and what is done about the budget.

import type { App } from "../app.ts"
import { ApiError } from "../api/client.ts"
import { type PlanReport, type PlanStep, v1 } from "../api/v1.ts"
import { PlanOverlay } from "../graph/plan-overlay.ts"
import { t } from "../i18n/index.ts"
import { preparePrompt } from "../run/send.ts"
import { problemsOf } from "../run/errors.ts"
import { debounce, fill, h } from "../ui/dom.ts"
import { bytes } from "../ui/format.ts"
import type { Panel } from "../ui/shell.ts"
import { decisionText } from "./decision.ts"
import { failure, quiet } from "./state.ts"

export function planPanel(app: App): Panel {
  return { id: "plan", title: t("panel.plan"), icon: "plan", place: "dock", key: "e", build: (body) => build(app, body) }
}

function build(app: App, body: HTMLElement): { shown(): void; hidden(): void } {
  const overlay = new PlanOverlay(app.editor)
  let visible = false
  let asked = 0
  const ask = async () => {
    if (!visible) return
    const turn = ++asked
    const { prompt, problems } = preparePrompt(app.editor.current(), app.editor)
    if (Object.keys(prompt).length === 0 || problems.length) {
      overlay.show(null)
      return fill(body, problems.length ? h("p", { class: "problem" }, t("plan.invalid", { message: problems[0]!.text })) : quiet(t("run.nothing")))
    }
    try {
      const plan = await v1.plan(app.api, prompt)
      // An answer to an older question says nothing about the graph that is there now.
      if (turn !== asked || !visible) return
      overlay.show(plan)
      fill(body, report(app, plan, overlay))
    } catch (error) {
      if (turn !== asked) return
      overlay.show(null)
      fill(body, refusal(error))
    }
  }
  const soon = debounce(() => void ask(), 350)
  app.editor.on("changed", soon)
  app.runs.on("finished", soon)
  return {
    shown: () => ((visible = true), void ask()),
    hidden: () => ((visible = false), overlay.show(null)),
  }
}

function refusal(error: unknown): HTMLElement {
  const findings = error instanceof ApiError ? problemsOf((error.body as { node_errors?: never })?.node_errors ?? {}) : []
  if (!findings.length) return failure(error)
  return h("div", { class: "problem" }, t("plan.invalid", { message: "" }), h("ul", {}, ...findings.map((f) => h("li", {}, `#${f.node}: ${f.text}`))))
}

function report(app: App, plan: PlanReport, overlay: PlanOverlay): HTMLElement {
  // A budget far above the peak would leave nothing to see of the steps.
  const peak = plan.peak?.bytes ?? 0
  const scale = Math.max(peak * 1.05, plan.budget !== null && plan.budget < peak * 4 ? plan.budget : 0, 1)
  return h("div", { class: "plan" }, summary(plan), h("ol", { class: "plan-steps", "aria-label": t("plan.order") }, ...plan.steps.map((s) => stepRow(app, plan, s, scale, overlay))))
}

function summary(plan: PlanReport): HTMLElement {
  const { peak } = plan
  return h(
    "div",
    { class: "plan-summary" },
    figure(t("plan.order"), t("plan.steps", { count: plan.steps.length, cached: plan.cached.length })),
    figure(t("plan.peak"), peak ? t("plan.peakAt", { bytes: bytes(peak.bytes), step: peak.step + 1 }) : "–"),
    figure(t("plan.budget"), bytes(plan.budget), plan.budget === null ? null : h("span", { class: plan.fits ? "tag good" : "tag bad" }, t(plan.fits ? "plan.fits" : "plan.tooBig"))),
    h("h3", {}, t("plan.decisions")),
    plan.decisions.length ? h("ul", { class: "decisions" }, ...plan.decisions.map((d) => h("li", {}, h("span", { class: `tag ${d.kind === "refuse" ? "bad" : ""}` }, t("plan.step", { step: d.step + 1 })), " ", decisionText(plan, d)))) : h("p", { class: "quiet small" }, t("plan.noDecisions")),
  )
}

const figure = (label: string, value: string, after: HTMLElement | null = null) => h("div", { class: "figure" }, h("span", { class: "small quiet" }, label), h("strong", {}, value, " ", after))

function stepRow(app: App, plan: PlanReport, step: PlanStep, scale: number, overlay: PlanOverlay): HTMLElement {
  const title = app.editor.nodeForExecution(step.node)?.title ?? step.class_type
  const dies = plan.values.filter((v) => v.node === step.node)
  const life = dies.map((v) => `${v.type}: ${v.dies_at === null ? t("plan.kept") : t("plan.dies", { step: v.dies_at + 1 })}`)
  const share = (n: number | null) => `${Math.min(100, ((n ?? 0) / scale) * 100)}%`
  const isPeak = plan.peak?.step === step.index
  const row = h(
    "button",
    {
      type: "button",
      class: `plan-step${step.cached ? " cached" : ""}${isPeak ? " peak" : ""}`,
      title: life.join("\n"),
      onclick: () => app.editor.reveal(step.node),
      onpointerenter: () => overlay.focusStep(step.index),
      onpointerleave: () => overlay.focusStep(null),
      onfocus: () => overlay.focusStep(step.index),
      onblur: () => overlay.focusStep(null),
    },
    h("span", { class: "plan-number" }, step.index + 1),
    h("span", { class: "plan-node" }, title, h("span", { class: "small quiet" }, ` #${step.node}`)),
    h(
      "span",
      { class: "plan-bar", "aria-hidden": "true" },
      h("span", { class: "plan-live", style: { width: share(step.live_bytes) } }),
      h("span", { class: "plan-active", style: { width: share(step.activation_bytes) } }),
      plan.budget === null || plan.budget > scale ? null : h("span", { class: "plan-budget", style: { left: share(plan.budget) } }),
    ),
    h("span", { class: "plan-bytes" }, step.cached ? t("plan.cachedStep") : bytes(step.peak_bytes)),
    h("span", { class: "plan-loads small" }, step.loads.map((l) => t("plan.loads", { name: l.name, bytes: bytes(l.bytes) })).join(", ")),
  )
  return h("li", {}, row)
}
