//! The editor's drawing with a cell's values in it.
//!
//! A picture carries two workflows: the prompt that ran, and the drawing that a person edits. A
//! drawing stores values by position, which only a conversion understands; so a value's place is
//! found by trying: it is the one that, when changed, changes exactly that input of the converted
//! prompt. A value whose place is not found that way leaves the sweep without drawings, since one
//! that says something else than the prompt would be worse than none.

use serde_json::Value as Json;

use super::Sweep;
use super::axis::{Axis, Change, text};
use crate::workflow::ui::{Catalog, Options, convert};
use crate::workflow::{InputValue, NodeId, Workflow};

/// A drawing and the places in it that the axes of a sweep change.
#[derive(Clone, Debug)]
pub struct Drawing {
    base: Json,
    places: Vec<Vec<String>>,
}

impl Drawing {
    /// Finds the places of a sweep's axes in a drawing; none where one of them is not found.
    pub fn new(base: &Json, sweep: &Sweep, catalog: &Catalog) -> Option<Self> {
        let converted = Workflow::from_json(prompt(base, catalog)?).ok()?;
        let finder = Finder { base, catalog, converted };
        let places = sweep.axes().iter().map(|axis| finder.places(axis)).collect::<Option<_>>()?;
        Some(Self { base: base.clone(), places })
    }

    /// The drawing of a cell.
    pub fn of(&self, sweep: &Sweep, cell: usize) -> Json {
        let mut drawing = self.base.clone();
        for ((axis, places), value) in sweep.axes().iter().zip(&self.places).zip(sweep.index(cell)) {
            for place in places {
                if let (Some(slot), Some(value)) = (drawing.pointer_mut(place), axis.values.get(value)) {
                    put(slot, axis, &value.value);
                }
            }
        }
        drawing
    }
}

/// Sets or replaces in one widget's value.
fn put(slot: &mut Json, axis: &Axis, value: &InputValue) {
    match (&axis.change, value) {
        (Change::Input { .. }, InputValue::Literal(value)) => *slot = value.clone(),
        (Change::Input { .. }, _) => {}
        (Change::Replace { search, .. }, value) => {
            if let (Json::String(old), Some(by)) = (&*slot, text(value)) {
                *slot = Json::String(old.replace(search.as_str(), by));
            }
        }
    }
}

fn prompt(drawing: &Json, catalog: &Catalog) -> Option<Json> {
    convert(drawing.clone(), catalog, &mut Options::seeded(0)).ok().map(|converted| converted.prompt)
}

struct Finder<'a> {
    base: &'a Json,
    catalog: &'a Catalog,
    converted: Workflow,
}

