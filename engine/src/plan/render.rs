//! A plan for people: text, JSON, and Graphviz's dot.

use std::fmt::Write;

use super::{Plan, Step};
use crate::node::NodeRef;

/// Bytes as people read them.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

impl Plan {
    /// A line a step: what runs, what is loaded for it, what dies after it, what is held then.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (number, step) in self.steps.iter().enumerate() {
            let _ = write!(out, "{:>4}  {}", number + 1, name(&step.node));
            if let Some(title) = step.title.as_deref().filter(|title| *title != &*step.node.class) {
                let _ = write!(out, " \"{title}\"");
            }
            for equal in &step.equal {
                let _ = write!(out, " = {}", name(equal));
            }
            let _ = writeln!(out, "  held after {}", bytes(step.held_after));
            self.details(&mut out, step);
        }
        list(&mut out, "in the cache", &self.cached);
        list(&mut out, "only if a lazy input asks for it", &self.deferred);
        for doubt in &self.doubts {
            let _ = writeln!(out, "      will fail: {}: {}", name(&doubt.node), doubt.message);
        }
        for decision in &self.decisions {
            let ways: Vec<String> = decision.savings.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                out,
                "      to fit the budget: {}: {}: {} instead of {}",
                name(&decision.node),
                ways.join("; "),
                bytes(decision.after),
                bytes(decision.before)
            );
        }
        if let Some((node, refusal)) = &self.refusal {
            let _ = writeln!(out, "      will be refused: {}: {refusal}", name(node));
        }
        let _ = writeln!(out, "predicted peak {}", bytes(self.predicted_peak));
        out
    }

    fn details(&self, out: &mut String, step: &Step) {
        for load in &step.loads {
            let _ = writeln!(out, "        loads {} ({})", load.label, bytes(load.bytes));
        }
        for evicted in &step.evicts {
            let _ = writeln!(out, "        makes room: {} will be loaded again", evicted.label);
        }
        for saving in &step.savings {
            let _ = writeln!(out, "        saves memory: {saving}");
        }
        if step.scratch > 0 {
            let _ = writeln!(out, "        scratch {}", bytes(step.scratch));
        }
        for dying in &step.dies {
            let _ = write!(out, "        dies: {} of {}", dying.name, name(&dying.node));
            let size = if dying.bytes > 0 { format!(" ({})", bytes(dying.bytes)) } else { String::new() };
            let _ = writeln!(out, "{size}");
        }
        for unload in &step.unloads {
            let _ = writeln!(out, "        last use of {}", unload.label);
        }
    }

    /// The plan as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// The plan as a graph for `dot`: a box a step, an arrow to each value's end.
    pub fn to_dot(&self) -> String {
        let quote = |text: String| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut out = String::from("digraph plan {\n  node [shape=box];\n");
        for (number, step) in self.steps.iter().enumerate() {
            let label = format!("{}. {}\n{}", number + 1, name(&step.node), bytes(step.held_after));
            let id = quote(step.node.id.to_string());
            let _ = writeln!(out, "  {id} [label={}];", quote(label).replace('\n', "\\n"));
            if number > 0 {
                let before = quote(self.steps[number - 1].node.id.to_string());
                let _ = writeln!(out, "  {before} -> {id} [style=bold];");
            }
            for dying in step.dies.iter().filter(|dying| dying.node.id != step.node.id) {
                let maker = quote(dying.node.id.to_string());
                let _ =
                    writeln!(out, "  {maker} -> {id} [style=dashed, label={}];", quote(dying.name.clone()));
            }
        }
        out.push_str("}\n");
        out
    }
}

fn name(node: &NodeRef) -> String {
    format!("#{} {}", node.id, node.class)
}

fn list(out: &mut String, what: &str, nodes: &[std::sync::Arc<NodeRef>]) {
    if !nodes.is_empty() {
        let names: Vec<String> = nodes.iter().map(|node| name(node)).collect();
        let _ = writeln!(out, "      {what}: {}", names.join(", "));
    }
}
