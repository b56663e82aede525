import { defineConfig } from "vitest/config"

// Browser tests share one Chromium and one server: they run one after another.
export default defineConfig({
  test: { include: ["tests/browser/**/*.test.ts"], environment: "node", testTimeout: 60_000, hookTimeout: 120_000, fileParallelism: false },
})
