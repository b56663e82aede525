//! The events of a sweep's run: bars, report, and which cells are done.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ebb_engine::events::{Event, EventKind, EventSink};
use ebb_engine::workflow::NodeId;
use ebb_engine::workflow::sweep::Sweep;
use ebb_nodes::Folders;
use tokio::sync::mpsc::UnboundedSender;

use super::super::progress::Bars;
use super::super::report::Report;
use super::super::saved;

/// A cell with all of its outputs: its number and its files.
pub(super) type Finished = (usize, Vec<PathBuf>);

/// Reads the events.
pub(super) struct Listener {
    bars: Bars,
    folders: Folders,
    state: Mutex<State>,
}

struct State {
    report: Report,
    /// Outputs that a cell still waits for, and the files of those that it has.
    waiting: HashMap<usize, (usize, Vec<PathBuf>)>,
    finished: UnboundedSender<Finished>,
}

impl Listener {
    /// `outputs` are the output nodes of the cells that run; `finished` is told of every cell.
    pub(super) fn new(
        bars: Bars,
        folders: Folders,
        report: Report,
        outputs: &[NodeId],
        finished: UnboundedSender<Finished>,
    ) -> Self {
        let mut waiting: HashMap<usize, (usize, Vec<PathBuf>)> = HashMap::new();
        for (cell, _) in outputs.iter().filter_map(Sweep::cell_of) {
            waiting.entry(cell).or_default().0 += 1;
        }
        Self { bars, folders, state: Mutex::new(State { report, waiting, finished }) }
    }

    /// What it gathered for the report.
    pub(super) fn take_report(&self) -> Report {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).report)
    }
}

impl EventSink for Listener {
    fn emit(&self, event: Event) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.report.add(&event);
            if let EventKind::NodeFinished { node, ui: Some(ui), .. } = &event.kind
                && node.id == node.real
                && let Some((cell, _)) = Sweep::cell_of(&node.real)
                && let Some((missing, files)) = state.waiting.get_mut(&cell)
            {
                files.extend(saved::files(ui, &self.folders));
                *missing = missing.saturating_sub(1);
                if *missing == 0
                    && let Some((_, files)) = state.waiting.remove(&cell)
                {
                    // Nobody listens any more once the run is given up.
                    let _ = state.finished.send((cell, files));
                }
            }
        }
        self.bars.emit(event);
    }
}
