// Elements without a framework. Styles are set through the CSSOM, never as text: the content security policy forbids inline style.

type Child = Node | string | number | null | undefined | false
type Props = Record<string, unknown>

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: (Child | Child[])[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag)
  applyProps(element, props)
  append(element, children)
  return element
}

const SVG = "http://www.w3.org/2000/svg"

export function svg(tag: string, props: Props = {}, ...children: SVGElement[]): SVGElement {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, String(value))
  element.append(...children)
  return element
}

function applyProps(element: HTMLElement, props: Props): void {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue
    if (name === "class") element.className = String(value)
    else if (name === "style") for (const [k, v] of Object.entries(value as Record<string, string>)) element.style.setProperty(k, v)
    else if (name === "dataset") Object.assign(element.dataset, value)
    else if (name.startsWith("on")) element.addEventListener(name.slice(2).toLowerCase(), value as EventListener)
    else if (name.startsWith("aria") || name === "role" || name === "for" || name === "list") element.setAttribute(name, String(value))
    else if (name in element) (element as unknown as Props)[name] = value
    else element.setAttribute(name, value === true ? "" : String(value))
  }
}

function append(parent: HTMLElement, children: (Child | Child[])[]): void {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue
    parent.append(typeof child === "number" ? String(child) : child)
  }
}

/** Replaces what an element holds. */
export function fill(parent: HTMLElement, ...children: (Child | Child[])[]): void {
  parent.replaceChildren()
  append(parent, children)
}

/** Calls `action` once, `wait` milliseconds after the last of a burst of calls. */
export function debounce<A extends unknown[]>(action: (...args: A) => void, wait: number): (...args: A) => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  return (...args) => {
    clearTimeout(timer)
    timer = setTimeout(() => action(...args), wait)
  }
}

/** However often it is called, the action happens once in a while, the last time after the last call. */
export function throttle(action: () => void, wait: number): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined
  return () => {
    timer ??= setTimeout(() => {
      timer = undefined
      action()
    }, wait)
  }
}

/** Whether keys typed now belong to a text field. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "color", "range"].includes(target.type)
}
