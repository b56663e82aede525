// Starts the real server, from the binary that cargo built, on a folder of its own with the demo model.

import { spawn } from "node:child_process"
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../../../", import.meta.url))
export const binary = process.env.EBB_BIN ?? join(root, "target/release/ebb")

/** `args`: more of its command line. */
export async function startServer(args = []) {
  if (!existsSync(binary)) throw new Error(`${binary} is not there: build it with cargo build --release, or name another with EBB_BIN`)
  const base = mkdtempSync(join(tmpdir(), "ebb-editor-"))
  symlinkSync(join(root, "models"), join(base, "models"))
  if (existsSync(join(root, "input"))) cpSync(join(root, "input"), join(base, "input"), { recursive: true })
  // EBB_FRONT_END: a bundle to serve in place of the one in the binary, so that a change of the page needs no cargo build.
  const page = process.env.EBB_FRONT_END ? ["--front-end", process.env.EBB_FRONT_END] : []
  let child
  /** Port 0 lets the system choose; a server that is started again must come back where the page looks for it. */
  const start = async (port) => {
    child = spawn(binary, ["serve", "--port", String(port), "--base-directory", base, ...page, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    const own = child
    let log = ""
    own.stderr.on("data", (d) => (log += d))
    return new Promise((resolve, reject) => {
      own.stdout.on("data", (d) => {
        const found = /http:\/\/\S+/.exec(String(d))
        if (found) resolve(found[0])
      })
      own.on("exit", (code) => reject(new Error(`ebb serve ended with ${code}: ${log}`)))
    })
  }
  const end = (signal) =>
    new Promise((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve()
      child.on("exit", () => resolve())
      child.kill(signal)
    })
  const url = await start(0)
  return {
    url,
    base,
    /** As when the machine loses power. */
    kill: () => end("SIGKILL"),
    again: () => start(new URL(url).port),
    async stop() {
      await end("SIGTERM")
      rmSync(base, { recursive: true, force: true })
    },
  }
}
