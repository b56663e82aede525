// What a press of the other mouse button offers, in the page's own words.

import { LGraphCanvas, type LGraphNode } from "@comfyorg/litegraph"
import type { App } from "../app.ts"
import { Mode } from "../doc/types.ts"
import { type StringKey, t } from "../i18n/index.ts"
import { type MenuItem, openMenu } from "../ui/menu.ts"
import { openField } from "../widgets/field.ts"
import { screenRect } from "../widgets/place.ts"
import { copySelected, pasteNodes } from "./clipboard.ts"
import { addGroup, addNode, align, convertToSubgraph, deleteSelected, renameNode, selectedNodes, setColor, setMode, step, toggleCollapse, togglePin, unpack, viewCenter } from "./commands.ts"
import { nodeState } from "./node-state.ts"
import { openSearch } from "./search.ts"

type PointerLike = { clientX: number; clientY: number; canvasX: number; canvasY: number }

export function ownContextMenu(app: App): void {
  const { canvas } = app.editor
  canvas.canvas.addEventListener("litegraph:canvas", (event) => doubleClicked(app, (event as CustomEvent).detail))
  canvas.showLinkMenu = (segment: any, event: any) => {
    const at = { x: event.clientX, y: event.clientY }
    const { graph } = canvas
    const link = graph?.links.get(segment.id)
    openMenu(
      [
        { label: t("slot.addReroute"), run: () => step(app, () => graph!.createReroute([event.canvasX, event.canvasY], segment)) },
        { label: t("link.delete"), run: () => step(app, () => (link ? graph!.removeLink(link.id) : graph!.removeReroute(segment.id))) },
      ],
      at,
      t("link.delete"),
    )
    return false
  }
  canvas.processContextMenu = (node: LGraphNode | undefined, event: any) => showMenu(app, node ?? null, event)
}

interface DoubleClick {
  subType: string
  node?: LGraphNode
  group?: { title: string }
  originalEvent?: PointerLike
}

/** Into a subgraph, or a new name for what was clicked. */
function doubleClicked(app: App, { subType, node, group, originalEvent: e }: DoubleClick): void {
  if (!e) return
  const at = { x: e.clientX, y: e.clientY }
  if (subType === "group-double-click" && group) openField(t("inspector.title"), group.title, at, (text) => step(app, () => (group.title = text)))
  if (subType !== "node-double-click" || !node) return
  if (node.isSubgraphNode()) app.editor.enter(node)
  else if (e.canvasY < node.pos[1]) renameNode(app, node, at)
}

/** The menu of what is selected, else of the canvas: for the keyboard's own menu key. */
export function menuOfSelection(app: App): void {
  const { canvas } = app.editor
  const [node] = selectedNodes(canvas)
  if (node) {
    const { x, y } = screenRect(canvas, node, 0, 0, 0, 0)
    const at = { x, y }
    return openMenu(nodeMenu(app, node, at), at, node.title)
  }
  const rect = canvas.canvas.getBoundingClientRect()
  const at = { x: rect.x + rect.width / 2, y: rect.y + rect.height / 3 }
  openMenu(canvasMenu(app, at, viewCenter(canvas)), at, t("menu.edit"))
}

function showMenu(app: App, node: LGraphNode | null, event: PointerLike): void {
  const at = { x: event.clientX, y: event.clientY }
  const slot = node?.getSlotInPosition(event.canvasX, event.canvasY)
  const items = node && slot ? slotMenu(app, node, slot) : node ? nodeMenu(app, node, at) : canvasMenu(app, at, [event.canvasX, event.canvasY])
  openMenu(items, at, node?.title ?? t("menu.edit"))
}

