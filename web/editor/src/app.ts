// What every part of the page may ask for.

import type { Api } from "./api/client.ts"
import type { Editor } from "./graph/editor.ts"
import type { Runs } from "./run/runs.ts"
import type { Shell } from "./ui/shell.ts"

export interface App {
  api: Api
  editor: Editor
  runs: Runs
  shell: Shell
}
