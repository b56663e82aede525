/** What tests use of the mock. */
export function startMock(options?: { port?: number; stepMs?: number; dist?: string }): Promise<{
  url: string
  engine: { history: Map<string, any>; pending: any[]; running: any; cache: Map<string, any>; stepMs: number }
  v1: any
  userdata: Map<string, Buffer>
  schemas: Record<string, any>
  close(): Promise<void>
}>
export function loadSchemas(): Record<string, any>
