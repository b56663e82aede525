//! Samplers.

/// Whether KSampler leaves out the smallest sigma above zero for this sampler, which would divide by it.
pub fn discards_penultimate_sigma(sampler: &str) -> bool {
    matches!(sampler, "dpm_2" | "dpm_2_ancestral" | "uni_pc" | "uni_pc_bh2")
}
