//! Model-free nodes that exercise the whole execution model.
