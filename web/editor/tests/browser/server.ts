// Starts the real server, from the binary that cargo built, on a folder of its own with the demo model.

import { type ChildProcess, spawn } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const root = new URL("../../../../", import.meta.url).pathname
export const binary = process.env.EBB_BIN ?? join(root, "target/release/ebb")
export const available = existsSync(binary)

export interface Server {
  url: string
  stop(): void
}

export async function startServer(): Promise<Server> {
  const base = mkdtempSync(join(tmpdir(), "ebb-editor-"))
  symlinkSync(join(root, "models"), join(base, "models"))
  if (existsSync(join(root, "input"))) cpSync(join(root, "input"), join(base, "input"), { recursive: true })
  // EBB_FRONT_END: a bundle to serve in place of the one in the binary, so that a change of the page needs no cargo build.
  const page = process.env.EBB_FRONT_END ? ["--front-end", process.env.EBB_FRONT_END] : []
  const child: ChildProcess = spawn(binary, ["serve", "--port", "0", "--base-directory", base, ...page], { stdio: ["ignore", "pipe", "pipe"] })
  let log = ""
  child.stderr!.on("data", (d) => (log += d))
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout!.on("data", (d) => {
      const found = /http:\/\/\S+/.exec(String(d))
      if (found) resolve(found[0])
    })
    child.on("exit", (code) => reject(new Error(`ebb serve ended with ${code}: ${log}`)))
  })
  return {
    url,
    stop() {
      child.removeAllListeners("exit")
      child.kill("SIGTERM")
      child.on("exit", () => rmSync(base, { recursive: true, force: true }))
    },
  }
}
