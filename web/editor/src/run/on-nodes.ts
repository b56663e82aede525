// Shows a run on the graph: which node works, how far, its preview, its results, its error.

import type { LGraphNode } from "@comfyorg/litegraph"
import type { Api } from "../api/client.ts"
import type { NodeOutput } from "../api/types.ts"
import type { Editor } from "../graph/editor.ts"
import { contentBottom, nodeState, PICTURE_HEIGHT } from "../graph/node-state.ts"
import { showProblems } from "./errors.ts"
import { Remembered } from "./remembered.ts"
import type { Run, Runs } from "./runs.ts"

/** Answers what shows again, after a reload, the results of before. */
export function showRunsOnNodes(editor: Editor, runs: Runs, api: Api): () => void {
  /** Results by execution id: they outlive an undo, which makes the nodes anew. */
  const outputs = new Remembered()

  const clearProgress = () => {
    for (const graph of [editor.graph, ...editor.graph.subgraphs.values()]) {
      for (const node of graph.nodes) {
        nodeState(node).running = false
        node.progress = undefined
      }
    }
  }
  const draw = (run: Run) => {
    clearProgress()
    for (const [id, { value, max }] of run.progress) {
      const node = editor.nodeForExecution(id)
      if (node && max > 1 && value < max) node.progress = value / max
    }
    const node = run.current ? editor.nodeForExecution(run.current) : null
    if (node) nodeState(node).running = true
    editor.canvas.setDirty(true, true)
  }

  const apply = (id: string, output: NodeOutput) => {
    const node = editor.nodeForExecution(id)
    // An instance does not show what its inner nodes made; they do, when it is opened.
    if (!node || editor.executionId(node) !== id) return
    showOutput(editor, node, output, api)
  }

  // The last preview stays until there is a new one: a node that is cached and does not run would be left with a hole.
  runs.on("started", () => showProblems(editor, []))
  runs.on("progress", draw)
  runs.on("output", ({ node, output }) => {
    if (!output) return
    outputs.set(node, output)
    apply(node, output)
  })
  // Pictures are decoded beside each other, so a later one may be ready first; an earlier one must not replace it then.
  let arrived = 0
  let shown = 0
  runs.on("preview", ({ node, image }) => {
    const target = node ? editor.nodeForExecution(node) : null
    if (!target) return
    const turn = ++arrived
    void createImageBitmap(image).then((bitmap) => {
      if (turn < shown) return bitmap.close()
      shown = turn
      nodeState(target).preview?.close()
      nodeState(target).preview = bitmap
      makeRoom(editor, target)
      editor.canvas.setDirty(true, true)
    })
  })
  runs.on("finished", (run) => {
    clearProgress()
    if (run.failed?.node) showProblems(editor, [{ node: run.failed.node, input: null, text: run.failed.message }])
    editor.canvas.setDirty(true, true)
  })
  const again = () => {
    for (const [id, output] of outputs) apply(id, output)
    if (runs.current) draw(runs.current)
  }
  editor.on("changed", ({ structural }) => structural && again())
  editor.on("view", again)
  editor.on("loaded", () => outputs.clear())
  return () => {
    outputs.restore()
    again()
  }
}

function showOutput(editor: Editor, node: LGraphNode, output: NodeOutput, api: Api): void {
  const state = nodeState(node)
  state.preview?.close()
  state.preview = null
  if (Array.isArray(output.text)) state.text = output.text.join("\n")
  const images = output.images ?? []
  const urls = images.map((image) => api.view(image))
  if (urls.join() !== state.images.map((i) => i.src).join()) {
    state.imageIndex = null
    state.images = urls.map((url) => {
      const element = new Image()
      element.onload = () => editor.canvas.setDirty(true, true)
      element.src = url
      return element
    })
  }
  if (images.length || state.text) makeRoom(editor, node)
  editor.canvas.setDirty(true, true)
}

/** Grows a node so that its picture fits. This is the program's doing, so it is no step to undo and nothing to save. */
export function makeRoom(editor: Editor, node: LGraphNode): void {
  const needed = contentBottom(node) + PICTURE_HEIGHT
  if (node.size[1] >= needed - PICTURE_HEIGHT / 2 || node.flags.collapsed) return
  editor.absorb(() => node.setSize([node.size[0], needed]))
}
