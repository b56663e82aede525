// Undo and redo without end. A state is a whole workflow, but the parts that did not change are shared with the state before
// it (the merge hands back the same objects), so a thousand steps cost little more than their changes.

export class History<State> {
  private past: State[] = []
  private future: State[] = []

  constructor(private now: State) {}

  get current(): State {
    return this.now
  }
  get canUndo(): boolean {
    return this.past.length > 0
  }
  get canRedo(): boolean {
    return this.future.length > 0
  }

  push(state: State): void {
    this.past.push(this.now)
    this.now = state
    this.future = []
  }

  /** Replaces the present without a step, for what the program itself changed. */
  amend(state: State): void {
    this.now = state
  }

  undo(): State | null {
    const state = this.past.pop()
    if (state === undefined) return null
    this.future.push(this.now)
    this.now = state
    return state
  }

  redo(): State | null {
    const state = this.future.pop()
    if (state === undefined) return null
    this.past.push(this.now)
    this.now = state
    return state
  }
}
