export interface Server {
  url: string
  base: string
  kill(): Promise<void>
  again(): Promise<string>
  stop(): Promise<void>
}
export const root: string
export const binary: string
export function startServer(args?: string[]): Promise<Server>
