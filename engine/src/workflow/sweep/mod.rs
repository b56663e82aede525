//! Sweeps: one workflow, some of its inputs varied, every combination a cell of a grid.
//!
//! All cells become *one* workflow: each a copy under ids of its own (`3/7` is node 7 of cell 3).
//! The plan does equal work once, so that what the axes do not touch is not repeated, and the
//! cells stand in an order that groups those that share models ([`Sweep::arranged`]), so that each
//! is loaded once.
//!
//! - `axis`: what an axis changes. [`values`]: lists and ranges as people write them.
//! - `drawing`: the editor's drawing with a cell's values in it.
//! - `json`: a sweep as requests and stored jobs hold it.
//! - `origins`: what the picture of a cell says that it came from.
//!
//! ```
//! use ebb_engine::workflow::Workflow;
//! use ebb_engine::workflow::sweep::{Axis, Sweep};
//! use serde_json::json;
//!
//! let workflow = Workflow::from_json(json!({"1": {"class_type": "Noise", "inputs": {"seed": 1}}}))?;
//! let seeds = Axis::input("seed", "1".into(), "seed", vec![json!(1).into(), json!(2).into()]);
//! let sweep = Sweep::new(workflow, vec![seeds])?;
//! assert_eq!(sweep.len(), 2);
//! assert_eq!(sweep.combined(0..2).to_json()["1/1"]["inputs"]["seed"], 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod axis;
mod drawing;
mod json;
mod origins;
pub mod values;

pub use axis::{Axis, AxisValue, Change};
pub use drawing::Drawing;
pub use origins::CellOrigins;

use super::{InputValue, NodeId, Workflow};

/// The most nodes that all cells together may have.
pub const MAX_NODES: usize = 100_000;

/// A workflow and the axes along which it varies. Cells are counted in the order of the axes'
/// values, the last axis running fastest.
#[derive(Clone, Debug)]
pub struct Sweep {
    base: Workflow,
    axes: Vec<Axis>,
    cells: usize,
}

/// Why there is no sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// No axis.
    #[error("a sweep needs an axis: an input and the values that it takes")]
    NoAxis,
    /// The workflow is none.
    #[error(transparent)]
    Workflow(#[from] super::WorkflowError),
    /// An axis that says neither what input nor what text it changes.
    #[error("an axis names a `node` and an `input`, or a text to `search`; found {axis}")]
    Shapeless {
        /// The axis.
        axis: String,
    },
    /// An axis without a value.
    #[error("axis `{label}` has no values")]
    Empty {
        /// The axis.
        label: String,
    },
    /// More than can be planned as one graph.
    #[error("{cells} cells of {nodes} nodes each are more than {MAX_NODES} nodes; take fewer values")]
    TooLarge {
        /// How many cells there would be.
        cells: usize,
        /// Nodes of the workflow.
        nodes: usize,
    },
    /// An axis over an input that is not there.
    #[error("axis `{label}`: there is no node #{node}")]
    NoNode {
        /// The axis.
        label: String,
        /// The node.
        node: NodeId,
    },
    /// Text that is searched for and occurs nowhere.
    #[error("axis `{label}`: no text that it looks at contains `{search}`")]
    NotFound {
        /// The axis.
        label: String,
        /// The text.
        search: String,
    },
    /// A text is to be replaced by something that is none.
    #[error("axis `{label}` replaces a text, and {value} is none")]
    NotText {
        /// The axis.
        label: String,
        /// The value.
        value: String,
    },
}

impl Sweep {
    /// Varies a workflow along axes.
    ///
    /// # Errors
    /// Where an axis is empty or touches nothing, or the cells are too many.
    pub fn new(base: Workflow, axes: Vec<Axis>) -> Result<Self, SweepError> {
        if axes.is_empty() {
            return Err(SweepError::NoAxis);
        }
        for axis in &axes {
            if axis.values.is_empty() {
                return Err(SweepError::Empty { label: axis.label.clone() });
            }
            axis.check(&base)?;
        }
        let cells = axes.iter().try_fold(1usize, |cells, axis| cells.checked_mul(axis.values.len()));
        let (cells, nodes) = (cells.unwrap_or(usize::MAX), base.nodes.len());
        if cells.checked_mul(nodes.max(1)).is_none_or(|all| all > MAX_NODES) {
            return Err(SweepError::TooLarge { cells, nodes });
        }
        Ok(Self { base, axes, cells })
    }

