//! The stochastic DPM-Solver++ family: one middle evaluation (`dpmpp_sde`), two steps (`dpmpp_2m_sde`) and
//! three (`dpmpp_3m_sde`), as in k-diffusion, in ln SNR so that flow models fit (Lu et al. 2022,
//! "DPM-Solver++", section 5).

use candle_core::Tensor;

use super::ancestral::ancestral_step;
use super::options::SecondOrder;
use super::walk::Walk;
use crate::Result;
use crate::noise::NoiseSource;
use crate::tensor::mix;

/// One evaluation at the start of a step and one in it.
pub(super) fn dpmpp_sde(walk: &mut Walk<'_>, mut x: Tensor) -> Result<Tensor> {
    let (eta, s_noise) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    let r = walk.options.r.unwrap_or(0.5);
    let noisy = eta > 0.0 && s_noise > 0.0;
    let mut noise = walk.brownian_noise(&x);
    let sigmas = walk.sigmas_with_finite_snr();
    for (i, pair) in sigmas.windows(2).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        let denoised = walk.begin(i, &x, sigma)?;
        if next == 0.0 {
            x = denoised;
            continue;
        }
        let (from, to) = (walk.half_log_snr(sigma), walk.half_log_snr(next));
        let middle = from + r * (to - from);
        let sigma_middle = middle_in_f32(walk.sampling.is_flow(), sigma, next, r);
        // A step in ln SNR that goes further down, and the noise that brings it back.
        let signal_from = sigma * from.exp();
        let step = |x: &Tensor, towards: &Tensor, sigma_to: f64, lambda: f64, noise: Option<Tensor>| {
            let (down, up) = ancestral_step((-from).exp(), (-lambda).exp(), eta);
            let signal = sigma_to * lambda.exp();
            let kept = down * from.exp(); // exp(−h), h being the step in ln SNR
            let stepped = mix(&[(signal / signal_from * kept, x), (signal * (1.0 - kept), towards)])?;
            match noise {
                Some(noise) => mix(&[(1.0, &stepped), (signal * s_noise * up, &noise)]),
                None => Ok(stepped),
            }
        };
        let fresh = noisy.then(|| noise.noise(sigma, sigma_middle)).transpose()?;
        let halfway = step(&x, &denoised, sigma_middle, middle, fresh)?;
        let seen = walk.denoise(&halfway, sigma_middle)?;
        let weight = 1.0 / (2.0 * r);
        let target = mix(&[(1.0 - weight, &denoised), (weight, &seen)])?;
        let fresh = noisy.then(|| noise.noise(sigma, next)).transpose()?;
        x = step(&x, &target, next, to, fresh)?;
    }
    Ok(x)
}

/// The level at a share `r` of a step in ln SNR, computed in f32.
///
/// A Brownian path is so rough that its increments to levels which differ by one rounding (1e-6 near the
/// highest sigmas) differ by 1e-3. So this level has to be rounded as the reference rounds it.
fn middle_in_f32(is_flow: bool, from: f64, to: f64, r: f64) -> f64 {
    let half_log_snr =
        |sigma: f64| if is_flow { -(sigma / (1.0 - sigma)).ln() as f32 } else { -sigma.ln() as f32 };
    let (from, to) = (half_log_snr(from), half_log_snr(to));
    let middle = f64::from(from + r as f32 * (to - from));
    f64::from(if is_flow { 1.0 / (1.0 + middle.exp()) } else { (-middle).exp() } as f32)
}

/// Two steps, the derivative taken in the middle.
pub(super) fn dpmpp_2m_sde(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    multistep(walk, x, Order::Second(walk.options.second_order.unwrap_or(SecondOrder::Midpoint)))
}

/// Two steps, the derivative taken from both ends.
pub(super) fn dpmpp_2m_sde_heun(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    multistep(walk, x, Order::Second(walk.options.second_order.unwrap_or(SecondOrder::Heun)))
}

/// Three steps.
pub(super) fn dpmpp_3m_sde(walk: &mut Walk<'_>, x: Tensor) -> Result<Tensor> {
    multistep(walk, x, Order::Third)
}

#[derive(Clone, Copy)]
enum Order {
    Second(SecondOrder),
    Third,
}

/// An earlier evaluation, and the step in ln SNR that followed it.
struct Past {
    denoised: Tensor,
    h: f64,
}

fn multistep(walk: &mut Walk<'_>, mut x: Tensor, order: Order) -> Result<Tensor> {
    let (eta, s_noise) = (walk.options.eta.unwrap_or(1.0), walk.options.s_noise.unwrap_or(1.0));
    let mut noise = walk.brownian_noise(&x);
    let sigmas = walk.sigmas_with_finite_snr();
    let mut past: Vec<Past> = Vec::new(); // the latest first, two at most
    for (i, pair) in sigmas.windows(2).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        let denoised = walk.begin(i, &x, sigma)?;
        if next == 0.0 {
            x = denoised;
            continue;
        }
        let (from, to) = (walk.half_log_snr(sigma), walk.half_log_snr(next));
        let h = to - from;
        let h_eta = h * (eta + 1.0);
        let signal = next * to.exp();
        let replaced = -(-h_eta).exp_m1();
        x = mix(&[(next / sigma * (-h * eta).exp(), &x), (signal * replaced, &denoised)])?;
        if let Some(correction) = correction(order, &denoised, &past, h, h_eta)? {
            x = mix(&[(1.0, &x), (signal, &correction)])?;
        }
        if eta > 0.0 && s_noise > 0.0 {
            let deviation = next * (-(-2.0 * h * eta).exp_m1()).sqrt() * s_noise;
            x = mix(&[(1.0, &x), (deviation, &noise.noise(sigma, next)?)])?;
        }
        past.insert(0, Past { denoised, h });
        past.truncate(2);
    }
    Ok(x)
}

/// What the change of the clean latent adds to a step; nothing at the first.
fn correction(order: Order, denoised: &Tensor, past: &[Past], h: f64, h_eta: f64) -> Result<Option<Tensor>> {
    // The integrals of the exponential with 1 and with time (φ₂ and φ₃ of exponential integrators).
    let phi_2 = (-h_eta).exp_m1() / h_eta + 1.0;
    let phi_3 = phi_2 / h_eta - 0.5;
    let Some(last) = past.first() else { return Ok(None) };
    let r0 = last.h / h;
    let weight = match (order, past.get(1)) {
        (Order::Second(SecondOrder::Midpoint), _) => -0.5 * (-h_eta).exp_m1() / r0,
        (Order::Second(SecondOrder::Heun), _) | (Order::Third, None) => phi_2 / r0,
        (Order::Third, Some(before)) => {
            let r1 = before.h / h;
            let d0 = mix(&[(1.0 / r0, denoised), (-1.0 / r0, &last.denoised)])?;
            let d1 = mix(&[(1.0 / r1, &last.denoised), (-1.0 / r1, &before.denoised)])?;
            let bend = phi_2 * r0 / (r0 + r1) - phi_3 / (r0 + r1);
            return Ok(Some(mix(&[(phi_2 + bend, &d0), (-bend, &d1)])?));
        }
    };
    Ok(Some(mix(&[(weight, denoised), (-weight, &last.denoised)])?))
}
