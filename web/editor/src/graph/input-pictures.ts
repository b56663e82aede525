// The picture a loader has chosen, shown on it before anything runs.

import type { LGraphNode } from "@comfyorg/litegraph"
import type { Api } from "../api/client.ts"
import type { ImageRef } from "../api/types.ts"
import { inputsOf, uploadKind } from "../schema/inputs.ts"
import type { NodeInfo } from "../schema/types.ts"
import { makeRoom } from "../run/on-nodes.ts"
import type { Editor } from "./editor.ts"
import { nodeState } from "./node-state.ts"

/** `folder/name.png [output]`: a name may say which of the server's folders it lies in. */
export function imageRef(value: string): ImageRef {
  const match = /^(.*?)(?: \[(input|output|temp)\])?$/.exec(value)!
  const path = match[1]!
  const cut = path.lastIndexOf("/")
  return { filename: path.slice(cut + 1), subfolder: cut < 0 ? "" : path.slice(0, cut), type: match[2] ?? "input" }
}

export function showInputPictures(editor: Editor, api: Api): void {
  const shown = new WeakMap<LGraphNode, string>()
  const update = () => {
    for (const node of editor.canvas.graph?.nodes ?? []) {
      const name = pictureInput(node)
      const value = name ? node.widgets?.find((w) => w.name === name)?.value : undefined
      if (typeof value !== "string" || !value || shown.get(node) === value) continue
      shown.set(node, value)
      const picture = new Image()
      picture.onload = () => {
        nodeState(node).images = [picture]
        makeRoom(editor, node)
        editor.canvas.setDirty(true, true)
      }
      picture.src = api.view(imageRef(value))
    }
  }
  editor.on("changed", update)
  editor.on("view", update)
}

function pictureInput(node: LGraphNode): string | undefined {
  const info = (node.constructor as { nodeInfo?: NodeInfo }).nodeInfo
  return info && inputsOf(info).find((d) => uploadKind(d) === "image")?.name
}