    /// The workflow that is varied.
    pub fn base(&self) -> &Workflow {
        &self.base
    }

    /// What is varied.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.cells
    }

    /// Never: every axis has a value.
    pub fn is_empty(&self) -> bool {
        self.cells == 0
    }

    /// Which value of each axis a cell has.
    pub fn index(&self, mut cell: usize) -> Vec<usize> {
        let mut index = vec![0; self.axes.len()];
        for (place, axis) in index.iter_mut().zip(&self.axes).rev() {
            *place = cell % axis.values.len();
            cell /= axis.values.len();
        }
        index
    }

    /// The workflow of a cell: what runs alone to the same end.
    pub fn workflow(&self, cell: usize) -> Workflow {
        self.with(&self.index(cell))
    }

    /// The workflow with a value of each axis.
    fn with(&self, index: &[usize]) -> Workflow {
        let mut workflow = self.base.clone();
        for (axis, value) in self.axes.iter().zip(index) {
            axis.apply(*value, &mut workflow);
        }
        workflow
    }

    /// What a cell is called: the value of each axis.
    pub fn names(&self, cell: usize) -> Vec<&str> {
        let index = self.index(cell);
        self.axes.iter().zip(index).filter_map(|(axis, i)| Some(axis.values.get(i)?.label.as_str())).collect()
    }

    /// The workflows that show which axes change what is loaded: the first cell, then every further
    /// value of each axis by itself. Few, where there are many cells.
    pub fn probes(&self) -> Vec<Workflow> {
        let mut index = vec![0; self.axes.len()];
        let mut probes = vec![self.with(&index)];
        for (place, axis) in self.axes.iter().enumerate() {
            for value in 1..axis.values.len() {
                index[place] = value;
                probes.push(self.with(&index));
            }
            index[place] = 0;
        }
        probes
    }

    /// Every cell, those that share models next to each other: an axis that changes what is loaded
    /// runs slowest. `needs` says what each of the [`probes`](Self::probes) loads.
    pub fn arranged<K: PartialEq>(&self, needs: &[K]) -> Vec<usize> {
        let mut rest = needs.get(1..).unwrap_or_default();
        let mut changes = Vec::with_capacity(self.axes.len());
        for axis in &self.axes {
            let (own, others) = rest.split_at((axis.values.len() - 1).min(rest.len()));
            changes.push(own.iter().any(|need| Some(need) != needs.first()));
            rest = others;
        }
        let mut cells: Vec<usize> = (0..self.cells).collect();
        cells.sort_by_cached_key(|cell| {
            let index = self.index(*cell).into_iter().zip(&changes);
            index.filter(|(_, changes)| **changes).map(|(value, _)| value).collect::<Vec<_>>()
        });
        cells
    }

    /// Some of the cells as one workflow, in the given order. Node `id` of cell `n` is `n/id`.
    pub fn combined(&self, cells: impl IntoIterator<Item = usize>) -> Workflow {
        let mut all = Workflow::default();
        for number in cells.into_iter().filter(|cell| *cell < self.cells) {
            for (id, mut node) in self.workflow(number).nodes {
                for input in node.inputs.values_mut() {
                    if let InputValue::Link(link) = input {
                        link.node = Self::id_in(number, &link.node);
                    }
                }
                all.nodes.insert(Self::id_in(number, &id), node);
            }
        }
        all
    }

    /// The id of a cell's node in [`combined`](Self::combined).
    pub fn id_in(cell: usize, id: &NodeId) -> NodeId {
        format!("{cell}/{id}").into()
    }

    /// The cell that a node of [`combined`](Self::combined) belongs to, and its id there.
    pub fn cell_of(id: &NodeId) -> Option<(usize, NodeId)> {
        let (cell, id) = id.as_str().split_once('/')?;
        Some((cell.parse().ok()?, id.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workflow() -> Workflow {
        let json = json!({
            "1": {"class_type": "Load", "inputs": {"name": "a.safetensors"}},
            "2": {"class_type": "Prompt", "inputs": {"text": "a red apple, red", "model": ["1", 0]}},
            "3": {"class_type": "Draw", "inputs": {"seed": 1, "prompt": ["2", 0], "size": {"__value__": [1, 2]}}},
        });
        Workflow::from_json(json).unwrap()
    }

    fn seeds() -> Axis {
        Axis::input("seed", "3".into(), "seed", vec![json!(1).into(), json!(2).into(), json!(3).into()])
    }

    #[test]
    fn every_combination_is_a_cell_and_the_last_axis_runs_fastest() {
        let colours = Axis::replace("colour", None, "red", ["red", "blue"].map(str::to_owned).to_vec());
        let sweep = Sweep::new(workflow(), vec![colours, seeds()]).unwrap();
        let indices: Vec<_> = (0..sweep.len()).map(|cell| sweep.index(cell)).collect();
        assert_eq!(indices, [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]);
        assert_eq!(sweep.names(4), ["blue", "2"]);
        let cell = sweep.workflow(4).to_json();
        assert_eq!(cell["2"]["inputs"]["text"], "a blue apple, blue");
        assert_eq!(
            cell["3"]["inputs"],
            json!({"seed": 2, "prompt": ["2", 0], "size": {"__value__": [1, 2]}})
        );
        let all = sweep.combined([1, 4]);
        assert_eq!(all.nodes.len(), 6);
        assert_eq!(all.to_json()["4/3"]["inputs"]["prompt"], json!(["4/2", 0]));
        assert_eq!(Sweep::cell_of(&"4/3".into()), Some((4, "3".into())));
    }

    #[test]
    fn a_replacement_may_look_at_one_input_only() {
        let mut base = workflow();
        base.nodes.insert(
            "4".into(),
            crate::workflow::WorkflowNode::new("Prompt").literal("text", "red").link("model", "1", 0),
        );
        let place = Some(("4".into(), "text".to_owned()));
        let sweep = Sweep::new(base, vec![Axis::replace("x", place, "red", vec!["blue".into()])]).unwrap();
        let cell = sweep.workflow(0).to_json();
        assert_eq!(cell["4"]["inputs"]["text"], "blue");
        assert_eq!(cell["2"]["inputs"]["text"], "a red apple, red");
    }

    #[test]
    fn cells_that_share_a_model_stand_together() {
        let names = ["a", "b"].map(|name| json!(name).into()).to_vec();
        let sweep =
            Sweep::new(workflow(), vec![seeds(), Axis::input("m", "1".into(), "name", names)]).unwrap();
        let needs: Vec<_> =
            sweep.probes().iter().map(|probe| probe.to_json()["1"]["inputs"]["name"].clone()).collect();
        assert_eq!(needs, ["a", "a", "a", "b"]);
        let cells = sweep.arranged(&needs);
        // Cells 0, 2, 4 are of model a.
        assert_eq!(cells, [0, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn axes_that_touch_nothing_are_errors() {
        let of = |axis: Axis| Sweep::new(workflow(), vec![axis]);
        let absent = Axis::input("x", "9".into(), "seed", vec![json!(1).into()]);
        assert!(matches!(of(absent), Err(SweepError::NoNode { .. })));
        assert!(matches!(
            of(Axis::replace("x", None, "green", vec!["blue".into()])),
            Err(SweepError::NotFound { .. })
        ));
        assert!(matches!(
            of(Axis::replace("x", None, "", vec!["blue".into()])),
            Err(SweepError::NotFound { .. })
        ));
        assert!(matches!(of(Axis::input("seed", "3".into(), "seed", vec![])), Err(SweepError::Empty { .. })));
        assert!(matches!(Sweep::new(workflow(), vec![]), Err(SweepError::NoAxis)));
        let long = || Axis::input("seed", "3".into(), "seed", (0..5000).map(|i| json!(i).into()).collect());
        assert!(matches!(Sweep::new(workflow(), vec![long(), long()]), Err(SweepError::TooLarge { .. })));
    }
}
