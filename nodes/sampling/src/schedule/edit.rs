//! Operations on schedules.

use crate::tensor::round_to_f32;

/// Splits before `step`: both halves hold the sigma at which they meet.
pub fn split(sigmas: &[f64], step: usize) -> (Vec<f64>, Vec<f64>) {
    let first = &sigmas[..sigmas.len().min(step.saturating_add(1))];
    (first.to_vec(), sigmas[sigmas.len().min(step)..].to_vec())
}

/// Splits so that the second half does `denoise` (0 to 1) of the steps.
///
/// At a share that rounds to no steps the first half is empty and the second holds the last sigma, as in
/// ComfyUI.
pub fn split_denoise(sigmas: &[f64], denoise: f64) -> (Vec<f64>, Vec<f64>) {
    let steps = sigmas.len().saturating_sub(1);
    let kept = ((steps as f64 * denoise).round_ties_even().max(0.0) as usize).min(sigmas.len());
    let first = if kept == 0 { 0 } else { sigmas.len() - kept };
    (sigmas[..first].to_vec(), sigmas[sigmas.len().saturating_sub(kept + 1)..].to_vec())
}

/// Reverses a schedule, to walk from a picture to noise. A zero at the start becomes 0.0001, since
/// samplers divide by it.
pub fn flip(sigmas: &[f64]) -> Vec<f64> {
    let mut flipped: Vec<f64> = sigmas.iter().rev().copied().collect();
    if let Some(first) = flipped.first_mut().filter(|first| **first == 0.0) {
        *first = round_to_f32(0.0001);
    }
    flipped
}

/// Replaces the first sigma.
pub fn set_first(sigmas: &[f64], sigma: f64) -> Vec<f64> {
    let mut sigmas = sigmas.to_vec();
    if let Some(first) = sigmas.first_mut() {
        *first = round_to_f32(sigma);
    }
    sigmas
}

/// How [`extend_intermediate`] spaces what it inserts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Even.
    Linear,
    /// Dense towards the lower sigma.
    Cosine,
    /// Dense towards the higher sigma.
    Sine,
}

/// Cuts each step that starts between `end_at` and `start_at` into `steps` smaller ones. A negative
/// `start_at` means no upper limit.
pub fn extend_intermediate(
    sigmas: &[f64],
    steps: usize,
    start_at: f64,
    end_at: f64,
    spacing: Spacing,
) -> Vec<f64> {
    let start_at = if start_at < 0.0 { f64::INFINITY } else { start_at };
    let share = |i: usize| {
        let x = i as f64 / steps as f64;
        let quarter = x * std::f64::consts::FRAC_PI_2;
        match spacing {
            Spacing::Linear => x,
            Spacing::Cosine => quarter.sin(),
            Spacing::Sine => 1.0 - quarter.cos(),
        }
    };
    let mut extended = Vec::new();
    for pair in sigmas.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        extended.push(from);
        if end_at <= from && from <= start_at {
            extended.extend((1..steps).map(|i| round_to_f32(share(i) * (to - from) + from)));
        }
    }
    extended.extend(sigmas.last());
    extended
}

/// The numbers in a text, whatever stands between them.
pub fn manual(text: &str) -> Vec<f64> {
    let is_part = |c: char| c.is_ascii_digit() || c == '.' || c == '-' || c == '+';
    text.split(|c| !is_part(c)).filter_map(|word| word.parse::<f32>().ok()).map(f64::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: [f64; 5] = [10.0, 5.0, 2.0, 1.0, 0.0];

    #[test]
    fn halves_share_the_sigma_where_they_meet() {
        assert_eq!(split(&FOUR, 2), (vec![10.0, 5.0, 2.0], vec![2.0, 1.0, 0.0]));
        assert_eq!(split(&FOUR, 9), (FOUR.to_vec(), vec![]));
        assert_eq!(split_denoise(&FOUR, 0.5), (vec![10.0, 5.0, 2.0], vec![2.0, 1.0, 0.0]));
        assert_eq!(split_denoise(&FOUR, 1.0), (vec![10.0], FOUR.to_vec()));
        assert_eq!(split_denoise(&FOUR, 0.0), (vec![], vec![0.0]));
        assert_eq!(split_denoise(&[], 0.5), (vec![], vec![]));
    }

    #[test]
    fn flipping_keeps_the_start_above_zero() {
        assert_eq!(flip(&FOUR), vec![f64::from(0.0001f32), 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(flip(&[]), Vec::<f64>::new());
    }

    #[test]
    fn inserted_sigmas_lie_between() {
        let extended = extend_intermediate(&[4.0, 2.0, 0.0], 2, -1.0, 3.0, Spacing::Linear);
        assert_eq!(extended, vec![4.0, 3.0, 2.0, 0.0]);
    }

    #[test]
    fn numbers_are_read_from_text() {
        assert_eq!(manual("1, 0.5; -2\n.25"), vec![1.0, 0.5, -2.0, 0.25]);
        assert_eq!(manual("none"), Vec::<f64>::new());
    }
}
