// From a dropped or chosen file to a workflow.

import { parseJson } from "../doc/json.ts"
import { isApiPrompt, isWorkflow, type Workflow } from "../doc/types.ts"
import type { ObjectInfo } from "../schema/types.ts"
import { workflowFromApi } from "./api-import.ts"
import { readTexts } from "./png.ts"

export async function workflowFromFile(file: File, schemas: ObjectInfo): Promise<Workflow | null> {
  if (file.type.startsWith("image/") || /\.(png|webp)$/i.test(file.name)) {
    const texts = await readTexts(await file.arrayBuffer())
    return workflowFromTexts(texts, schemas)
  }
  return workflowFromText(await file.text(), schemas)
}

/** A picture's own workflow if it holds one, else the prompt that made it, laid out. */
export function workflowFromTexts(texts: Record<string, string>, schemas: ObjectInfo): Workflow | null {
  return (texts.workflow && workflowFromText(texts.workflow, schemas)) || (texts.prompt && workflowFromText(texts.prompt, schemas)) || null
}

export function workflowFromText(text: string, schemas: ObjectInfo): Workflow | null {
  let value: unknown
  try {
    // Some nodes write NaN, which is no JSON.
    value = parseJson(text.replace(/\bNaN\b/g, "null"))
  } catch {
    return null
  }
  return workflowFromJson(value, schemas)
}

export function workflowFromJson(value: unknown, schemas: ObjectInfo): Workflow | null {
  if (isWorkflow(value)) return value
  if (isApiPrompt(value)) return workflowFromApi(value, schemas)
  // Templates and histories wrap it.
  const inner = (value as { workflow?: unknown; prompt?: unknown } | null)?.workflow ?? (value as { prompt?: unknown } | null)?.prompt
  return inner && inner !== value ? workflowFromJson(inner, schemas) : null
}
