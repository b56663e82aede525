//! Models trained on a table of timesteps (DDPM; Ho et al. 2020).

use super::{BEYOND_ALL, NoiseLevels};

/// How the variances of DDPM's forward steps were chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BetaSchedule {
    /// β of the first step.
    pub start: f64,
    /// β of the last step.
    pub end: f64,
    /// How many steps.
    pub timesteps: usize,
}

impl Default for BetaSchedule {
    /// Stable Diffusion's.
    fn default() -> Self {
        Self { start: 0.00085, end: 0.012, timesteps: 1000 }
    }
}

/// A table of sigmas; timesteps are places in it, fractions interpolate the logarithm.
#[derive(Clone, Debug)]
pub struct Discrete {
    table: Table,
    /// Before they were rounded to f32: rescaling the table needs the digits.
    exact: Vec<f64>,
}

impl Default for Discrete {
    fn default() -> Self {
        Self::new(BetaSchedule::default())
    }
}

impl Discrete {
    /// √β runs linearly from √start to √end ("scaled linear" elsewhere); σ = √((1−ᾱ)/ᾱ).
    pub fn new(BetaSchedule { start, end, timesteps }: BetaSchedule) -> Self {
        let timesteps = timesteps.max(1);
        let (start, end) = (start.sqrt(), end.sqrt());
        let step = if timesteps > 1 { (end - start) / (timesteps - 1) as f64 } else { 0.0 };
        let mut kept = 1.0;
        Self::from_exact(
            (0..timesteps)
                .map(|i| {
                    kept *= 1.0 - (start + step * i as f64).powi(2);
                    ((1.0 - kept) / kept).sqrt()
                })
                .collect(),
        )
    }

    /// Rescales the table so that its last step holds no signal (Lin et al. 2023, "Common Diffusion Noise
    /// Schedules and Sample Steps are Flawed", algorithm 1).
    ///
    /// The last ᾱ is not quite zero, since sigma would be infinite; the value is the one that models are
    /// used with.
    pub fn zero_terminal_snr(&self) -> Self {
        const LAST_ALPHA_BAR: f64 = 4.897_345_189_085_343_5e-8;
        let roots: Vec<f64> = self.exact.iter().map(|sigma| (1.0 / (sigma * sigma + 1.0)).sqrt()).collect();
        let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return self.clone() };
        let mut alpha_bars: Vec<f64> =
            roots.iter().map(|root| ((root - last) * first / (first - last)).powi(2)).collect();
        if let Some(last) = alpha_bars.last_mut() {
            *last = LAST_ALPHA_BAR;
        }
        Self::from_exact(alpha_bars.iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect())
    }

    fn from_exact(exact: Vec<f64>) -> Self {
        Self { table: Table::new(&exact), exact }
    }
}

impl NoiseLevels for Discrete {
    fn sigmas(&self) -> &[f32] {
        &self.table.sigmas
    }

    fn timestep(&self, sigma: f64) -> f64 {
        self.table.nearest(sigma) as f64
    }

    fn sigma(&self, timestep: f64) -> f64 {
        self.table.interpolated(timestep)
    }

    fn percent_to_sigma(&self, percent: f64) -> f64 {
        percent_of_steps(self, percent)
    }
}

/// The steps that a model was distilled to use: every `skip`-th of its teacher's.
#[derive(Clone, Debug)]
pub struct Distilled {
    table: Table,
    skip: usize,
}

impl Distilled {
    /// 50 of the teacher's steps, as latent consistency models are trained (Luo et al. 2023).
    pub fn new(teacher: &Discrete) -> Self {
        const KEPT: usize = 50;
        let count = teacher.exact.len();
        let skip = (count / KEPT).max(1);
        let kept: Vec<f64> = teacher.exact.iter().copied().skip(skip - 1).step_by(skip).collect();
        Self { table: Table::new(&kept), skip }
    }
}

impl NoiseLevels for Distilled {
    fn sigmas(&self) -> &[f32] {
        &self.table.sigmas
    }

    fn timestep(&self, sigma: f64) -> f64 {
        (self.table.nearest(sigma) * self.skip + self.skip - 1) as f64
    }

    fn sigma(&self, timestep: f64) -> f64 {
        self.table.interpolated((timestep - (self.skip - 1) as f64) / self.skip as f64)
    }

    fn percent_to_sigma(&self, percent: f64) -> f64 {
        percent_of_steps(self, percent)
    }
}

/// The sigma at a share of the 1000 training steps.
fn percent_of_steps(levels: &impl NoiseLevels, percent: f64) -> f64 {
    match percent {
        p if p <= 0.0 => BEYOND_ALL,
        p if p >= 1.0 => 0.0,
        p => levels.sigma((1.0 - p) * 999.0),
    }
}

/// Sigmas and their logarithms in f32, as the reference keeps them.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) sigmas: Vec<f32>,
    logs: Vec<f32>,
}

impl Table {
    pub(super) fn new(exact: &[f64]) -> Self {
        Self {
            sigmas: exact.iter().map(|sigma| *sigma as f32).collect(),
            logs: exact.iter().map(|sigma| sigma.ln() as f32).collect(),
        }
    }

    /// The place whose logarithm is nearest.
    pub(super) fn nearest(&self, sigma: f64) -> usize {
        let wanted = (sigma as f32).ln();
        let distance = |i: usize| (wanted - self.logs[i]).abs();
        let above = self.logs.partition_point(|log| *log < wanted);
        match above {
            0 => 0,
            i if i == self.logs.len() => i - 1,
            i if distance(i) < distance(i - 1) => i,
            i => i - 1, // the first of two equally near
        }
    }

    pub(super) fn interpolated(&self, place: f64) -> f64 {
        let place = (place as f32).clamp(0.0, (self.logs.len() - 1) as f32);
        let (low, high, share) = (place.floor() as usize, place.ceil() as usize, place.fract());
        let log = (1.0 - share) * self.logs[low] + share * self.logs[high];
        f64::from(f64::from(log).exp() as f32)
    }
}
