//! The part of a graph that is to run, as the scheduler sees it: tasks, values and weights by
//! number.

use std::collections::HashMap;

use super::forecast::Forecasts;
use crate::graph::{Graph, NodeIx};
use crate::node::{Sketch, Way};
use crate::residency::{ComponentKey, ComponentSpec};

/// A node that is to run.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) node: NodeIx,
    /// Tasks that must run before.
    pub(super) after: Vec<u32>,
    /// Tasks that wait for this one.
    pub(super) before: Vec<u32>,
    /// Values that it reads, once for each input.
    pub(super) reads: Vec<u32>,
    /// Values that it makes, by slot.
    pub(super) makes: Vec<u32>,
    /// Weights that it holds while it runs.
    pub(super) holds: Vec<u32>,
    pub(super) scratch: u64,
    /// How it could be done in less memory.
    pub(super) ways: Vec<TaskWay>,
    /// How soon it should run among what is ready: 0 for output and asynchronous nodes, 1 and 2
    /// for those that lead to an output in one or two steps, 3 for the rest.
    pub(super) level: u8,
}

/// A way of a task, its weights by number.
#[derive(Debug)]
pub(super) struct TaskWay {
    pub(super) way: Way,
    pub(super) holds: Vec<u32>,
}

/// An output slot's content. Slots that hold the same sketch are the same value.
#[derive(Debug)]
pub(super) struct Content {
    /// The node and slot that it came from first.
    pub(super) maker: (NodeIx, usize),
    pub(super) bytes: u64,
    /// Reads by tasks.
    pub(super) reads: u32,
    /// Something beyond these tasks holds it: a cache, or an expansion that waits.
    pub(super) kept: bool,
    /// In memory before the first task runs.
    pub(super) there: bool,
}

/// What is to be scheduled.
#[derive(Debug, Default)]
pub(super) struct Problem {
    pub(super) tasks: Vec<Task>,
    pub(super) contents: Vec<Content>,
    pub(super) weights: Vec<ComponentSpec>,
}

/// How the graph's nodes relate to the tasks.
pub(super) struct Setting<'a> {
    pub(super) graph: &'a Graph,
    /// The node that does the work of another one, or itself.
    pub(super) canon: &'a dyn Fn(NodeIx) -> NodeIx,
    pub(super) forecasts: &'a Forecasts,
    /// Whether a cache keeps what is made.
    pub(super) keeps: bool,
}

impl Problem {
    /// `nodes` are those that do the work themselves, in the order of discovery.
    pub(super) fn new(setting: &Setting<'_>, nodes: &[NodeIx]) -> Self {
        let mut problem = Self::default();
        let places: HashMap<NodeIx, u32> = nodes.iter().zip(0..).map(|(ix, place)| (*ix, place)).collect();
        let mut slots: HashMap<(NodeIx, usize), u32> = HashMap::with_capacity(nodes.len());
        let mut same: HashMap<usize, u32> = HashMap::new();
        let mut weights: HashMap<ComponentKey, u32> = HashMap::new();
        for &ix in nodes {
            let node = setting.graph.node(ix);
            let forecast = setting.forecasts.of(ix);
            let makes = (0..node.class.schema.outputs.len()).map(|slot| {
                let sketch = forecast.and_then(|f| f.outputs.get(slot));
                let id = problem.content((ix, slot), sketch, setting.keeps, false, &mut same);
                slots.insert((ix, slot), id);
                id
            });
            let makes = makes.collect();
            let mut numbered = |uses: &[ComponentSpec]| {
                let holds = uses.iter().map(|spec| {
                    *weights.entry(spec.key.clone()).or_insert_with(|| {
                        problem.weights.push(spec.clone());
                        problem.weights.len() as u32 - 1
                    })
                });
                let mut holds: Vec<u32> = holds.collect();
                holds.sort_unstable();
                holds.dedup();
                holds
            };
            let holds = forecast.map(|f| numbered(&f.uses)).unwrap_or_default();
            let ways = forecast.into_iter().flat_map(|f| &f.ways);
            let ways = ways.map(|way| TaskWay { holds: numbered(&way.uses), way: way.clone() }).collect();
            let first = node.class.schema.output_node || node.class.schema.work == crate::schema::Work::Async;
            problem.tasks.push(Task {
                node: ix,
                after: Vec::new(),
                before: Vec::new(),
                reads: Vec::new(),
                makes,
                holds,
                scratch: forecast.map_or(0, |f| f.scratch),
                ways,
                level: if first { 0 } else { 3 },
            });
        }
        for (&ix, task) in nodes.iter().zip(0u32..) {
            for input in &setting.graph.node(ix).inputs {
                let Some((from, slot)) = input.link() else { continue };
                let from = (setting.canon)(from);
                let value = match slots.get(&(from, slot)) {
                    Some(value) => *value,
                    // Not to run (now): there already, or lazy and not asked for.
                    None => {
                        if input.lazy {
                            continue;
                        }
                        let sketch = setting.forecasts.of(from).and_then(|f| f.outputs.get(slot));
                        let value = problem.content((from, slot), sketch, setting.keeps, true, &mut same);
                        slots.insert((from, slot), value);
                        value
                    }
                };
                problem.contents[value as usize].reads += 1;
                problem.tasks[task as usize].reads.push(value);
                if let Some(&before) = places.get(&from).filter(|_| !input.lazy)
                    && !problem.tasks[task as usize].after.contains(&before)
                {
                    problem.tasks[task as usize].after.push(before);
                    problem.tasks[before as usize].before.push(task);
                }
            }
        }
        problem.set_levels();
        problem
    }

    fn content(
        &mut self,
        maker: (NodeIx, usize),
        sketch: Option<&Sketch>,
        kept: bool,
        there: bool,
        same: &mut HashMap<usize, u32>,
    ) -> u32 {
        let next = self.contents.len() as u32;
        let id = match sketch {
            Some(Sketch::Known { what, .. }) => {
                *same.entry(std::sync::Arc::as_ptr(what).cast::<()>() as usize).or_insert(next)
            }
            _ => next,
        };
        if id == next {
            let bytes = sketch.map_or(0, Sketch::bytes);
            self.contents.push(Content { maker, bytes, reads: 0, kept, there });
        }
        id
    }

    fn set_levels(&mut self) {
        for level in [1, 2] {
            for i in 0..self.tasks.len() {
                if self.tasks[i].level == level - 1 && (level > 1 || self.is_output(i)) {
                    for j in self.tasks[i].after.clone() {
                        let task = &mut self.tasks[j as usize];
                        task.level = task.level.min(level);
                    }
                }
            }
        }
    }

    fn is_output(&self, task: usize) -> bool {
        self.tasks[task].before.is_empty() && self.tasks[task].level == 0
    }

    /// Whether anything is known that an order could make better.
    pub(super) fn is_weighed(&self) -> bool {
        !self.weights.is_empty()
            || self.contents.iter().any(|content| content.bytes > 0)
            || self.tasks.iter().any(|task| task.scratch > 0)
    }
}
