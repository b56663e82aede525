//! The trait that every node implements.
//!
//! A node declares a [`Schema`] and does one thing in [`execute`](Node::execute). All else has a
//! default: which lazy inputs it needs, whether something outside has changed, whether its
//! literals make sense together, what it will cost. It reaches the world only through its
//! [`Context`]: it asks for weights and memory, reports progress, and is told when to stop.
//!
//! ```
//! use ebb_engine::node::{Context, Inputs, Node, NodeError, Outcome};
//! use ebb_engine::schema::{Input, Schema};
//!
//! struct Add;
//!
//! impl Node for Add {
//!     fn schema(&self) -> Schema {
//!         Schema::new("Add").input(Input::int("a", 0)).input(Input::int("b", 0)).output("INT")
//!     }
//!
//!     fn execute(&self, _: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
//!         Ok(Outcome::value(inputs.int("a")? + inputs.int("b")?))
//!     }
//! }
//! ```

mod cancel;
mod context;
mod error;
mod forecast;
mod inputs;
mod outcome;
mod saving;

use std::future::Future;
use std::pin::Pin;

pub use cancel::Cancel;
pub use context::{Context, NodeRef, Origin, Origins, RunInfo};
pub use error::{ErrorKind, NodeError};
pub use forecast::{Forecast, Sketch, Sketches};
pub use inputs::Inputs;
pub use outcome::{Expansion, Outcome, Outputs};
pub use saving::{Saving, Savings, Way};

use crate::schema::Schema;

/// A future that a node returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a node's own validator says of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to object to.
    Accept,
    /// Refused, with a reason or without.
    Refuse(Option<String>),
}

/// Which checks of the engine a node's own validator replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidatorScope {
    /// Inputs that it looks at: their range and list checks are left to it, and a refusal is
    /// reported once for each.
    pub inputs: Vec<String>,
    /// It takes every input, so that no range or list is checked by the engine.
    pub all_inputs: bool,
    /// It checks the types of links, so that the engine does not.
    pub link_types: bool,
}

/// A node of a graph. One instance serves every use of its class, on any thread.
pub trait Node: Send + Sync + 'static {
    /// What the node declares. Asked once, when it is registered.
    fn schema(&self) -> Schema;

    /// Does the node's work. Called for `Work::Light` (must take microseconds) and
    /// `Work::Compute` (may take its time, on the compute thread; reports progress and stops
    /// when [`Context::check`] says so).
    ///
    /// # Errors
    /// Whatever goes wrong, in the user's words: the engine adds the node.
    fn execute(&self, context: &Context, inputs: &Inputs) -> Result<Outcome, NodeError> {
        let _ = (context, inputs);
        Err(NodeError::failed("this node runs asynchronously only"))
    }

    /// Does the work of a `Work::Async` node.
    fn execute_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Outcome, NodeError>> {
        Box::pin(async move { self.execute(context, inputs) })
    }

    /// Which of its lazy inputs the node needs, given those that are there. Asked until it names
    /// none that is missing. By default all of them.
    ///
    /// # Errors
    /// As in [`execute`](Node::execute).
    fn needs(&self, context: &Context, inputs: &Inputs) -> Result<Vec<String>, NodeError> {
        let _ = context;
        Ok(inputs.unset().map(str::to_owned).collect())
    }

    /// [`needs`](Node::needs) for a node that has to wait for the answer.
    fn needs_async<'a>(
        &'a self,
        context: &'a Context,
        inputs: &'a Inputs,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        Box::pin(std::future::ready(self.needs(context, inputs)))
    }

    /// Something outside the graph that the outputs depend on (a file's time, a random number):
    /// part of the cache key. `None` where there is none. [`Changed::Always`] never equals itself.
    /// Sees literals only; links are unset.
    ///
    /// # Errors
    /// As in [`execute`](Node::execute); the node is then treated as changed.
    fn changed(&self, inputs: &Inputs) -> Result<Option<Changed>, NodeError> {
        let _ = inputs;
        Ok(None)
    }

    /// What [`validate`](Node::validate) looks at, or `None` for a node without a validator.
    fn validator(&self) -> Option<ValidatorScope> {
        None
    }

    /// Judges the literals before anything runs. Links are unset; `link_types` tells the type
    /// that each link brings.
    fn validate(&self, inputs: &Inputs, link_types: &[(String, String)]) -> Verdict {
        let _ = (inputs, link_types);
        Verdict::Accept
    }

    /// [`validate`](Node::validate) for a node that has to wait for the answer.
    fn validate_async<'a>(
        &'a self,
        inputs: &'a Inputs,
        link_types: &'a [(String, String)],
    ) -> BoxFuture<'a, Verdict> {
        Box::pin(std::future::ready(self.validate(inputs, link_types)))
    }

    /// What the node will cost and make, told before anything is loaded: a pure function of
    /// literals, of what upstream nodes foretell, and of file headers. `None`: unknown.
    ///
    /// # Errors
    /// Where it is already clear that the node cannot run (a broken file, sizes that overflow).
    fn forecast(&self, inputs: &Sketches) -> Result<Forecast, NodeError> {
        let _ = inputs;
        Ok(Forecast::unknown())
    }
}

/// A change fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Changed {
    /// Equal text means unchanged.
    Fingerprint(String),
    /// Runs again each time, with everything downstream.
    Always,
}