impl Finder<'_> {
    /// The values in the drawing that an axis changes.
    fn places(&self, axis: &Axis) -> Option<Vec<String>> {
        let nodes = match &axis.change {
            Change::Input { node, .. } | Change::Replace { place: Some((node, _)), .. } => {
                self.nodes_called(node)
            }
            Change::Replace { place: None, .. } => self.all_nodes(),
        };
        let slots = nodes.iter().flat_map(|node| self.slots(node));
        match &axis.change {
            // A value that is there already shows nothing: try with one that is not.
            Change::Input { node, input } => {
                let there = self.converted.nodes.get(node)?.inputs.get(input)?.to_json();
                let tried = axis.values.iter().position(|value| value.value.to_json() != there);
                let Some(tried) = tried else { return Some(Vec::new()) };
                let mut slots = slots.filter(|slot| self.changes(std::slice::from_ref(slot), axis, tried));
                Some(vec![slots.next()?])
            }
            Change::Replace { search, .. } => {
                let holds = |slot: &String| {
                    let text = self.base.pointer(slot).and_then(Json::as_str);
                    text.is_some_and(|text| text.contains(search.as_str()))
                };
                let slots: Vec<String> = slots.filter(holds).collect();
                let all = (0..axis.values.len()).all(|value| self.changes(&slots, axis, value));
                all.then_some(slots)
            }
        }
    }

    /// Whether these places, set to a value, change the prompt as the axis would.
    fn changes(&self, places: &[String], axis: &Axis, value: usize) -> bool {
        let Some(set) = axis.values.get(value) else { return false };
        let mut drawing = self.base.clone();
        for place in places {
            if let Some(slot) = drawing.pointer_mut(place) {
                put(slot, axis, &set.value);
            }
        }
        let mut wanted = self.converted.clone();
        axis.apply(value, &mut wanted);
        prompt(&drawing, self.catalog).is_some_and(|prompt| same(&prompt, &wanted.to_json()))
    }

    /// Where the lists of nodes are: the canvas, and each definition of a subgraph.
    fn lists(&self) -> Vec<String> {
        let subgraphs = self.base.pointer("/definitions/subgraphs").and_then(Json::as_array);
        let inner = (0..subgraphs.map_or(0, Vec::len)).map(|i| format!("/definitions/subgraphs/{i}/nodes"));
        std::iter::once("/nodes".to_owned()).chain(inner).collect()
    }

    fn all_nodes(&self) -> Vec<String> {
        let of = |list: String| {
            let count = self.base.pointer(&list).and_then(Json::as_array).map_or(0, Vec::len);
            (0..count).map(move |i| format!("{list}/{i}"))
        };
        self.lists().into_iter().flat_map(of).collect()
    }

    /// The nodes that an id of the prompt may mean: `12:3` is node 3 of the subgraph of which 12
    /// is an instance, and that instance may show the value as its own.
    fn nodes_called(&self, id: &NodeId) -> Vec<String> {
        let parts: Vec<&str> = id.as_str().split(':').collect();
        let called = |place: &String| {
            let id = self.base.pointer(place).and_then(|node| node.get("id"));
            let id = id.map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
            id.is_some_and(|id| parts.contains(&id.as_str()))
        };
        self.all_nodes().into_iter().filter(called).collect()
    }

    /// The widget values of a node.
    fn slots(&self, node: &str) -> Vec<String> {
        let all = format!("{node}/widgets_values");
        match self.base.pointer(&all) {
            Some(Json::Array(values)) => (0..values.len()).map(|i| format!("{all}/{i}")).collect(),
            Some(Json::Object(values)) => {
                let escaped = |key: &String| key.replace('~', "~0").replace('/', "~1");
                values.keys().map(|key| format!("{all}/{}", escaped(key))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Whether two prompts say the same; `7` and `7.0` do.
fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Number(x), Json::Number(y)) => {
            x == y || (x.is_f64() != y.is_f64() && x.as_f64() == y.as_f64())
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog() -> Catalog {
        let info = json!({
            "Text": {"input": {"required": {"text": ["STRING", {"multiline": true}]}}, "output": ["TEXT"]},
            "Draw": {"input": {"required": {
                "text": ["TEXT"],
                "seed": ["INT", {"default": 0, "control_after_generate": true}],
                "steps": ["INT", {"default": 20}],
            }}, "output": []},
        });
        Catalog::from_object_info(&info)
    }

    fn drawn() -> Json {
        json!({"nodes": [
            {"id": 1, "type": "Text", "widgets_values": ["a red apple"],
             "outputs": [{"name": "TEXT", "type": "TEXT", "links": [1]}]},
            {"id": 2, "type": "Draw", "widgets_values": [7, "fixed", 7],
             "inputs": [{"name": "text", "type": "TEXT", "link": 1}], "properties": {"mine": true}},
        ], "links": [[1, 1, 0, 2, 0, "TEXT"]]})
    }

    fn sweep(axes: Vec<Axis>) -> Sweep {
        Sweep::new(Workflow::from_json(prompt(&drawn(), &catalog()).unwrap()).unwrap(), axes).unwrap()
    }

    #[test]
    fn a_cell_has_its_own_drawing() {
        let steps = Axis::input("steps", "2".into(), "steps", vec![json!(7).into(), json!(9).into()]);
        let colours = Axis::replace("c", None, "red", vec!["blue".into(), "green".into()]);
        let sweep = sweep(vec![steps, colours]);
        let drawing = Drawing::new(&drawn(), &sweep, &catalog()).unwrap();
        let last = drawing.of(&sweep, 3);
        // The seed is 7 too, and stays.
        assert_eq!(last["nodes"][1]["widgets_values"], json!([7, "fixed", 9]));
        assert_eq!(last["nodes"][0]["widgets_values"], json!(["a green apple"]));
        assert_eq!(last["nodes"][1]["properties"], json!({"mine": true}));
        for cell in 0..sweep.len() {
            let converted = prompt(&drawing.of(&sweep, cell), &catalog()).unwrap();
            assert!(same(&converted, &sweep.workflow(cell).to_json()), "cell {cell}");
        }
    }

    #[test]
    fn a_place_that_is_not_found_gives_no_drawing() {
        // Nothing in the file can set an input that is linked.
        let axis = Axis::input("text", "2".into(), "text", vec![json!("x").into()]);
        let sweep = sweep(vec![axis]);
        assert!(Drawing::new(&drawn(), &sweep, &catalog()).is_none());
    }
}
