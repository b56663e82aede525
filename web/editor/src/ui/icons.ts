// Line icons on a grid of 20, drawn for this editor.

import { svg } from "./dom.ts"

const PATHS = {
  nodes: "M3 4h6v5H3zM11 11h6v5h-6zM6 9v4.5h5",
  models: "M10 2l7 4v8l-7 4-7-4V6zM3 6l7 4 7-4M10 10v8",
  templates: "M3 3h14v14H3zM3 8h14M8 8v9",
  workflows: "M3 5.5h5l2 2h7V16H3z",
  queue: "M4 5h12M4 10h12M4 15h7",
  gallery: "M3 4h14v12H3zM3 13l4-4 4 4 2-2 4 4M12.5 8h.01",
  inspector: "M4 5h12M4 10h12M4 15h12M8 3v4M13 8v4M6 13v4",
  outline: "M4 4h4M7 8h8M7 12h8M10 16h6M5.5 5v7H7",
  memory: "M5 5h10v10H5zM8 8h4v4H8zM8 5V2M12 5V2M8 18v-3M12 18v-3M5 8H2M5 12H2M18 8h-3M18 12h-3",
  plan: "M4 4h4v4H4zM12 12h4v4h-4zM8 6h6v6M6 8v6h6",
  sweep: "M3 3h4v4H3zM8 3h4v4H8zM13 3h4v4h-4zM3 8h4v4H3zM8 8h4v4H8zM13 8h4v4h-4zM3 13h4v4H3zM8 13h4v4H8z",
  play: "M6 4l10 6-10 6z",
  stop: "M5 5h10v10H5z",
  undo: "M7 3.5L3 7.5l4 4M3 7.5h9a4.5 4.5 0 010 9H8",
  redo: "M13 3.5l4 4-4 4M17 7.5H8a4.5 4.5 0 000 9h4",
  close: "M5 5l10 10M15 5L5 15",
  up: "M10 16V4M5 9l5-5 5 5",
  down: "M10 4v12M5 11l5 5 5-5",
  more: "M5 8l5 5 5-5",
  first: "M4 3h12M10 17V7M5 12l5-5 5 5",
  again: "M16 10a6 6 0 11-2-4.5M16 2v4h-4",
  open: "M8 4H4v12h12v-4M11 3h6v6M17 3l-8 8",
  trash: "M4 6h12M8 6V4h4v2M6 6l1 11h6l1-11",
  pin: "M7 3h6l-1 6 3 3H5l3-3zM10 12v6",
  evict: "M10 4l6 7H4zM4 15.5h12",
  download: "M10 3v9M6 8l4 4 4-4M4 16h12",
  moon: "M16 12A7 7 0 018 4a7 7 0 108 8z",
  keyboard: "M2 5h16v10H2zM5 8h.01M8 8h.01M11 8h.01M14 8h.01M6 12h8",
  fit: "M3 8V3h5M12 3h5v5M17 12v5h-5M8 17H3v-5",
  menu: "M3 5h14M3 10h14M3 15h14",
  plus: "M10 4v12M4 10h12",
  left: "M12 4l-6 6 6 6",
  right: "M8 4l6 6-6 6",
} as const

export type IconName = keyof typeof PATHS

export function icon(name: IconName): SVGElement {
  const filled = name === "play" || name === "stop"
  return svg(
    "svg",
    { viewBox: "0 0 20 20", width: 18, height: 18, "aria-hidden": "true", class: "icon" },
    svg("path", { d: PATHS[name], fill: filled ? "currentColor" : "none", stroke: filled ? "none" : "currentColor", "stroke-width": 1.5, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  )
}
