//! Bars for the run's events: one for its steps, one for the node that computes, one for weights
//! that are read. Drawn on a terminal only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ebb_engine::events::{Event, EventKind, EventSink};
use ebb_engine::workflow::{NodeId, Workflow};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Draws a run.
pub(super) struct Bars {
    bars: MultiProgress,
    steps: ProgressBar,
    titles: HashMap<NodeId, String>,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    nodes: HashMap<NodeId, ProgressBar>,
    loads: HashMap<String, ProgressBar>,
}

impl Bars {
    /// Bars on the standard error; hidden where that is no terminal.
    pub(super) fn new(workflow: &Workflow) -> Self {
        let bars = MultiProgress::new();
        let line = style("{bar:24} step {pos}/{len} {wide_msg} {elapsed}");
        let steps = bars.add(ProgressBar::no_length().with_style(line));
        // A step that reports nothing of its own may take a minute: the clock shows that it goes on.
        steps.enable_steady_tick(Duration::from_millis(500));
        let titles =
            workflow.nodes.iter().filter_map(|(id, node)| Some((id.clone(), node.title()?.to_owned())));
        Self { bars, steps, titles: titles.collect(), shown: Mutex::default() }
    }

    /// Prints a line above the bars, on the standard error.
    pub(super) fn line(&self, text: &str) {
        if self.bars.is_hidden() {
            eprintln!("{text}");
        } else {
            // A terminal that went away reads nothing anyway.
            let _ = self.bars.println(text);
        }
    }

    fn title(&self, id: &NodeId, class: &str) -> String {
        self.titles.get(id).cloned().unwrap_or_else(|| class.to_owned())
    }

    /// The bar of a node that reports progress, made at its first report.
    fn node_bar(&self, id: &NodeId, class: &str) -> ProgressBar {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let line = style("{bar:24} {pos}/{len} {wide_msg} {elapsed}, {eta} left");
            let bar = self.bars.add(ProgressBar::new(1).with_style(line).with_message(self.title(id, class)));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        };
        shown.nodes.entry(id.clone()).or_insert_with(made).clone()
    }

    fn load_bar(&self, label: &str) -> ProgressBar {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || {
            let line = style("{bar:24} {bytes}/{total_bytes} reading {wide_msg}");
            self.bars.add(ProgressBar::new(1).with_style(line).with_message(label.to_owned()))
        };
        shown.loads.entry(label.to_owned()).or_insert_with(made).clone()
    }

    fn close_node(&self, id: &NodeId) {
        let bar = self.shown.lock().unwrap_or_else(PoisonError::into_inner).nodes.remove(id);
        bar.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn close_load(&self, label: &str) {
        let bar = self.shown.lock().unwrap_or_else(PoisonError::into_inner).loads.remove(label);
        bar.iter().for_each(ProgressBar::finish_and_clear);
    }

    fn close_all(&self) {
        let shown = std::mem::take(&mut *self.shown.lock().unwrap_or_else(PoisonError::into_inner));
        shown.nodes.into_values().chain(shown.loads.into_values()).for_each(|bar| bar.finish_and_clear());
        self.steps.finish_and_clear();
    }
}

impl EventSink for Bars {
    fn emit(&self, event: Event) {
        match event.kind {
            EventKind::Started { steps, .. } => self.steps.set_length(steps as u64),
            EventKind::PlanRevised { added, .. } => self.steps.inc_length(added as u64),
            EventKind::NodeStarted { node } => self.steps.set_message(self.title(&node.display, &node.class)),
            EventKind::Progress { node, value, max, .. } => {
                let bar = self.node_bar(&node.id, &node.class);
                // Bars count whole steps; a fraction of one is not worth a line.
                bar.set_length(max as u64);
                bar.set_position(value as u64);
            }
            EventKind::Loading { label, done, total, .. } => {
                let bar = self.load_bar(&label);
                bar.set_length(total);
                bar.set_position(done);
            }
            EventKind::Loaded { label, .. } => self.close_load(&label),
            EventKind::NodeFinished { node, .. } => {
                self.close_node(&node.id);
                self.steps.inc(1);
            }
            EventKind::Text { node, text } => {
                self.line(&format!("{}: {text}", self.title(&node.display, &node.class)));
            }
            EventKind::NodeBlocked { node, message, .. } => {
                self.line(&format!("{} was blocked: {message}", self.title(&node.display, &node.class)));
            }
            EventKind::Succeeded | EventKind::Failed { .. } | EventKind::Interrupted { .. } => {
                self.close_all()
            }
            _ => {}
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}
