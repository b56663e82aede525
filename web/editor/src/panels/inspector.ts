// All a node has, as an ordinary form: every value and every connection can be read and changed here by keyboard.

import type { LGraphNode } from "@comfyorg/litegraph"
import type { App } from "../app.ts"
import { Mode } from "../doc/types.ts"
import { nodeState } from "../graph/node-state.ts"
import { selectedNodes, setMode, step } from "../graph/commands.ts"
import { t } from "../i18n/index.ts"
import { typesMatch } from "../schema/match.ts"
import { debounce, fill, h } from "../ui/dom.ts"
import type { Panel } from "../ui/shell.ts"
import { valueField } from "./value-field.ts"
import { quiet } from "./state.ts"

export function inspectorPanel(app: App): Panel {
  return { id: "inspector", title: t("panel.inspector"), icon: "inspector", place: "right", key: "i", build: (body) => build(app, body) }
}

function build(app: App, body: HTMLElement): { shown(): void; hidden(): void } {
  let visible = false
  const render = debounce(() => {
    // Never under someone's fingers.
    if (!visible || body.contains(document.activeElement)) return
    const nodes = selectedNodes(app.editor.canvas)
    if (nodes.length === 1) fill(body, ...form(app, nodes[0]!))
    else fill(body, quiet(nodes.length ? t("inspector.many", { count: nodes.length }) : t("inspector.empty")))
  }, 60)
  app.editor.on("selection", render)
  app.editor.on("changed", render)
  app.editor.on("view", render)
  body.addEventListener("focusout", () => setTimeout(render, 0))
  return { shown: () => ((visible = true), render()), hidden: () => (visible = false) }
}

function form(app: App, node: LGraphNode): (HTMLElement | null)[] {
  const info = (node.constructor as any).nodeInfo as { description?: string; name?: string } | undefined
  const state = nodeState(node)
  const title = h("input", { type: "text", value: node.title, class: "wide" })
  title.addEventListener("change", () => step(app, () => (node.title = title.value)))
  const mode = (label: string, value: number) => {
    const box = h("input", { type: "checkbox", checked: node.mode === value })
    box.addEventListener("change", () => setMode(app, value))
    return h("label", { class: "check" }, box, label)
  }
  const sockets = node.inputs.map((input, slot) => ({ input, slot })).filter(({ input }) => !input.widget || input.link != null)
  const values = (node.widgets ?? []).filter((w) => !w.hidden)
  return [
    state.error ? h("p", { class: "problem", role: "alert" }, state.error) : null,
    h("label", { class: "field" }, h("span", {}, t("inspector.title")), title),
    h("p", { class: "small quiet" }, `${t("inspector.id", { id: app.editor.executionId(node) })} · ${info?.name ?? node.type}`),
    info?.description ? h("p", { class: "small" }, info.description) : null,
    h("div", { class: "checks" }, mode(t("node.mute"), Mode.muted), mode(t("node.bypass"), Mode.bypassed)),
    values.length ? h("h3", {}, t("inspector.values")) : null,
    ...values.map((w) => valueField(app, node, w)),
    sockets.length ? h("h3", {}, t("inspector.inputs")) : null,
    ...sockets.map(({ input, slot }) => connection(app, node, input, slot)),
    node.outputs.length ? h("h3", {}, t("inspector.outputs")) : null,
    ...node.outputs.map((o) => h("div", { class: "output" }, h("span", {}, String(o.label ?? o.name)), h("span", { class: "small quiet" }, `${String(o.type)} → ${o.links?.length ?? 0}`))),
  ]
}

/** Where an input comes from: a choice of every output in this graph that fits. */
function connection(app: App, node: LGraphNode, input: any, slot: number): HTMLElement {
  const graph = node.graph!
  const link = input.link != null ? graph.getLink(Number(input.link)) : undefined
  const current = link ? `${link.origin_id}.${link.origin_slot}` : ""
  const options = graph.nodes
    .filter((n) => n !== node)
    .flatMap((n) => n.outputs.map((output, i) => ({ node: n, output, slot: i })))
    .filter(({ output }) => typesMatch(output.type, input.type))
  const select = h(
    "select",
    { class: "wide" },
    h("option", { value: "" }, t("inspector.none")),
    ...options.map((o) => h("option", { value: `${o.node.id}.${o.slot}` }, `${o.node.title} #${o.node.id} · ${o.output.label ?? o.output.name}`)),
  )
  select.value = current
  select.addEventListener("change", () =>
    step(app, () => {
      const chosen = options.find((o) => `${o.node.id}.${o.slot}` === select.value)
      if (chosen) chosen.node.connect(chosen.slot, node, slot)
      else node.disconnectInput(slot)
    }),
  )
  const bad = nodeState(node).badInputs.has(input.name)
  return h("label", { class: bad ? "field bad" : "field" }, h("span", {}, String(input.label ?? input.name), h("span", { class: "small quiet" }, ` ${Array.isArray(input.type) ? "COMBO" : input.type}`)), select)
}
