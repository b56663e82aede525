//! DPM-Solver (Lu et al. 2022, "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in
//! Around 10 Steps") with its own steps: `dpm_fast` and `dpm_adaptive`, as in k-diffusion.
//!
//! Time is t = −ln σ.

use candle_core::Tensor;

use super::ancestral::ancestral_step;
use super::options::Adaptive;
use super::walk::Walk;
use crate::noise::NoiseSource;
use crate::tensor::mix;
use crate::{Error, Result};

/// A step: where it starts, and the noise that the model sees there.
struct Start<'a> {
    x: &'a Tensor,
    eps: Tensor,
    t: f64,
}

impl Start<'_> {
    /// First order, eq. 3.7.
    fn first(&self, to: f64) -> Result<Tensor> {
        self.ahead(to, &[])
    }

    /// Second order with the middle at `r1` (algorithm 1); answers the noise seen there, too.
    fn second(&self, walk: &mut Walk<'_>, to: f64, r1: f64) -> Result<(Tensor, Tensor)> {
        let h = to - self.t;
        let s1 = self.t + r1 * h;
        let eps1 = noise_seen(walk, &self.first(s1)?, s1)?;
        let change = (&eps1 - &self.eps)?;
        let x = self.ahead(to, &[(-(-to).exp() / (2.0 * r1) * h.exp_m1(), &change)])?;
        Ok((x, eps1))
    }

    /// Third order with the middles at a third and two thirds (algorithm 2), from the noise seen at the
    /// first.
    fn third(&self, walk: &mut Walk<'_>, to: f64, eps1: &Tensor) -> Result<Tensor> {
        const R1: f64 = 1.0 / 3.0;
        const R2: f64 = 2.0 / 3.0;
        let h = to - self.t;
        let s2 = self.t + R2 * h;
        let change = (eps1 - &self.eps)?;
        let bend = -(-s2).exp() * (R2 / R1) * ((R2 * h).exp_m1() / (R2 * h) - 1.0);
        let eps2 = noise_seen(walk, &self.ahead(s2, &[(bend, &change)])?, s2)?;
        let change = (eps2 - &self.eps)?;
        self.ahead(to, &[(-(-to).exp() / R2 * (h.exp_m1() / h - 1.0), &change)])
    }

    /// The exact solution for constant noise, and corrections of it.
    fn ahead(&self, to: f64, corrections: &[(f64, &Tensor)]) -> Result<Tensor> {
        let mut terms = vec![(1.0, self.x), (-(-to).exp() * (to - self.t).exp_m1(), &self.eps)];
        terms.extend_from_slice(corrections);
        mix(&terms)
    }
}

/// The noise in `x` as the model sees it at time `t`.
fn noise_seen(walk: &mut Walk<'_>, x: &Tensor, t: f64) -> Result<Tensor> {
    let sigma = (-t).exp();
    let denoised = walk.denoise(x, sigma)?;
    mix(&[(1.0 / sigma, x), (-1.0 / sigma, &denoised)])
}

/// Begins a step at `t`; the observer gets to see it.
fn start<'a>(walk: &mut Walk<'_>, i: usize, x: &'a Tensor, t: f64) -> Result<Start<'a>> {
    let sigma = (-t).exp();
    let denoised = walk.begin(i, x, sigma)?;
    let eps = mix(&[(1.0 / sigma, x), (-1.0 / sigma, &denoised)])?;
    Ok(Start { x, eps, t })
}

/// The times between which the schedule runs; it ends before the zero.
fn time_range(what: &'static str, sigmas: &[f64]) -> Result<(f64, f64)> {
    let ends = match *sigmas {
        [first, .., before, 0.0] => Some((first, before)),
        [first, 0.0] => Some((first, first)),
        [first, .., last] => Some((first, last)),
        _ => None,
    };
    let time = |sigma: f64| Some(-sigma.ln()).filter(|time| time.is_finite());
    let times = ends.and_then(|(first, last)| Some((time(first)?, time(last)?)));
    times.ok_or_else(|| Error::Option {
        what,
        option: "sigmas",
        found: format!("{ends:?}"),
        expected: "a start and an end that are finite and above zero",
    })
}

/// As many evaluations as the schedule has steps, in even steps of third order and a remainder.
pub(super) fn dpm_fast(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let (from, to) = time_range("dpm_fast", walk.sigmas)?;
    let evaluations = walk.steps();
    let groups = evaluations / 3 + 1;
    let orders: Vec<usize> = match evaluations % 3 {
        0 => [vec![3; groups.saturating_sub(2)], vec![2, 1]].concat(),
        rest => [vec![3; groups - 1], vec![rest]].concat(),
    };
    let time = |i: usize| from + (to - from) * (i as f64 / groups as f64);
    for (i, order) in orders.into_iter().enumerate() {
        let (t, next) = (time(i), time(i + 1));
        if t == next {
            continue; // A schedule of one sigma: nothing to walk.
        }
        let start = start(walk, i, &x, t)?;
        x = match order {
            1 => start.first(next)?,
            2 => start.second(walk, next, 0.5)?.0,
            _ => {
                let s1 = t + (next - t) / 3.0;
                let eps1 = noise_seen(walk, &start.first(s1)?, s1)?;
                start.third(walk, next, &eps1)?
            }
        };
    }
    Ok(x)
}