export function nodeMenu(app: App, node: LGraphNode, at: { x: number; y: number }): (MenuItem | null)[] {
  const { canvas } = app.editor
  if (!canvas.selectedItems.has(node)) canvas.selectItems([node])
  const many = selectedNodes(canvas).length > 1
  return [
    node.isSubgraphNode() ? { label: t("subgraph.enter"), run: () => app.editor.enter(node) } : null,
    node.isSubgraphNode() ? { label: t("subgraph.unpack"), run: () => unpack(app, node) } : null,
    ...(node.isSubgraphNode() ? [null] : []),
    { label: t("node.rename"), run: () => renameNode(app, node, at) },
    { label: t("node.color"), submenu: colors(app) },
    { label: t("node.collapse"), keys: "Alt+C", run: () => toggleCollapse(app), checked: Boolean(node.flags.collapsed) },
    { label: t("node.pin"), keys: "P", run: () => togglePin(app), checked: Boolean(node.pinned) },
    { label: t("node.mute"), keys: "Ctrl+M", run: () => setMode(app, Mode.muted), checked: node.mode === Mode.muted },
    { label: t("node.bypass"), keys: "Ctrl+B", run: () => setMode(app, Mode.bypassed), checked: (node.mode as number) === Mode.bypassed },
    null,
    many ? { label: t("node.align"), submenu: alignments(app) } : null,
    { label: t("group.make"), keys: "Ctrl+G", run: () => addGroup(app) },
    { label: t("subgraph.make"), keys: "Ctrl+Shift+E", run: () => convertToSubgraph(app) },
    null,
    ...imageItems(node),
    { label: t("node.clone"), run: () => duplicate(app) },
    { label: t("edit.copy"), keys: "Ctrl+C", run: () => copySelected(canvas) },
    { label: t("edit.delete"), keys: "Del", run: () => deleteSelected(app) },
  ].filter((item, i, all) => item !== null || (i > 0 && all[i - 1] !== null)) as (MenuItem | null)[]
}

function duplicate(app: App): void {
  const { canvas } = app.editor
  const [first] = selectedNodes(canvas)
  if (!first) return
  canvas.copyToClipboard()
  canvas.pasteFromClipboard({ position: [first.pos[0] + 40, first.pos[1] + 40] })
  app.editor.record()
}

function imageItems(node: LGraphNode): MenuItem[] {
  const images = nodeState(node).images
  if (!images.length) return []
  return [{ label: t("gallery.download"), run: () => window.open(images[nodeState(node).imageIndex ?? 0]!.src, "_blank", "noopener") }]
}

function colors(app: App): MenuItem[] {
  return [
    { label: t("node.colorNone"), run: () => setColor(app, null) },
    ...Object.entries(LGraphCanvas.node_colors).map(([name, option]) => ({ label: t(`color.${name}` as StringKey), swatch: option.bgcolor, run: () => setColor(app, name) })),
  ]
}

export function alignments(app: App): MenuItem[] {
  const kinds = ["left", "right", "top", "bottom", "columns", "rows", "spread", "arrange"] as const
  return kinds.map((kind) => ({ label: t(`align.${kind}`), run: () => align(app, kind) }))
}

function slotMenu(app: App, node: LGraphNode, found: { input?: any; output?: any; slot: number }): MenuItem[] {
  const linked = found.input ? found.input.link != null : Boolean(found.output.links?.length)
  return [
    { label: t("slot.disconnect"), disabled: !linked, run: () => step(app, () => (found.input ? node.disconnectInput(found.slot) : node.disconnectOutput(found.slot))) },
  ]
}

function canvasMenu(app: App, screen: { x: number; y: number }, at: [number, number]): (MenuItem | null)[] {
  const { canvas } = app.editor
  const reroute = canvas.graph!.getRerouteOnPos(at[0], at[1])
  const group = canvas.graph!.getGroupOnPos(at[0], at[1])
  const items: (MenuItem | null)[] = [
    { label: t("canvas.addNode"), run: () => openSearch(app, screen, at) },
    { label: t("note.make"), run: () => addNode(app, "Note", at) },
    { label: t("group.make"), keys: "Ctrl+G", run: () => addGroup(app) },
    null,
    { label: t("edit.paste"), keys: "Ctrl+V", run: () => step(app, () => pasteNodes(canvas, at)) },
    { label: t("edit.selectAll"), keys: "Ctrl+A", run: () => canvas.selectItems() },
    { label: t("align.arrange"), run: () => align(app, "arrange") },
    { label: t("view.fit"), keys: ".", run: () => app.editor.fit() },
  ]
  if (reroute) items.unshift({ label: t("link.delete"), run: () => step(app, () => canvas.graph!.removeReroute(reroute.id)) }, null)
  if (group) {
    items.push(
      null,
      { label: t("node.rename"), run: () => openField(t("inspector.title"), group.title, screen, (text) => step(app, () => (group.title = text))) },
      { label: t("node.color"), submenu: Object.entries(LGraphCanvas.node_colors).map(([name, option]) => ({ label: t(`color.${name}` as StringKey), swatch: option.groupcolor, run: () => step(app, () => group.setColorOption(option)) })) },
      { label: t("group.fit"), run: () => step(app, () => (group.recomputeInsideNodes(), group.resizeTo(group.children, 24))) },
      { label: t("edit.delete"), run: () => step(app, () => canvas.graph!.remove(group)) },
    )
  }
  if (app.editor.path.length) items.unshift({ label: t("subgraph.leave", { name: t("subgraph.root") }), run: () => app.editor.leave(app.editor.path.length - 1) }, null)
  return items
}
