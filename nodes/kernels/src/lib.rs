//! CPU kernels over slices and packed weights.
