//! Every operator on every path this machine has, against sums in f64 of the same (rounded) inputs.

mod attention;
mod conv;
mod elementwise;
mod linear;
mod norm;
mod quant;
mod support;
