// Legacy group nodes (`workflow>NAME` with `extra.groupNodes`) are read as subgraphs whose inner ids are indices.

import type { Definition, DocInput, DocNode, LinkObject, SubgraphSlot, Workflow } from "../doc/types.ts"
import { SUBGRAPH_INPUT, SUBGRAPH_OUTPUT } from "../doc/types.ts"
import { inputsOf, isWidget, valueSlots } from "../schema/inputs.ts"
import type { NodeInfo, ObjectInfo } from "../schema/types.ts"

interface GroupNode {
  nodes: DocNode[]
  links: [number | null, number | null, number, number, unknown?, unknown?][]
  external?: [number, number, unknown][]
}

const PREFIX = /^workflow[>/]/

/** The same workflow with every group node replaced by an instance of a definition. Unchanged where there is none. */
export function groupNodesAsSubgraphs(workflow: Workflow, schemas: ObjectInfo): Workflow {
  const groups = workflow.extra?.groupNodes as Record<string, GroupNode> | undefined
  if (!groups || !workflow.nodes.some((n) => PREFIX.test(n.type))) return workflow
  const definitions = [...(workflow.definitions?.subgraphs ?? [])]
  const nodes = workflow.nodes.map((node) => {
    const group = PREFIX.test(node.type) ? groups[node.type.replace(PREFIX, "")] : undefined
    if (!group) return node
    const id = `group-node:${node.id}`
    definitions.push(definitionOf(id, node, group, schemas))
    return { ...node, type: id, widgets_values: [] }
  })
  return { ...workflow, nodes, definitions: { ...workflow.definitions, subgraphs: definitions } }
}

function definitionOf(id: string, instance: DocNode, group: GroupNode, schemas: ObjectInfo): Definition {
  const links: LinkObject[] = []
  const nodes: DocNode[] = group.nodes.map((inner, index) => ({ ...inner, id: index, inputs: fullInputs(inner, schemas[inner.type]) }))
  const connect = (origin_id: number, origin_slot: number, target_id: number, target_slot: number, type: unknown) => {
    const link = { id: links.length + 1, origin_id, origin_slot, target_id, target_slot, type: type as string }
    links.push(link)
    return link.id
  }

  for (const [from, fromSlot, to, toSlot, , type] of group.links) {
    const input = from === null || to === null ? undefined : nodes[to]?.inputs?.[toSlot]
    if (input) input.link = connect(from!, fromSlot!, to!, toSlot, type ?? input.type)
  }

  // Whatever is still open shows on the instance, in order: inputs first by node and slot, then outputs.
  const inputs: SubgraphSlot[] = []
  nodes.forEach((node, index) =>
    node.inputs!.forEach((input, slot) => {
      const shown = instance.inputs?.[inputs.length]
      if (input.link != null || input.widget || !shown) return
      input.link = connect(SUBGRAPH_INPUT, inputs.length, index, slot, input.type)
      inputs.push({ name: shown.name, type: input.type, linkIds: [input.link] })
    }),
  )
  const outputs: SubgraphSlot[] = []
  const external = new Set((group.external ?? []).map(([n, s]) => `${n}.${s}`))
  nodes.forEach((node, index) =>
    (node.outputs ?? []).forEach((output, slot) => {
      const used = group.links.some(([from, fromSlot]) => from === index && fromSlot === slot)
      if (used && !external.has(`${index}.${slot}`)) return
      outputs.push({ name: output.name, type: output.type, linkIds: [connect(index, slot, SUBGRAPH_OUTPUT, outputs.length, output.type)] })
    }),
  )
  giveValues(nodes, instance.widgets_values, schemas)
  return { id, name: id, nodes, links, inputs, outputs }
}

/** Inner nodes are stored with the sockets they showed; slots in their links count over these. */
function fullInputs(node: DocNode, info: NodeInfo | undefined): DocInput[] {
  if (node.inputs?.length) return node.inputs.map((i) => ({ ...i, link: null }))
  if (!info) return []
  return inputsOf(info)
    .filter((d) => !isWidget(d))
    .map((d) => ({ name: d.name, type: d.type, link: null }))
}

/** The instance's values run through the widgets of the inner nodes, one node after another. */
function giveValues(nodes: DocNode[], values: DocNode["widgets_values"], schemas: ObjectInfo): void {
  if (!Array.isArray(values)) return
  let position = 0
  for (const node of nodes) {
    const info = schemas[node.type]
    if (!info) continue
    const own = Array.isArray(node.widgets_values) ? [...node.widgets_values] : []
    valueSlots(info).forEach((_, index) => {
      if (position < values.length) own[index] = values[position++]
    })
    node.widgets_values = own
  }
}
