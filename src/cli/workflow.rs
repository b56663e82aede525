//! From a file to a workflow that the engine has checked.

use std::io::Read;
use std::path::Path;

use ebb_engine::registry::Registry;
use ebb_engine::schema::{Choices, InputType};
use ebb_engine::validate::{IssueKind, NodeErrors, Rejection};
use ebb_engine::workflow::source::{Opened, Source};
use ebb_engine::workflow::ui::{Catalog, Clock, Options};
use ebb_engine::workflow::{NodeId, Workflow};
use ebb_weights::WeightError;

use super::failure::{Done, Failure};
use super::options::{ChangeOptions, FolderOptions};
use super::{set, similar};

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 30;

/// The file's bytes; `-` is the standard input.
pub(super) fn read(path: &Path) -> Done<Vec<u8>> {
    let failed = |error| Failure::file("read", path, &error);
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    source.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::workflow(format!("{} is larger than 1 GiB: no workflow is", path.display())));
    }
    Ok(bytes)
}

/// How a UI workflow converts here.
pub(super) fn options(seed: u64) -> Options<'static> {
    let now = jiff::Zoned::now();
    let part = |value: i8| u32::try_from(value).unwrap_or(0);
    let clock = Clock {
        year: now.year().into(),
        month: part(now.month()),
        day: part(now.day()),
        hour: part(now.hour()),
        minute: part(now.minute()),
        second: part(now.second()),
    };
    Options { clock: Some(clock), ..Options::seeded(seed) }
}

/// Reads a workflow in whichever form, and applies the changes.
pub(super) fn open(path: &Path, changes: &ChangeOptions, registry: &Registry) -> Done<Opened> {
    let place =
        if path.as_os_str() == "-" { "the standard input".into() } else { path.display().to_string() };
    let named = |error: &dyn std::fmt::Display| Failure::workflow(format!("{place}: {error}"));
    let source = Source::read(&read(path)?).map_err(|error| named(&error))?;
    let catalog = Catalog::from_registry(registry);
    let mut opened =
        source.open(&catalog, &mut options(changes.choices_seed)).map_err(|error| named(&error))?;
    if !opened.unknown.is_empty() {
        let mut message = String::from("the workflow has nodes that ebb does not have:");
        for node in &opened.unknown {
            let known = registry.iter().map(|class| class.schema.class.as_str());
            message +=
                &format!("\n  node #{} is a `{}`{}", node.id, node.class, similar::hint(&node.class, known));
        }
        return Err(Failure::workflow(message));
    }
    for change in &changes.set {
        set::apply(change, &mut opened.workflow, registry).map_err(Failure::workflow)?;
    }
    Ok(opened)
}

/// The output nodes that `--only` names.
pub(super) fn targets(changes: &ChangeOptions, workflow: &Workflow) -> Done<Option<Vec<NodeId>>> {
    if changes.only.is_empty() {
        return Ok(None);
    }
    let targets = changes.only.iter().map(|name| set::find_node(name, workflow));
    targets.collect::<Result<_, _>>().map(Some).map_err(Failure::workflow)
}

/// A rejection in words, with its exit code: a model file that no folder lists is a missing model.
pub(super) fn rejected(rejection: &Rejection, workflow: &Workflow, registry: &Registry) -> Failure {
    refused(rejection.explain(workflow), rejection, registry)
}

/// As [`rejected`], and says of a model that is there but not listed why it is not.
pub(super) fn rejected_in(
    rejection: &Rejection,
    workflow: &Workflow,
    registry: &Registry,
    folders: &FolderOptions,
) -> Failure {
    let mut text = rejection.explain(workflow);
    if let Ok(folders) = folders.models() {
        let issues = rejection.node_errors.0.values().flat_map(|node| &node.issues);
        let names = issues.filter_map(|issue| match &issue.kind {
            IssueKind::NotInList { received, .. } => received.as_str(),
            _ => None,
        });
        for name in names {
            let mut refusals = folders.kinds().filter_map(|kind| folders.resolve(kind, name).err());
            if let Some(error) = refusals.find(|e| matches!(e, WeightError::NotListed { why: Some(_), .. })) {
                text += &format!("  {error}\n");
            }
        }
    }
    refused(text, rejection, registry)
}

fn refused(text: String, rejection: &Rejection, registry: &Registry) -> Failure {
    if missing_models(&rejection.node_errors, registry) {
        Failure::model(text)
    } else {
        Failure::workflow(text)
    }
}

/// Whether all that is wrong is names of files that are not there.
fn missing_models(errors: &NodeErrors, registry: &Registry) -> bool {
    let mut issues =
        errors.0.values().flat_map(|node| node.issues.iter().map(move |issue| (node, issue))).peekable();
    issues.peek().is_some()
        && issues.all(|(node, issue)| {
            let input = issue.input.as_deref().unwrap_or_default();
            let schema = registry.get(&node.class).map(|class| &class.schema);
            let declared = schema.and_then(|schema| schema.find(input));
            matches!(issue.kind, IssueKind::NotInList { .. })
                && declared.is_some_and(|declared| {
                    matches!(&declared.kind, InputType::Combo { choices: Choices::Listed(_), .. })
                        && !declared.options.keys().any(|option| option.ends_with("_upload"))
                })
        })
}
