// The panels, in the order of the rail.

import type { App } from "../app.ts"
import type { Files } from "../io/files.ts"
import type { Panel } from "../ui/shell.ts"
import { galleryPanel } from "./gallery.ts"
import { inspectorPanel } from "./inspector.ts"
import { nodesPanel } from "./nodes.ts"
import { outlinePanel } from "./outline.ts"
import { queuePanel } from "./queue.ts"
import { templatesPanel } from "./templates.ts"
import { workflowsPanel } from "./workflows.ts"

export function allPanels(app: App, files: Files): Panel[] {
  return [nodesPanel(app), templatesPanel(app, files), workflowsPanel(app, files), queuePanel(app, files), galleryPanel(app, files), outlinePanel(app), inspectorPanel(app)]
}
