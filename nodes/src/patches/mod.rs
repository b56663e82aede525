//! Nodes that change how a model is guided.

mod guidance;

pub(crate) use guidance::register;