/// Chooses its own steps so that each makes an error of the size that the options allow.
pub(super) fn dpm_adaptive(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    const ARRIVED: f64 = 1e-5;
    const SMALLEST: f64 = 1e-12;
    let options = walk.options.adaptive;
    let order = walk.options.order.unwrap_or(3);
    let (eta, s_noise) = (walk.options.eta.unwrap_or(0.0), walk.options.s_noise.unwrap_or(1.0));
    if !matches!(order, 2 | 3) {
        let (found, expected) = (order.to_string(), "2 or 3");
        return Err(Error::Option { what: "dpm_adaptive", option: "order", found, expected });
    }
    let (mut t, end) = time_range("dpm_adaptive", walk.sigmas)?;
    let direction = if end > t { 1.0 } else { -1.0 };
    if direction < 0.0 && eta > 0.0 {
        let (found, expected) = (eta.to_string(), "0 where sigmas rise");
        return Err(Error::Option { what: "dpm_adaptive", option: "eta", found, expected });
    }
    let mut noise = walk.independent_noise(&x);
    let mut control = StepSize::new(&options, direction, if eta > 0.0 { 1.5 } else { order as f64 });
    let mut x_before = x.clone();
    let mut step = 0;
    while (end - t) * direction > ARRIVED {
        let next = if direction > 0.0 { end.min(t + control.h) } else { end.max(t + control.h) };
        // A size that is not a number comes from a model that answered none.
        if !control.h.is_finite() || (next - t) * direction < SMALLEST {
            return Err(Error::Diverged { what: "dpm_adaptive", step: control.h });
        }
        let (to, up) = if eta > 0.0 { noisy_end(t, next, end, eta) } else { (next, 0.0) };
        let start = start(walk, step, &x, t)?;
        let (low, high) = if order == 2 {
            (start.first(to)?, start.second(walk, to, 0.5)?.0)
        } else {
            let (low, eps1) = start.second(walk, to, 1.0 / 3.0)?;
            (low, start.third(walk, to, &eps1)?)
        };
        let error = error_of(&low, &high, &x_before, &options)?;
        if control.accepts(error) {
            x_before = low;
            x = high;
            if up > 0.0 {
                let fresh = noise.noise((-t).exp(), (-next).exp())?;
                x = mix(&[(1.0, &x), (up * s_noise, &fresh)])?;
            }
            t = next;
        }
        step += 1;
    }
    Ok(x)
}

/// Where a noisy step goes down to, and the deviation of the noise that brings it back.
fn noisy_end(t: f64, next: f64, end: f64, eta: f64) -> (f64, f64) {
    let (down, _) = ancestral_step((-t).exp(), (-next).exp(), eta);
    let to = end.min(-down.ln());
    let up = ((-2.0 * next).exp() - (-2.0 * to).exp()).max(0.0).sqrt();
    (to, up)
}

/// The difference of two solutions, in units of what is allowed.
fn error_of(low: &Tensor, high: &Tensor, before: &Tensor, options: &Adaptive) -> Result<f64> {
    let allowed = (low.abs()?.maximum(&before.abs()?)? * options.rtol)?.maximum(options.atol)?;
    let share = ((low - high)? / allowed)?.to_dtype(candle_core::DType::F32)?;
    let mean_square = share.sqr()?.mean_all()?.to_scalar::<f32>()?;
    Ok(f64::from(mean_square).sqrt())
}

/// A proportional-integral-derivative controller of the step size (Söderlind 2003, "Digital Filters in
/// Adaptive Time-Stepping").
struct StepSize {
    h: f64,
    powers: [f64; 3],
    accept_safety: f64,
    /// 1/error of this step, and of the two accepted ones before.
    inverses: Option<[f64; 3]>,
}

impl StepSize {
    fn new(options: &Adaptive, direction: f64, order: f64) -> Self {
        let Adaptive { rtol: _, atol: _, h_init, pcoeff, icoeff, dcoeff, accept_safety } = *options;
        let powers = [(pcoeff + icoeff + dcoeff) / order, -(pcoeff + 2.0 * dcoeff) / order, dcoeff / order];
        Self { h: h_init.abs() * direction, powers, accept_safety, inverses: None }
    }

    /// Chooses the next step size; tells whether this step may be kept.
    fn accepts(&mut self, error: f64) -> bool {
        const KEEPS_IT_FINITE: f64 = 1e-8;
        let inverse = 1.0 / (error + KEEPS_IT_FINITE);
        let inverses = self.inverses.get_or_insert([inverse; 3]);
        inverses[0] = inverse;
        let factor: f64 =
            inverses.iter().zip(self.powers).map(|(inverse, power)| inverse.powf(power)).product();
        let factor = 1.0 + (factor - 1.0).atan(); // limits how fast the size changes
        let accept = factor >= self.accept_safety;
        if accept {
            *inverses = [inverses[0], inverses[0], inverses[1]];
        }
        self.h *= factor;
        accept
    }
}
