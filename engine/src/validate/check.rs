//! The walk from an output to everything that it needs.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use serde_json::{Value as Json, json};

use super::coerce::{coerce, fits, same, smaller};
use super::issue::{Dangling, Issue, IssueKind};
use crate::execute::panic_message;
use crate::node::{Inputs, ValidatorScope, Verdict};
use crate::registry::{Class, Registry};
use crate::schema::{Input, InputType, Section};
use crate::value::Value;
use crate::workflow::{InputValue, Link, NodeId, Workflow};

/// Circles that a refusal names; their sizes would add up to the square of the workflow's.
const CYCLES: usize = 8;

/// Where the walk stands with a node.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Unseen,
    /// Between the output and the node at hand.
    OnPath,
    Good,
    /// It or something that it needs has an error.
    Bad,
}

/// A node whose producers are being walked.
struct Frame<'r> {
    place: usize,
    class: &'r Class,
    scope: Option<ValidatorScope>,
    /// The links that are still to follow, with the input that each stands at, in reverse.
    links: Vec<(Option<usize>, Link)>,
    issues: Vec<Issue>,
    /// The first of its own links that leads nowhere.
    dangling: Option<Dangling>,
    good: bool,
}

pub(super) struct Checker<'r> {
    workflow: Workflow,
    registry: &'r Registry,
    marks: Vec<Mark>,
    /// By place, so that the report follows the workflow.
    issues: BTreeMap<usize, Vec<Issue>>,
    cycles: Vec<Vec<NodeId>>,
}

/// What the walks have found.
pub(super) struct Checked {
    /// The workflow, coerced where the walks went.
    pub(super) workflow: Workflow,
    /// What is wrong, by the node's place in the workflow.
    pub(super) issues: BTreeMap<usize, Vec<Issue>>,
    /// Nodes that need each other.
    pub(super) cycles: Vec<Vec<NodeId>>,
}

impl<'r> Checker<'r> {
    pub(super) fn new(workflow: Workflow, registry: &'r Registry) -> Self {
        let marks = vec![Mark::Unseen; workflow.nodes.len()];
        Self { workflow, registry, marks, issues: BTreeMap::new(), cycles: Vec::new() }
    }

    pub(super) fn finish(self) -> Checked {
        Checked { workflow: self.workflow, issues: self.issues, cycles: self.cycles }
    }

    /// Checks a node and everything that it needs; true if all is well.
    pub(super) async fn check(&mut self, output: usize) -> bool {
        if self.marks[output] != Mark::Unseen {
            return self.marks[output] == Mark::Good;
        }
        let mut path: Vec<Frame<'r>> = Vec::new();
        path.extend(self.enter(output).await);
        while let Some(frame) = path.last_mut() {
            let Some((_, link)) = frame.links.last() else {
                let Some(frame) = path.pop() else { break };
                self.leave(frame, path.last_mut());
                continue;
            };
            let Some(next) = self.workflow.nodes.get_index_of(&link.node) else {
                frame.links.pop();
                continue;
            };
            match self.marks[next] {
                Mark::Unseen => {
                    let below = self.enter(next).await;
                    match below {
                        Some(below) => path.push(below),
                        None => self.marks[next] = Mark::Bad,
                    }
                }
                Mark::Good => {
                    frame.links.pop();
                }
                Mark::Bad => {
                    frame.good = false;
                    frame.links.pop();
                }
                Mark::OnPath => {
                    frame.good = false;
                    frame.links.pop();
                    // A chain in which every node links back to the first one has as many circles as nodes.
                    if self.cycles.len() < CYCLES {
                        let begin = path.iter().position(|frame| frame.place == next).unwrap_or(0);
                        let ids = path[begin..].iter().map(|frame| self.id(frame.place)).collect();
                        self.cycles.push(ids);
                    }
                }
            }
        }
        self.marks[output] == Mark::Good
    }

    fn id(&self, place: usize) -> NodeId {
        self.workflow.nodes.get_index(place).map_or_else(|| NodeId::from(""), |(id, _)| id.clone())
    }

