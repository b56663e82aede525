// Subgraphs on the file: making one and unpacking it again leaves a workflow that runs the same.

import { readdirSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { demoWorkflow } from "../../dev/demo-workflow.mjs"
import { makeSubgraph } from "../../src/doc/subgraph-make.ts"
import { unpackSubgraph } from "../../src/doc/subgraph-unpack.ts"
import type { Workflow } from "../../src/doc/types.ts"
import { type Prompt, toPrompt } from "../../src/export/index.ts"

const kit = new URL("../../../../tests/conformance/", import.meta.url).pathname
const schemas = JSON.parse(readFileSync(`${kit}object_info.core.json`, "utf8"))

/** What a prompt computes, without its ids: each node written out with everything that feeds it. */
function meaning(prompt: Prompt): string[] {
  const known = new Map<string, string>()
  const write = (id: string): string => {
    const seen = known.get(id)
    if (seen) return seen
    const { class_type, inputs } = prompt[id]!
    const text = `${class_type}(${Object.keys(inputs).sort().map((k) => {
      const v = inputs[k]
      return `${k}=${Array.isArray(v) && typeof v[0] === "string" && v[0] in prompt ? `${write(v[0])}.${v[1]}` : JSON.stringify(v)}`
    }).join(",")})`
    known.set(id, text)
    return text
  }
  return Object.keys(prompt).map(write).sort()
}

const exported = (w: Workflow) => toPrompt(w, schemas, { random: () => 0 })

describe("making and unpacking subgraphs", () => {
  it("keeps the meaning, for every pair of nodes of the demo", () => {
    const workflow = demoWorkflow() as unknown as Workflow
    const before = meaning(exported(workflow))
    const ids = workflow.nodes.map((n) => n.id)
    for (const a of ids) {
      for (const b of ids) {
        if (a >= b) continue
        const made = makeSubgraph(workflow, [], [a, b], "S")
        expect(meaning(exported(made)), `${a} and ${b}`).toEqual(before)
        const instance = made.nodes.at(-1)!
        const back = unpackSubgraph(made, [], instance.id)
        expect(meaning(exported(back)), `${a} and ${b}, unpacked`).toEqual(before)
        expect(back.definitions).toBeUndefined()
        expect(back.nodes).toHaveLength(workflow.nodes.length)
      }
    }
  })

  it("works inside a subgraph, too", () => {
    const workflow = demoWorkflow() as unknown as Workflow
    const outer = makeSubgraph(workflow, [], [3, 8, 5], "outer")
    const instance = String(outer.nodes.at(-1)!.id)
    const nested = makeSubgraph(outer, [instance], [3, 8], "inner")
    expect(nested.definitions!.subgraphs).toHaveLength(2)
    expect(meaning(exported(nested))).toEqual(meaning(exported(workflow)))
    const back = unpackSubgraph(nested, [], instance)
    expect(meaning(exported(back))).toEqual(meaning(exported(workflow)))
  })

  const templates = readdirSync(`${kit}ui2api`).filter((f) => f.startsWith("tpl_") && f.endsWith(".ui.json"))
  it.each(templates)("keeps the meaning of %s when all of its root is wrapped", (file) => {
    const workflow: Workflow = JSON.parse(readFileSync(`${kit}ui2api/${file}`, "utf8"))
    const off = workflow.nodes.some((n) => n.mode === 4 || n.mode === 2)
    const ids = workflow.nodes.filter((n) => !/Note/.test(n.type)).map((n) => n.id)
    const made = makeSubgraph(workflow, [], ids, "all")
    // Nodes inside instances that are off are emitted by the reference once they are nested (see `emitScope`), so only what runs compares.
    const outputs = (w: Workflow) => meaning(exported(w)).filter((m) => schemas[m.split("(")[0]!]?.output_node)
    expect(off ? outputs(made) : meaning(exported(made))).toEqual(off ? outputs(workflow) : meaning(exported(workflow)))
  })
})
