//! In which order to run.
//!
//! Finding the order of lowest peak is a hard problem (register allocation on a graph), so three
//! candidates are simulated and the best is taken: the order in which ComfyUI would run, the
//! greedy one that always runs what leaves the least in memory, and the depth-first one that
//! finishes a branch before it begins another. Ties fall to fewer changes of model, then to
//! ComfyUI's order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::problem::Problem;
use super::simulate::{Idle, simulate};

/// Among equally good steps, how many are looked at for one that keeps the same model in use.
const LOOK: usize = 16;

/// The tasks in the order to run them in. Tasks that need each other are left out.
pub(super) fn order(problem: &Problem) -> Vec<u32> {
    let stable = stable(problem);
    if !problem.is_weighed() || problem.tasks.len() < 3 {
        return stable;
    }
    let candidates = [stable, greedy(problem), depth_first(problem)];
    let scored = candidates.into_iter().enumerate().map(|(place, order)| {
        let peak = simulate(problem, &order, Idle::Goes).peak;
        ((peak, changes(problem, &order), place), order)
    });
    scored.min_by_key(|(score, _)| *score).map(|(_, order)| order).unwrap_or_default()
}

/// How often a step needs weights that the step with weights before it did not.
fn changes(problem: &Problem, order: &[u32]) -> usize {
    let mut last: &[u32] = &[];
    let mut changes = 0;
    for &task in order {
        let holds = &problem.tasks[task as usize].holds;
        if !holds.is_empty() {
            changes += holds.iter().filter(|weights| !last.contains(weights)).count();
            last = holds;
        }
    }
    changes
}

/// What is ready runs by level, then in the order of discovery.
fn stable(problem: &Problem) -> Vec<u32> {
    let mut waiting: Vec<usize> = problem.tasks.iter().map(|task| task.after.len()).collect();
    let key = |task: u32| Reverse((problem.tasks[task as usize].level, task));
    let ready = (0..problem.tasks.len() as u32).filter(|task| waiting[*task as usize] == 0);
    let mut ready: BinaryHeap<_> = ready.map(key).collect();
    let mut order = Vec::with_capacity(problem.tasks.len());
    while let Some(Reverse((_, task))) = ready.pop() {
        order.push(task);
        for &next in &problem.tasks[task as usize].before {
            waiting[next as usize] -= 1;
            if waiting[next as usize] == 0 {
                ready.push(key(next));
            }
        }
    }
    order
}

/// What is ready runs by what it leaves in memory.
fn greedy(problem: &Problem) -> Vec<u32> {
    let mut waiting: Vec<usize> = problem.tasks.iter().map(|task| task.after.len()).collect();
    let mut reads: Vec<u32> = problem.contents.iter().map(|content| content.reads).collect();
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); problem.contents.len()];
    let mut pending: Vec<u32> = vec![0; problem.weights.len()];
    let mut loaded = vec![false; problem.weights.len()];
    for (i, task) in problem.tasks.iter().enumerate() {
        task.reads.iter().for_each(|value| readers[*value as usize].push(i as u32));
        task.holds.iter().for_each(|weights| pending[*weights as usize] += 1);
    }
    let leaves = |task: u32, reads: &[u32], pending: &[u32], loaded: &[bool]| -> i128 {
        let task = &problem.tasks[task as usize];
        let made = task.makes.iter().filter(|value| {
            let content = &problem.contents[**value as usize];
            content.kept || reads[**value as usize] > 0
        });
        let mut left: i128 = made.map(|value| i128::from(problem.contents[*value as usize].bytes)).sum();
        for (i, value) in task.reads.iter().enumerate() {
            let content = &problem.contents[*value as usize];
            let own = task.reads.iter().filter(|other| *other == value).count() as u32;
            if !content.kept && reads[*value as usize] == own && !task.reads[..i].contains(value) {
                left -= i128::from(content.bytes);
            }
        }
        for weights in &task.holds {
            let bytes = i128::from(problem.weights[*weights as usize].bytes);
            match (loaded[*weights as usize], pending[*weights as usize] == 1) {
                (false, false) => left += bytes,
                (true, true) => left -= bytes,
                (false, true) | (true, false) => {}
            }
        }
        left
    };
    let mut keys: Vec<i128> = vec![0; problem.tasks.len()];
    let mut ready = BTreeSet::new();
    for task in 0..problem.tasks.len() as u32 {
        if waiting[task as usize] == 0 {
            keys[task as usize] = leaves(task, &reads, &pending, &loaded);
            ready.insert((keys[task as usize], task));
        }
    }
    let mut order = Vec::with_capacity(problem.tasks.len());
    let mut current: Vec<u32> = Vec::new();
    while let Some(&(best, first)) = ready.first() {
        let equal = ready.iter().take(LOOK).take_while(|(left, _)| *left == best).map(|(_, task)| *task);
        let in_use = |task: &u32| {
            let holds = &problem.tasks[*task as usize].holds;
            !holds.is_empty() && holds.iter().all(|weights| current.contains(weights))
        };
        let task = equal.into_iter().find(in_use).unwrap_or(first);
        ready.remove(&(best, task));
        order.push(task);
        let task = &problem.tasks[task as usize];
        let mut changed: Vec<u32> = Vec::new();
        for value in &task.reads {
            reads[*value as usize] -= 1;
            if reads[*value as usize] <= 2 {
                changed.extend(&readers[*value as usize]);
            }
        }
        for weights in &task.holds {
            pending[*weights as usize] -= 1;
            loaded[*weights as usize] = pending[*weights as usize] > 0;
        }
        if !task.holds.is_empty() {
            current.clone_from(&task.holds);
            // Whoever shares the weights has become cheaper.
            changed.extend(ready.iter().take(LOOK).map(|(_, task)| *task));
        }
        for task in changed {
            if ready.remove(&(keys[task as usize], task)) {
                keys[task as usize] = leaves(task, &reads, &pending, &loaded);
                ready.insert((keys[task as usize], task));
            }
        }
        for &next in &task.before {
            waiting[next as usize] -= 1;
            if waiting[next as usize] == 0 {
                keys[next as usize] = leaves(next, &reads, &pending, &loaded);
                ready.insert((keys[next as usize], next));
            }
        }
    }
    order
}

/// Each end of the graph with everything that it needs, the producer of the larger value first:
/// on a tree this is Sethi and Ullman's order (J. ACM 17, 1970) with bytes for registers.
fn depth_first(problem: &Problem) -> Vec<u32> {
    let made = |task: u32| -> u64 {
        problem.tasks[task as usize].makes.iter().map(|value| problem.contents[*value as usize].bytes).sum()
    };
    let mut seen = vec![false; problem.tasks.len()];
    let mut order = Vec::with_capacity(problem.tasks.len());
    let ends = (0..problem.tasks.len() as u32).filter(|task| problem.tasks[*task as usize].before.is_empty());
    for end in ends {
        let mut path = vec![(end, false)];
        while let Some((task, done)) = path.pop() {
            if done {
                order.push(task);
            } else if !std::mem::replace(&mut seen[task as usize], true) {
                path.push((task, true));
                let mut after = problem.tasks[task as usize].after.clone();
                after.sort_by_key(|task| (made(*task), Reverse(*task)));
                path.extend(after.into_iter().filter(|task| !seen[*task as usize]).map(|task| (task, false)));
            }
        }
    }
    order
}
