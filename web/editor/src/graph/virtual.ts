// Nodes that run nothing: notes, reroutes as nodes, primitives.

import { LGraphNode, LiteGraph } from "@comfyorg/litegraph"
import { MultilineWidget } from "../widgets/text.ts"
import { IGNORE, numberOptions } from "../widgets/create.ts"
import { inputsOf } from "../schema/inputs.ts"
import { CONTROL_MODES } from "../widgets/control.ts"
import { t } from "../i18n/index.ts"

class NoteNode extends LGraphNode {
  static override title = "Note"
  static override category = "utils"
  constructor(title: string) {
    super(title, "Note")
    this.isVirtualNode = true
    this.serialize_widgets = true
    this.color = "#432"
    this.bgcolor = "#653"
    this.addCustomWidget(new MultilineWidget({ name: "text", type: "custom", value: "", options: { placeholder: "…" }, y: 0 } as any, this) as any)
    this.setSize([210, 120])
  }
}

class MarkdownNoteNode extends NoteNode {
  static override title = "Markdown Note"
}

/** A knee in a link, as a node: the older of the two kinds, kept for the files that have it. */
class RerouteNode extends LGraphNode {
  static override title = "Reroute"
  static override category = "utils"
  static title_mode = 1
  static collapsable = false
  constructor(title: string) {
    super(title, "Reroute")
    this.isVirtualNode = true
    this.addInput("", "*" as any)
    this.addOutput("", "*" as any)
    this.setSize([75, 26])
    this.resizable = false
  }
  override computeSize(): [number, number] {
    return [75, 26]
  }
  /** It takes on the type of what flows through it. */
  override onConnectionsChange = () => {
    const link = this.inputs[0]?.link
    const origin = link != null ? this.graph?.getLink(link) : undefined
    const source = origin ? this.graph?.getNodeById(origin.origin_id) : null
    const type = source?.outputs[origin!.origin_slot]?.type ?? "*"
    if (this.outputs[0]) this.outputs[0].type = type
  }
}

/** A value of its own that is written into every widget it is connected to; its type is that of the first. */
class PrimitiveNode extends LGraphNode {
  static override title = "Primitive"
  static override category = "utils"
  private stored: any[] | undefined
  constructor(title: string) {
    super(title, "PrimitiveNode")
    this.isVirtualNode = true
    this.serialize_widgets = true
    this.addOutput("connect to widget input", "*" as any)
    this.setSize([210, 82])
  }
  override configure(data: any): void {
    this.stored = data.widgets_values
    super.configure(data)
    this.adopt()
  }
  override onConnectionsChange = () => this.adopt()
  override onAdded = () => queueMicrotask(() => this.adopt())

  override serialize(): any {
    const data: any = super.serialize()
    // Before its target is there, the widget is not either: what the file said stands.
    if (!this.widgets?.length && this.stored) data.widgets_values = this.stored
    return data
  }

  private adopt(): void {
    const linkId = this.outputs[0]?.links?.[0]
    const link = linkId != null ? this.graph?.getLink(linkId) : undefined
    const target = link ? this.graph?.getNodeById(link.target_id) : null
    const name = target?.inputs[link!.target_slot]?.widget?.name
    const info = (target?.constructor as any)?.nodeInfo
    const decl = info && name ? inputsOf(info).find((d) => d.name === name) : undefined
    if (!decl || this.widgets?.length) return
    const value = this.stored?.[0] ?? target!.widgets?.find((w) => w.name === name)?.value
    const type = decl.kind === "int" || decl.kind === "float" ? "number" : decl.kind === "combo" ? "combo" : decl.kind === "boolean" ? "toggle" : "text"
    const options = type === "number" ? numberOptions(decl) : type === "combo" ? { values: decl.values } : {}
    const widget: any = this.addWidget(type as any, "value", value as any, IGNORE, options as any)
    if (type === "number" || type === "combo") {
      const control: any = this.addWidget("combo", "control_after_generate", this.stored?.[1] ?? "fixed", IGNORE, { values: [...CONTROL_MODES] as string[] })
      control.label = t("widget.control")
      widget.linkedWidgets = [control]
    }
    this.outputs[0]!.type = decl.type as any
    this.outputs[0]!.name = decl.name
  }
}

export function registerVirtualNodes(): void {
  LiteGraph.registerNodeType("Note", NoteNode)
  LiteGraph.registerNodeType("MarkdownNote", MarkdownNoteNode)
  LiteGraph.registerNodeType("Reroute", RerouteNode)
  LiteGraph.registerNodeType("PrimitiveNode", PrimitiveNode)
}