    fn class(&self, place: usize) -> Option<&'r Class> {
        let (_, node) = self.workflow.nodes.get_index(place)?;
        self.registry.get(node.class_type.as_deref()?)
    }

    /// Checks a node's own inputs.
    async fn enter(&mut self, place: usize) -> Option<Frame<'r>> {
        let class = self.class(place)?;
        self.marks[place] = Mark::OnPath;
        let scope = class.node.validator();
        let mut frame =
            Frame { place, class, scope, links: Vec::new(), issues: Vec::new(), dangling: None, good: true };
        let mut link_types = Vec::new();
        for (i, input) in class.schema.inputs.iter().enumerate() {
            let given =
                self.workflow.nodes.get_index(place).and_then(|(_, node)| node.inputs.get(&input.name));
            match given.cloned() {
                None if input.section == Section::Required => {
                    frame.issues.push(Issue::named(&input.name, IssueKind::Missing));
                }
                None | Some(InputValue::Value(_)) => {}
                Some(InputValue::BadLink(items)) if items.len() != 2 => {
                    let received = Json::Array(items);
                    frame.issues.push(Issue::new(input, IssueKind::BadLink { received }));
                }
                Some(InputValue::BadLink(mut items)) => {
                    let id = items.swap_remove(0);
                    let input = input.name.clone();
                    frame.dangling.get_or_insert(Dangling::Node { input, id });
                }
                Some(InputValue::Link(link) | InputValue::Outside(link)) => {
                    self.check_link(&mut frame, i, input, link, &mut link_types);
                }
                Some(InputValue::Literal(literal)) => self.check_literal(&mut frame, input, &literal),
            }
        }
        if class.schema.accepts_undeclared {
            self.check_undeclared(&mut frame);
        }
        frame.links.reverse();
        if let Some(scope) = frame.scope.take() {
            self.check_custom(&mut frame, &scope, &link_types).await;
        }
        Some(frame)
    }

    fn check_link(
        &self,
        frame: &mut Frame<'r>,
        place: usize,
        input: &Input,
        link: Link,
        link_types: &mut Vec<(String, String)>,
    ) {
        let linked = self.workflow.nodes.get_index_of(&link.node);
        let Some(producer) = linked.and_then(|place| self.class(place)) else {
            frame.good = false;
            if linked.is_some() {
                // Its class is unknown: that is said already.
                return;
            }
            let id = json!(link.node.as_str());
            frame.dangling.get_or_insert(Dangling::Node { input: input.name.clone(), id });
            return;
        };
        let outputs = &producer.schema.outputs;
        let Some(output) = outputs.get(link.slot) else {
            let (input, outputs) = (input.name.clone(), outputs.len());
            frame.dangling.get_or_insert(Dangling::Slot { input, link, outputs });
            return;
        };
        link_types.push((input.name.clone(), output.kind.clone()));
        if !frame.scope.as_ref().is_some_and(|scope| scope.link_types) && !fits(output, input) {
            let received = match &output.choices {
                Some(choices) => Json::Array(choices.values()),
                None => json!(output.kind),
            };
            let expected = match &input.kind {
                InputType::Combo { choices, named: false } => Json::Array(choices.values()),
                _ => json!(input.type_name()),
            };
            let kind = IssueKind::WrongType { expected, received, link: link.clone() };
            frame.issues.push(Issue::new(input, kind));
            return;
        }
        frame.links.push((Some(place), link));
    }

    fn check_literal(&mut self, frame: &mut Frame<'r>, input: &Input, literal: &Json) {
        let value = match coerce(input, literal) {
            Ok(value) => value,
            Err(reason) => {
                let expected = input.type_name().to_owned();
                let kind = IssueKind::NotConvertible { expected, received: literal.clone(), reason };
                frame.issues.push(Issue::new(input, kind));
                return;
            }
        };
        let scope = frame.scope.as_ref();
        let own = scope.is_some_and(|scope| scope.all_inputs || scope.inputs.contains(&input.name));
        if !own && let Some(kind) = out_of_bounds(input, &value) {
            frame.issues.push(Issue::new(input, kind));
            return;
        }
        if value != *literal
            && let Some((_, node)) = self.workflow.nodes.get_index_mut(frame.place)
        {
            node.inputs.insert(input.name.clone(), InputValue::Literal(value));
        }
    }

    /// Inputs that are not declared are not judged, but what they link to must be there.
    fn check_undeclared(&self, frame: &mut Frame<'r>) {
        let Some((_, node)) = self.workflow.nodes.get_index(frame.place) else { return };
        for (name, value) in &node.inputs {
            let Some(link) = value.link() else { continue };
            if frame.class.schema.find(name).is_some() {
                continue;
            }
            match self.workflow.nodes.get_index_of(&link.node).and_then(|place| self.class(place)) {
                None if self.workflow.nodes.contains_key(&link.node) => frame.good = false,
                None => {
                    let id = json!(link.node.as_str());
                    frame.dangling.get_or_insert(Dangling::Node { input: name.clone(), id });
                }
                Some(class) if link.slot >= class.schema.outputs.len() => {
                    let (input, outputs) = (name.clone(), class.schema.outputs.len());
                    frame.dangling.get_or_insert(Dangling::Slot { input, link: link.clone(), outputs });
                }
                Some(_) => frame.links.push((None, link.clone())),
            }
        }
    }

    /// Asks the node's own validator. One that lacks a required input is not asked: that is said
    /// already.
    async fn check_custom(
        &self,
        frame: &mut Frame<'r>,
        scope: &ValidatorScope,
        link_types: &[(String, String)],
    ) {
        let Some((_, node)) = self.workflow.nodes.get_index(frame.place) else { return };
        let mut inputs = Inputs::new();
        for input in &frame.class.schema.inputs {
            if !scope.all_inputs && !scope.inputs.contains(&input.name) {
                continue;
            }
            match node.inputs.get(&input.name) {
                Some(InputValue::Literal(json)) => {
                    inputs.set(input.name.as_str(), Some(Value::plain(json.clone())));
                }
                Some(_) => inputs.set(input.name.as_str(), None),
                None if input.section == Section::Required => return,
                None => {}
            }
        }
        // Inside of the block: a node may panic before it has a future to give.
        let asked = AssertUnwindSafe(async { frame.class.node.validate_async(&inputs, link_types).await });
        let verdict = asked.catch_unwind().await.unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            Verdict::Refuse(Some(format!(
                "the node's validator panicked: {message}; this is a defect of the node"
            )))
        });
        let Verdict::Refuse(reason) = verdict else { return };
        let names = inputs.iter().map(|(name, _)| name);
        for name in names.chain(scope.link_types.then_some("input_types")) {
            frame.issues.push(Issue::named(name, IssueKind::Refused { reason: reason.clone() }));
        }
    }

    /// Closes a node; `above` is the consumer through which the walk came to it.
    fn leave(&mut self, mut frame: Frame<'r>, above: Option<&mut Frame<'r>>) {
        if let Some(dangling) = frame.dangling.take() {
            let via =
                above.as_ref().and_then(|above| above.links.last().map(|(input, link)| (above, input, link)));
            let issue = match via {
                None => {
                    Issue { input: None, config: None, kind: IssueKind::Dangling { dangling, via: None } }
                }
                Some((above, input, link)) => {
                    let declared = input.and_then(|input| above.class.schema.inputs.get(input));
                    let kind = IssueKind::Dangling { dangling, via: Some(link.clone()) };
                    Issue {
                        input: declared.map(|input| input.name.clone()),
                        config: declared.map(Input::config),
                        kind,
                    }
                }
            };
            frame.issues.push(issue);
        }
        let good = frame.good && frame.issues.is_empty();
        self.marks[frame.place] = if good { Mark::Good } else { Mark::Bad };
        if !frame.issues.is_empty() {
            self.issues.insert(frame.place, frame.issues);
        }
    }
}

/// Ranges of numbers, values of combos.
pub(super) fn out_of_bounds(input: &Input, value: &Json) -> Option<IssueKind> {
    if let Json::Number(number) = value {
        if let Some(min) = &input.min
            && smaller(number, min)
        {
            let min = Json::Number(min.clone());
            return Some(IssueKind::TooSmall { received: value.clone(), min });
        }
        if let Some(max) = &input.max
            && smaller(max, number)
        {
            let max = Json::Number(max.clone());
            return Some(IssueKind::TooBig { received: value.clone(), max });
        }
    }
    if let InputType::Combo { choices, .. } = &input.kind {
        let choices = choices.values();
        if !choices.iter().any(|choice| same(choice, value)) {
            return Some(IssueKind::NotInList { received: value.clone(), choices });
        }
    }
    None
}
