//! Graph, plan, memory and execution: no tensors, no HTTP.
