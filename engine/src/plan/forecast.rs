//! What each node will cost and make, told before anything runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::graph::{Graph, NodeIx, Source};
use crate::node::{Forecast, NodeError, Sketch, Sketches};
use crate::value::Value;

/// Forecasts by node.
#[derive(Default)]
pub(crate) struct Forecasts {
    by_node: Vec<Option<Forecast>>,
    /// Nodes that will not be able to run, by their own word.
    doubts: Vec<(NodeIx, NodeError)>,
}

impl Forecasts {
    /// The forecast of a node.
    pub(crate) fn of(&self, ix: NodeIx) -> Option<&Forecast> {
        self.by_node.get(ix.index())?.as_ref()
    }

    /// The sketches of a node's outputs.
    pub(crate) fn sketches(&self, ix: NodeIx) -> Arc<[Sketch]> {
        self.of(ix).map(|forecast| forecast.outputs.as_slice()).unwrap_or_default().into()
    }

    /// What the nodes that doubt themselves say.
    pub(crate) fn doubts(&self) -> &[(NodeIx, NodeError)] {
        &self.doubts
    }

    /// Takes what was foretold in an earlier run.
    pub(crate) fn remember(&mut self, ix: NodeIx, sketches: &[Sketch]) {
        *self.slot(ix) = Some(Forecast { outputs: sketches.to_vec(), ..Forecast::default() });
    }

    /// Asks a node. Its producers must have been asked before; whoever was not is unknown to it.
    pub(crate) fn ask(&mut self, graph: &Graph, ix: NodeIx, canon: &dyn Fn(NodeIx) -> NodeIx) {
        let node = graph.node(ix);
        let mut sketches = Sketches::default();
        for input in &node.inputs {
            let sketch = match &input.source {
                Source::Value(Value::Plain(json)) => Sketch::Plain((**json).clone()),
                Source::Value(value) => existing(value),
                Source::Wire { from, slot } => self
                    .of(canon(*from))
                    .and_then(|forecast| forecast.outputs.get(*slot))
                    .cloned()
                    .unwrap_or_default(),
                Source::Pair { .. } => Sketch::Unknown,
            };
            sketches.set(input.name.clone(), sketch);
        }
        // A doubt or a panic stops nothing here: the node says it again when it runs.
        let forecast = match catch_unwind(AssertUnwindSafe(|| node.class.node.forecast(&sketches))) {
            Ok(Ok(forecast)) => forecast,
            Ok(Err(doubt)) => {
                self.doubts.push((ix, doubt));
                Forecast::unknown()
            }
            Err(_) => Forecast::unknown(),
        };
        *self.slot(ix) = Some(forecast);
    }

    fn slot(&mut self, ix: NodeIx) -> &mut Option<Forecast> {
        if self.by_node.len() <= ix.index() {
            self.by_node.resize_with(ix.index() + 1, || None);
        }
        &mut self.by_node[ix.index()]
    }
}

/// A value that an expansion carries on: its size is known, and nothing more.
fn existing(value: &Value) -> Sketch {
    match value {
        Value::Payload(payload) => Sketch::Known { bytes: value.bytes(), what: payload.clone() },
        Value::List(_) | Value::Blocked(_) | Value::Plain(_) => Sketch::Unknown,
    }
}
