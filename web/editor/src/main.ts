// Puts the page together: read the nodes, show the canvas, connect, open what was open.

import "@comfyorg/litegraph/style.css"
import "./styles/index.css"
import { Api } from "./api/client.ts"
import { Socket } from "./api/socket.ts"
import type { App } from "./app.ts"
import { toPrompt } from "./export/index.ts"
import { unpack } from "./graph/commands.ts"
import { ownContextMenu } from "./graph/context-menu.ts"
import { systemDoubleClick } from "./graph/double-click.ts"
import { Editor } from "./graph/editor.ts"
import { setHost } from "./graph/host.ts"
import { showInputPictures } from "./graph/input-pictures.ts"
import { addMinimap } from "./graph/minimap.ts"
import { nodeState } from "./graph/node-state.ts"
import { searchOnCanvas } from "./graph/search.ts"
import { startLanguage, t } from "./i18n/index.ts"
import { describeCanvas } from "./a11y/describe.ts"
import { keepDraft, restoreDraft } from "./io/draft.ts"
import { Files } from "./io/files.ts"
import { allPanels } from "./panels/index.ts"
import { queueAction } from "./run/action.ts"
import { showRunsOnNodes } from "./run/on-nodes.ts"
import { Runs } from "./run/runs.ts"
import { buildBar } from "./ui/bar.ts"
import { fill, h } from "./ui/dom.ts"
import { emptyState } from "./ui/empty.ts"
import { listenForKeys } from "./ui/keys.ts"
import { Shell } from "./ui/shell.ts"
import { applyTheme, currentTheme, patchNodeColors } from "./ui/theme.ts"
import { toast } from "./ui/toast.ts"

async function start(): Promise<void> {
  startLanguage()
  const root = document.getElementById("app")!
  fill(root, h("p", { class: "loading", role: "status" }, t("app.loading")))
  const api = new Api()
  // While the nodes are read, it agrees with other tabs on who it is.
  const socket = new Socket(api)
  const schemas = await withRetries(() => api.objectInfo(), root)

  const shell = new Shell()
  shell.mount(root)
  const editor = new Editor(shell.canvas)
  editor.useSchemas(schemas)
  const runs = new Runs(api, socket)
  const app: App = { api, editor, runs, shell }

  setHost({
    upload: (file) => api.upload(file),
    imageUrl: (name) => api.view({ filename: name, type: "input" }),
    filesChanged: () => void api.objectInfo().then((fresh) => editor.refreshSchemas(fresh)),
    warn: (message) => toast(message, { kind: "error" }),
    changed: () => editor.touch(),
  })
  patchNodeColors()
  applyTheme(editor.canvas, currentTheme())
  const files = new Files(app)
  const queue = queueAction(app)
  buildBar(app, files, queue)
  shell.add(...allPanels(app, files))
  ownContextMenu(app)
  systemDoubleClick(app)
  searchOnCanvas(app)
  const showOldResults = showRunsOnNodes(editor, runs, api)
  showInputPictures(editor, api)
  listenForKeys(app, files, queue)
  addMinimap(app)
  describeCanvas(app)
  emptyState(app, files)
  editor.on("loaded", ({ unknown }) => {
    if (unknown.length) toast(t("file.unknownNodes", { count: unknown.length, names: unknown.slice(0, 5).join(", ") }))
  })
  shell.restore()
  // Sizes of panels and canvas settle first, so that the view that is restored is the view that was.
  requestAnimationFrame(() => {
    // Opening a workflow forgets the results of the one before, so these come after it.
    if (restoreDraft(editor)) showOldResults()
    keepDraft(editor)
    watchConnection(app)
    runs.socket.start()
    shell.canvas.focus()
    document.documentElement.dataset.ready = "true"
  })
  // For tests, and for people who look inside with the browser's own tools.
  const exportPrompt = () => toPrompt(editor.current(), editor.schemas)
  Object.assign(window, { ebb: { ...app, nodeState, exportPrompt, unpack: (id: number) => unpack(app, editor.canvas.graph!.getNodeById(id)!) } })
}

async function withRetries<T>(action: () => Promise<T>, root: HTMLElement): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action()
    } catch {
      fill(root, h("p", { class: "loading", role: "alert" }, t("app.offline")))
      await new Promise((resolve) => setTimeout(resolve, Math.min(5000, 500 * 2 ** attempt)))
    }
  }
}

function watchConnection(app: App): void {
  let lost = false
  app.runs.on("connection", ({ open }) => {
    if (!open && !lost) toast(t("app.offline"), { kind: "error" })
    if (open && lost) toast(t("app.reconnected"))
    lost = !open
  })
}

void start()
