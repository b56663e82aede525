//! Schedules that were optimised for a family of models and published as numbers.

use super::{at_least_one, even};
use crate::Result;
use crate::tensor::round_to_f32;

/// The families for which Align Your Steps has a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestepFamily {
    /// Stable Diffusion 1.x.
    Sd1,
    /// SDXL.
    Sdxl,
    /// Stable Video Diffusion.
    Svd,
}

impl TimestepFamily {
    /// Sigmas for ten steps (Sabour et al. 2024, "Align Your Steps: Optimizing Sampling Schedules in
    /// Diffusion Models"; the authors' quick-start page).
    fn ten_steps(self) -> [f64; 11] {
        match self {
            Self::Sd1 => [
                14.6146412293,
                6.4745760956,
                3.8636745985,
                2.6946151520,
                1.8841921177,
                1.3943805092,
                0.9642583904,
                0.6523686016,
                0.3977456272,
                0.1515232662,
                0.0291671582,
            ],
            Self::Sdxl => [
                14.6146412293,
                6.3184485287,
                3.7681790315,
                2.1811480769,
                1.3405244945,
                0.8620721141,
                0.5550693289,
                0.3798540708,
                0.2332364134,
                0.1114188177,
                0.0291671582,
            ],
            Self::Svd => [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002],
        }
    }
}

/// The family's table, interpolated in ln σ for other numbers of steps; the last `denoise` share of it.
/// Empty where `denoise` is 0.
pub fn align_your_steps(family: TimestepFamily, steps: usize, denoise: f64) -> Result<Vec<f64>> {
    at_least_one("AlignYourStepsScheduler", steps)?;
    through(&family.ten_steps(), steps, denoise)
}

/// The families for which Optimal Steps has a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowFamily {
    /// Flux.
    Flux,
    /// Wan.
    Wan,
    /// Chroma.
    Chroma,
}

impl FlowFamily {
    /// Noise levels that were found to lose least (Pei et al. 2025, "Optimal Stepsize for Diffusion Sampling",
    /// `bebebe666/OptimalSteps`); Chroma's are its makers'.
    fn levels(self) -> &'static [f64] {
        match self {
            Self::Flux => {
                &[0.9968, 0.9886, 0.9819, 0.975, 0.966, 0.9471, 0.9158, 0.8287, 0.5512, 0.2808, 0.001]
            }
            Self::Wan => &[
                1.0, 0.997, 0.995, 0.993, 0.991, 0.989, 0.987, 0.985, 0.98, 0.975, 0.973, 0.968, 0.96, 0.946,
                0.927, 0.902, 0.864, 0.776, 0.539, 0.208, 0.001,
            ],
            Self::Chroma => &[
                0.992, 0.99, 0.988, 0.985, 0.982, 0.978, 0.973, 0.968, 0.961, 0.953, 0.943, 0.931, 0.917,
                0.9, 0.881, 0.858, 0.832, 0.802, 0.769, 0.731, 0.69, 0.646, 0.599, 0.55, 0.501, 0.451, 0.402,
                0.355, 0.311, 0.27, 0.232, 0.199, 0.169, 0.143, 0.12, 0.101, 0.084, 0.07, 0.058, 0.048,
                0.001,
            ],
        }
    }
}

/// As [`align_your_steps`], for models of flows.
pub fn optimal_steps(family: FlowFamily, steps: usize, denoise: f64) -> Result<Vec<f64>> {
    at_least_one("OptimalStepsScheduler", steps)?;
    through(family.levels(), steps, denoise)
}

fn through(table: &[f64], steps: usize, denoise: f64) -> Result<Vec<f64>> {
    if denoise.is_nan() || denoise <= 0.0 {
        return Ok(Vec::new());
    }
    let kept = if denoise < 1.0 { (steps as f64 * denoise).round_ties_even() as usize } else { steps };
    let mut sigmas = if steps + 1 == table.len() { table.to_vec() } else { log_linear(table, steps + 1) };
    let mut sigmas = sigmas.split_off(sigmas.len().saturating_sub(kept + 1));
    if let Some(last) = sigmas.last_mut() {
        *last = 0.0;
    }
    Ok(sigmas.into_iter().map(round_to_f32).collect())
}

/// `count` values along the falling curve that is straight between the logarithms of `table`'s values.
fn log_linear(table: &[f64], count: usize) -> Vec<f64> {
    let last = table.len() - 1;
    let at = |place: f64| {
        let low = (place as usize).min(last.saturating_sub(1));
        let share = place - low as f64;
        ((1.0 - share) * table[low].ln() + share * table[(low + 1).min(last)].ln()).exp()
    };
    even(0.0, last as f64, count).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_numbers_of_steps_pass_through_the_table() {
        let twenty = align_your_steps(TimestepFamily::Sd1, 20, 1.0).unwrap();
        let ten = align_your_steps(TimestepFamily::Sd1, 10, 1.0).unwrap();
        assert_eq!(twenty.len(), 21);
        for (i, sigma) in ten.iter().enumerate() {
            assert!((twenty[2 * i] - sigma).abs() <= 1e-6 * sigma);
        }
        assert_eq!(align_your_steps(TimestepFamily::Sdxl, 10, 0.5).unwrap().len(), 6);
        assert!(align_your_steps(TimestepFamily::Svd, 10, 0.0).unwrap().is_empty());
    }

    /// ComfyUI 0.3.64's numbers.
    #[test]
    fn optimal_steps_are_comfyui_s() {
        let cases: [(FlowFamily, usize, f64, &[f64]); 3] = [
            (
                FlowFamily::Flux,
                7,
                1.0,
                &[0.9968, 0.985723, 0.9759827, 0.9605618, 0.9246358, 0.7818061, 0.3749133, 0.0],
            ),
            (
                FlowFamily::Wan,
                20,
                0.5,
                &[0.973, 0.968, 0.96, 0.946, 0.927, 0.902, 0.864, 0.776, 0.539, 0.208, 0.0],
            ),
            (
                FlowFamily::Chroma,
                24,
                0.8,
                &[
                    0.9583259, 0.943, 0.9216431, 0.8936216, 0.858, 0.8118778, 0.7561188, 0.69, 0.6142739,
                    0.5331561, 0.451, 0.370022, 0.2966845, 0.232, 0.1784605, 0.1348811, 0.101, 0.0743861,
                    0.0544543, 0.0,
                ],
            ),
        ];
        for (family, steps, denoise, expected) in cases {
            let found = optimal_steps(family, steps, denoise).unwrap();
            assert_eq!(found.len(), expected.len(), "{family:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 2e-7, "{family:?}: {found}, expected {expected}");
            }
        }
    }
}
