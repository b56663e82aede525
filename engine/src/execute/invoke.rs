//! Calls of nodes, wherever they run; a panic becomes an error of the node.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::try_join_all;

use super::calls::Call;
use crate::graph::NodeIx;
use crate::node::{Context, Node, NodeError, Outcome};

/// What a call gave.
pub(super) enum Given {
    /// What the node returned.
    Outcome(Outcome),
    /// It was not called, for an input was blocked.
    Blocked(Option<Arc<str>>),
}

/// The answer of a node that ran somewhere else.
pub(super) struct Reply {
    pub(super) ix: NodeIx,
    pub(super) said: Said,
}

/// What it answered.
pub(super) enum Said {
    /// It ran.
    Done(Result<Vec<Given>, NodeError>),
    /// It named the lazy inputs that it needs.
    Needs(Result<Vec<String>, NodeError>),
}

/// What a panic says.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

fn panicked(panic: &(dyn Any + Send)) -> NodeError {
    NodeError::panicked(format!("the node panicked: {}; this is a defect of the node", said(panic)))
}

/// Calls a node on this thread, call after call.
pub(super) fn run(node: &dyn Node, context: &Context, calls: Vec<Call>) -> Result<Vec<Given>, NodeError> {
    let mut given = Vec::with_capacity(calls.len());
    for call in calls {
        match call {
            Call::Blocked(why) => given.push(Given::Blocked(why)),
            Call::Run(inputs) => {
                context.check()?;
                let outcome = catch_unwind(AssertUnwindSafe(|| node.execute(context, &inputs)));
                given.push(Given::Outcome(outcome.unwrap_or_else(|panic| Err(panicked(&*panic)))?));
            }
        }
    }
    Ok(given)
}

/// Calls an asynchronous node, all its calls side by side. The first one that fails ends the others where they wait.
pub(super) async fn run_async(
    node: Arc<dyn Node>,
    context: Context,
    calls: Vec<Call>,
) -> Result<Vec<Given>, NodeError> {
    let calls = calls.into_iter().map(|call| async {
        match call {
            Call::Blocked(why) => Ok(Given::Blocked(why)),
            Call::Run(inputs) => {
                // Inside of the block: a node may panic before it has a future to give.
                let call = AssertUnwindSafe(async { node.execute_async(&context, &inputs).await });
                call.catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic))).map(Given::Outcome)
            }
        }
    });
    try_join_all(calls).await
}

/// Asks a node which lazy inputs it needs, for each of its calls.
pub(super) fn needs(node: &dyn Node, context: &Context, calls: &[Call]) -> Result<Vec<String>, NodeError> {
    let mut names = Vec::new();
    for call in calls {
        if let Call::Run(inputs) = call {
            let asked = catch_unwind(AssertUnwindSafe(|| node.needs(context, inputs)));
            names.extend(asked.unwrap_or_else(|panic| Err(panicked(&*panic)))?);
        }
    }
    Ok(names)
}

/// [`needs`] of an asynchronous node.
pub(super) async fn needs_async(
    node: Arc<dyn Node>,
    context: Context,
    calls: Vec<Call>,
) -> Result<Vec<String>, NodeError> {
    let mut names = Vec::new();
    for call in &calls {
        if let Call::Run(inputs) = call {
            let asked = AssertUnwindSafe(async { node.needs_async(&context, inputs).await });
            names.extend(asked.catch_unwind().await.unwrap_or_else(|panic| Err(panicked(&*panic)))?);
        }
    }
    Ok(names)
}
