//! What is in memory at each step of an order.

use super::problem::Problem;

/// What one step does to memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment {
    /// Weights that are loaded for it.
    pub(super) loads: Vec<u32>,
    /// Weights that no later step needs.
    pub(super) unloads: Vec<u32>,
    /// Values that no later step reads.
    pub(super) dies: Vec<u32>,
    /// Bytes while it runs.
    pub(super) during: u64,
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

/// Walks an order. Weights are held from their first use to their last, or, where they `stay`, to the
/// end.
pub(super) fn simulate(problem: &Problem, order: &[u32], stay: bool) -> Trace {
    let mut reads: Vec<u32> = problem.contents.iter().map(|content| content.reads).collect();
    let mut there: Vec<bool> = problem.contents.iter().map(|content| content.there).collect();
    let mut pending: Vec<u32> = vec![0; problem.weights.len()];
    for task in &problem.tasks {
        task.holds.iter().for_each(|weights| pending[*weights as usize] += 1);
    }
    let mut loaded = vec![false; problem.weights.len()];
    let alive = problem.contents.iter().filter(|content| content.there).map(|content| content.bytes);
    let before: u64 = alive.sum();
    let mut held = before;
    let mut trace = Trace { before, moments: Vec::with_capacity(order.len()), peak: before };
    for &task in order {
        let task = &problem.tasks[task as usize];
        let mut moment = Moment::default();
        for &weights in &task.holds {
            if !std::mem::replace(&mut loaded[weights as usize], true) {
                let spec = &problem.weights[weights as usize];
                held = held.saturating_add(spec.bytes);
                trace.peak = trace.peak.max(held.saturating_add(spec.load_overhead));
                moment.loads.push(weights);
            }
        }
        moment.during = held.saturating_add(task.scratch);
        for &value in &task.makes {
            if !std::mem::replace(&mut there[value as usize], true) {
                held = held.saturating_add(problem.contents[value as usize].bytes);
            }
        }
        // Scratch is given back before the outputs are handed over, but they grow inside of it.
        moment.during = moment.during.max(held);
        trace.peak = trace.peak.max(moment.during);
        for &value in &task.reads {
            reads[value as usize] -= 1;
        }
        for &value in task.reads.iter().chain(&task.makes) {
            let content = &problem.contents[value as usize];
            if reads[value as usize] == 0 && !content.kept && std::mem::take(&mut there[value as usize]) {
                held -= content.bytes;
                moment.dies.push(value);
            }
        }
        for &weights in &task.holds {
            pending[weights as usize] -= 1;
            if pending[weights as usize] == 0 {
                if !stay {
                    held -= problem.weights[weights as usize].bytes;
                    loaded[weights as usize] = false;
                }
                moment.unloads.push(weights);
            }
        }
        moment.after = held;
        trace.moments.push(moment);
    }
    trace
}
