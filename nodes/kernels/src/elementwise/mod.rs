//! Operators that treat values one by one, rows one by one, or move pixels.

mod layout;
mod resize;
mod rows;
mod softmax;

pub use layout::Image;
pub use resize::{Filter, Resize};
pub use softmax::Softmax;
