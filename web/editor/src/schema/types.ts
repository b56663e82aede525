// `/object_info` as servers send it.

export type InputSpec = [type: string | unknown[], options?: InputOptions]

export interface InputOptions {
  default?: unknown
  min?: number
  max?: number
  step?: number
  round?: number | false
  multiline?: boolean
  dynamicPrompts?: boolean
  placeholder?: string
  tooltip?: string
  forceInput?: boolean
  defaultInput?: boolean
  socketless?: boolean
  display?: string
  control_after_generate?: boolean | string
  image_upload?: boolean
  audio_upload?: boolean
  video_upload?: boolean
  file_upload?: boolean
  image_folder?: string
  options?: unknown[]
  label_on?: string
  label_off?: string
  advanced?: boolean
  hidden?: boolean
  [key: string]: unknown
}

export interface NodeInfo {
  input?: { required?: Record<string, InputSpec>; optional?: Record<string, InputSpec>; hidden?: Record<string, unknown> }
  input_order?: { required?: string[]; optional?: string[] }
  output?: (string | unknown[])[]
  output_is_list?: boolean[]
  output_name?: string[]
  output_tooltips?: (string | null)[]
  name: string
  display_name?: string
  description?: string
  python_module?: string
  category?: string
  output_node?: boolean
  deprecated?: boolean
  experimental?: boolean
  api_node?: boolean
}

export type ObjectInfo = Record<string, NodeInfo>
