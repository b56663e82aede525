//! Sinusoidal timestep embeddings.

/// Embeds timesteps as `[cos | sin]` of frequencies from 1 down to `1 / max_period` (Vaswani et al. 2017, with the
/// cosines first, as the denoising diffusion models since Nichol & Dhariwal 2021 have it). Row-major `[len, width]`.
///
/// Every step rounds to f32: at timestep 999 the angle's last bits show in the output.
pub fn embedding(timesteps: &[f32], width: usize, max_period: f32) -> Vec<f32> {
    let half = width / 2;
    let frequencies: Vec<f32> =
        (0..half).map(|i| (-max_period.ln() * i as f32 / half as f32).exp()).collect();
    let mut out = Vec::with_capacity(timesteps.len() * width);
    for t in timesteps {
        out.extend(frequencies.iter().map(|f| (t * f).cos()));
        out.extend(frequencies.iter().map(|f| (t * f).sin()));
        out.resize(out.len() + width % 2, 0.0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestep_zero_is_ones_then_zeros() {
        assert_eq!(embedding(&[0.0], 4, 10_000.0), [1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn an_odd_width_ends_with_a_zero() {
        let row = embedding(&[3.0], 5, 10_000.0);
        assert_eq!((row.len(), row[4]), (5, 0.0));
    }
}
