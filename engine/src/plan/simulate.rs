//! What is in memory at each step of an order.

use super::problem::Problem;

/// What one step does to memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// Weights that are loaded for it.
    pub(super) loads: Vec<u32>,
    /// Weights that make way for it and will be loaded again.
    pub(super) evicts: Vec<u32>,
    /// Weights that no later step needs.
    pub(super) unloads: Vec<u32>,
    /// Values that no later step reads.
    pub(super) dies: Vec<u32>,
    /// Bytes of values as it begins.
    pub(super) values: u64,
    /// Bytes while it runs.
    pub(super) during: u64,
    /// The most bytes for it, the loading of its weights included.
    pub(super) most: u64,
    /// Bytes once it has run and what dies is gone.
    pub(super) after: u64,
}

/// What an order does to memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) before: u64,
    pub(super) moments: Vec<Moment>,
    pub(super) peak: u64,
}

/// What becomes of weights between uses and after the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// They stay from their first use to their last.
    Goes,
    /// They stay to the end.
    Stays,
    /// They stay until a step would exceed the budget: then those go first whose next use lies furthest ahead.
    Yields {
        /// Bytes that may be held at once.
        budget: u64,
    },
}

/// Walks an order.
pub(super) fn simulate(problem: &Problem, order: &[u32], idle: Idle) -> Trace {
    let mut reads: Vec<u32> = problem.contents.iter().map(|content| content.reads).collect();
    let mut there: Vec<bool> = problem.contents.iter().map(|content| content.there).collect();
    let mut shelf = Shelf::new(problem, order);
    let alive = problem.contents.iter().filter(|content| content.there).map(|content| content.bytes);
    let before: u64 = alive.sum();
    let mut values = before;
    let mut trace = Trace { before, moments: Vec::with_capacity(order.len()), peak: before };
    for (place, &task) in order.iter().enumerate() {
        let task = &problem.tasks[task as usize];
        let mut moment = Moment { values, ..Moment::default() };
        let made = task.makes.iter().filter(|value| !there[**value as usize]);
        let made: u64 = made.map(|value| problem.contents[*value as usize].bytes).sum();
        // As the manager does it: room is made for what is asked for, weights first, and for no more than that.
        let room_for = |shelf: &mut Shelf<'_>, moment: &mut Moment, more: u64| {
            if let Idle::Yields { budget } = idle {
                let most = budget.saturating_sub(values.saturating_add(more));
                moment.evicts.extend(shelf.make_room(&task.holds, place, most));
            }
        };
        for &weights in &task.holds {
            if !shelf.loaded[weights as usize] {
                let spec = &problem.weights[weights as usize];
                room_for(&mut shelf, &mut moment, spec.bytes.saturating_add(spec.load_overhead));
                shelf.load(weights);
                let loading = values.saturating_add(shelf.held).saturating_add(spec.load_overhead);
                moment.most = moment.most.max(loading);
                moment.loads.push(weights);
            }
        }
        room_for(&mut shelf, &mut moment, task.scratch.max(made));
        moment.during = values.saturating_add(shelf.held).saturating_add(task.scratch);
        for &value in &task.makes {
            if !std::mem::replace(&mut there[value as usize], true) {
                values = values.saturating_add(problem.contents[value as usize].bytes);
            }
        }
        // Scratch is given back before the outputs are handed over, but they grow inside of it.
        moment.during = moment.during.max(values.saturating_add(shelf.held));
        moment.most = moment.most.max(moment.during);
        trace.peak = trace.peak.max(moment.most);
        for &value in &task.reads {
            reads[value as usize] -= 1;
        }
        for &value in task.reads.iter().chain(&task.makes) {
            let content = &problem.contents[value as usize];
            if reads[value as usize] == 0 && !content.kept && std::mem::take(&mut there[value as usize]) {
                values -= content.bytes;
                moment.dies.push(value);
            }
        }
        for &weights in &task.holds {
            if shelf.next_use(weights, place).is_none() {
                if idle == Idle::Goes {
                    shelf.unload(weights);
                }
                moment.unloads.push(weights);
            }
        }
        moment.after = values.saturating_add(shelf.held);
        trace.moments.push(moment);
    }
    trace
}

/// The weights in memory.
struct Shelf<'a> {
    problem: &'a Problem,
    loaded: Vec<bool>,
    held: u64,
    /// Places in the order that need them, the first one last.
    uses: Vec<Vec<usize>>,
}

impl<'a> Shelf<'a> {
    fn new(problem: &'a Problem, order: &[u32]) -> Self {
        let mut uses = vec![Vec::new(); problem.weights.len()];
        for (place, task) in order.iter().enumerate().rev() {
            problem.tasks[*task as usize]
                .holds
                .iter()
                .for_each(|weights| uses[*weights as usize].push(place));
        }
        Self { problem, loaded: vec![false; problem.weights.len()], held: 0, uses }
    }

    fn load(&mut self, weights: u32) {
        self.loaded[weights as usize] = true;
        self.held = self.held.saturating_add(self.problem.weights[weights as usize].bytes);
    }

    fn unload(&mut self, weights: u32) {
        if std::mem::take(&mut self.loaded[weights as usize]) {
            self.held -= self.problem.weights[weights as usize].bytes;
        }
    }

    /// The next place after `place` that needs them.
    fn next_use(&mut self, weights: u32, place: usize) -> Option<usize> {
        let uses = &mut self.uses[weights as usize];
        while uses.last().is_some_and(|next| *next <= place) {
            uses.pop();
        }
        uses.last().copied()
    }

    /// Unloads what is furthest from its next use, `needed` apart, until at most `most` bytes are held.
    /// Tells which of them will be loaded again.
    fn make_room(&mut self, needed: &[u32], place: usize, most: u64) -> Vec<u32> {
        let mut again = Vec::new();
        while self.held > most {
            let idle = (0..self.loaded.len() as u32)
                .filter(|weights| self.loaded[*weights as usize] && !needed.contains(weights));
            let idle: Vec<u32> = idle.collect();
            let next = idle.into_iter().map(|w| (self.next_use(w, place).unwrap_or(usize::MAX), w)).max();
            let Some((next, weights)) = next else { break };
            self.unload(weights);
            if next != usize::MAX {
                again.push(weights);
            }
        }
        again
    }
}
