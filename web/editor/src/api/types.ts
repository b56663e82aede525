// What ComfyUI's protocol sends.

export interface ImageRef {
  filename: string
  subfolder?: string
  type?: string
}

export interface NodeError {
  type: string
  message: string
  details: string
  extra_info?: { input_name?: string; received_value?: unknown; input_config?: unknown[]; received_type?: string; linked_node?: unknown[] }
}

export interface NodeErrors {
  [nodeId: string]: { errors: NodeError[]; dependent_outputs: string[]; class_type: string }
}

export interface PromptAnswer {
  prompt_id: string
  number: number
  node_errors: NodeErrors
}

export interface PromptFailure {
  error?: { type: string; message: string; details: string } | string
  node_errors?: NodeErrors
}

export type ApiPrompt = Record<string, { class_type?: string; inputs: Record<string, unknown>; _meta?: { title?: string } }>

/** `[number, id, prompt, extra data, outputs]`. */
export type QueueItem = [number, string, ApiPrompt, Record<string, any>, string[]]

export interface QueueState {
  queue_running: QueueItem[]
  queue_pending: QueueItem[]
}

export interface HistoryEntry {
  prompt: QueueItem
  outputs: Record<string, NodeOutput>
  status: { status_str: string; completed: boolean; messages: [string, Record<string, any>][] }
}

export interface NodeOutput {
  images?: ImageRef[]
  text?: string[]
  [key: string]: unknown
}

export interface UserFile {
  path: string
  size: number
  modified: number
}

/** Frames of the websocket the editor acts on. */
export interface Frames {
  status: { status: { exec_info: { queue_remaining: number } }; sid?: string }
  execution_start: { prompt_id: string; timestamp: number }
  execution_cached: { prompt_id: string; nodes: string[] }
  executing: { node: string | null; display_node?: string; prompt_id?: string }
  executed: { node: string; display_node?: string; output: NodeOutput | null; prompt_id: string }
  progress: { value: number; max: number; prompt_id: string; node: string }
  progress_state: { prompt_id: string; nodes: Record<string, { value: number; max: number; state: string; display_node_id?: string }> }
  execution_error: { prompt_id: string; node_id: string; node_type: string; exception_message: string; exception_type: string; traceback?: string[] }
  execution_interrupted: { prompt_id: string; node_id: string }
  execution_success: { prompt_id: string }
  preview: { node: string | null; prompt_id: string | null; image: Blob }
  open: undefined
  closed: undefined
}
