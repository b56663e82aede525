export function demoWorkflow(): { nodes: { id: number; type: string; widgets_values: unknown[]; [key: string]: unknown }[]; [key: string]: unknown }
