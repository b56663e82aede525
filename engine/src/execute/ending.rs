//! How a run that stops early is accounted for.

use std::sync::Arc;

use serde_json::Map;

use super::RunError;
use super::calls::shown;
use super::expand::Pending;
use super::run::{Run, Stop};
use crate::events::JobError;
use crate::graph::NodeIx;
use crate::node::{ErrorKind, NodeError};
use crate::schema::Work;

impl Run<'_> {
    pub(super) fn failed(&self, ix: NodeIx, error: NodeError) -> Stop {
        if error.is_cancelled() { Stop::Cancelled(Some(ix)) } else { Stop::Failed(ix, error) }
    }

    pub(super) fn stopped(&mut self, stop: Stop) -> RunError {
        let executed = std::mem::take(&mut self.executed);
        let (ix, message, exception, kind, inputs) = match stop {
            Stop::Cancelled(ix) => {
                return RunError::Interrupted { node: ix.map(|ix| self.node_ref(ix)), executed };
            }
            Stop::Failed(ix, error) => {
                let asynchronous = self.board.graph.node(ix).class.schema.work == Work::Async;
                let inputs = if asynchronous { Map::new() } else { shown(&self.columns(ix)) };
                (ix, error.to_string(), error.exception.clone(), kind(error.kind), inputs)
            }
            Stop::Cycle => {
                let pending = |ix| self.expanded.get(&ix).map(Pending::links).unwrap_or_default();
                let (cycle, blamed) = self
                    .board
                    .find_cycle(&pending)
                    .unwrap_or_else(|| (Vec::new(), self.board.stuck().next().unwrap_or_default()));
                let ids: Vec<String> =
                    cycle.iter().map(|ix| self.board.graph.node(*ix).info.id.to_string()).collect();
                let message = match ids.as_slice() {
                    [one] => format!("Dependency cycle detected: {one} needs itself"),
                    all => format!("Dependency cycle detected: {} need each other", all.join(", ")),
                };
                (blamed, message, "graph.DependencyCycleError".to_owned(), "cycle", Map::new())
            }
        };
        let node = self.node_ref(ix);
        RunError::Failed(Arc::new(JobError { node, message, exception, kind, inputs, executed }))
    }
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Input => "input",
        ErrorKind::Model => "model",
        ErrorKind::Memory => "memory",
        ErrorKind::Panicked => "panicked",
        ErrorKind::Cancelled | ErrorKind::Failed => "failed",
    }
}
