// The panels, in the order of the rail.

import type { App } from "../app.ts"
import type { Files } from "../io/files.ts"
import type { Panel } from "../ui/shell.ts"
import { galleryPanel } from "./gallery.ts"
import { inspectorPanel } from "./inspector.ts"
import { memoryPanel } from "./memory.ts"
import { modelsPanel } from "./models.ts"
import { nodesPanel } from "./nodes.ts"
import { outlinePanel } from "./outline.ts"
import { planPanel } from "./plan.ts"
import { queuePanel } from "./queue.ts"
import { sweepPanel } from "./sweep.ts"
import { templatesPanel } from "./templates.ts"
import { workflowsPanel } from "./workflows.ts"

export function allPanels(app: App, files: Files): Panel[] {
  return [nodesPanel(app), modelsPanel(app), templatesPanel(app, files), workflowsPanel(app, files), queuePanel(app, files), galleryPanel(app, files), outlinePanel(app), inspectorPanel(app), planPanel(app), memoryPanel(app), sweepPanel(app, files)]
}
