import { defineConfig, type Plugin } from "vite"

// The server the development page talks to: Ebb, ComfyUI or the mock.
const server = process.env.EBB_SERVER ?? "http://127.0.0.1:8188"

/**
 * The canvas library computes sums typed into number fields with eval. The editor does that with a parser of its own
 * (`src/widgets/arithmetic.ts`), so the one call goes, and with it the last need for `unsafe-eval`.
 */
function withoutEval(): Plugin {
  return {
    name: "without-eval",
    transform(code, id) {
      if (!id.includes("litegraph")) return null
      const cleaned = code.replace(/\bv = eval\(v\);/, "")
      if (/\beval\(|new Function\(/.test(cleaned)) this.error("the canvas library calls eval in a new place; see vite.config.ts")
      return { code: cleaned, map: null }
    },
  }
}

export default defineConfig({
  base: "./",
  plugins: [withoutEval()],
  build: { target: "es2022", sourcemap: false, assetsInlineLimit: 0, chunkSizeWarningLimit: 1500, modulePreload: { polyfill: false } },
  server: { proxy: { "/api": { target: server, ws: true }, "/v1": server } },
})
