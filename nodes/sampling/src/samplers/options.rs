//! What the Sampler… nodes let users choose. Every sampler reads what it knows and has its own defaults for
//! the rest.

/// Options of samplers. `None` is the sampler's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplerOptions {
    /// How much of the noise is replaced by new noise: 0 none, 1 as much as the ancestral step.
    pub eta: Option<f64>,
    /// Factor on new noise.
    pub s_noise: Option<f64>,
    /// Where the middle evaluation of a step lies (dpmpp_sde, seeds_2).
    pub r: Option<f64>,
    /// The order of a multistep method (lms, dpm_adaptive).
    pub order: Option<usize>,
    /// The last term of a two-step method (dpmpp_2m_sde).
    pub second_order: Option<SecondOrder>,
    /// dpm_adaptive's step size control.
    pub adaptive: Adaptive,
    /// er_sde's noise.
    pub er_noise: ErNoise,
    /// How many earlier steps er_sde uses: 1 to 3.
    pub max_stage: Option<usize>,
    /// sa_solver's own options.
    pub adams: Adams,
}

/// How a two-step method estimates the derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondOrder {
    /// By the value in the middle.
    Midpoint,
    /// By the values at both ends.
    Heun,
}

/// dpm_adaptive's step size control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// Relative error that a step may make.
    pub rtol: f64,
    /// Absolute error that a step may make.
    pub atol: f64,
    /// First step, in ln σ.
    pub h_init: f64,
    /// Weight of the last error.
    pub pcoeff: f64,
    /// Weight of the sum of errors.
    pub icoeff: f64,
    /// Weight of the change of errors.
    pub dcoeff: f64,
    /// A step is taken if the next one would be at least this share of it.
    pub accept_safety: f64,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            rtol: 0.05,
            atol: 0.0078,
            h_init: 0.05,
            pcoeff: 0.0,
            icoeff: 1.0,
            dcoeff: 0.0,
            accept_safety: 0.81,
        }
    }
}

/// How er_sde scales its noise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ErNoise {
    /// The paper's function.
    #[default]
    ErSde,
    /// The reverse-time SDE of this strength; 0 is the ODE.
    ReverseTime {
        /// Strength of the noise.
        eta: f64,
    },
}

/// sa_solver's own options.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adams {
    /// The noise levels between which noise is replaced, highest first; by default those of 20 % and 80 % of
    /// the way.
    pub noisy_between: Option<(f64, f64)>,
    /// How many evaluations the predictor uses.
    pub predictor_order: usize,
    /// How many evaluations the corrector uses; 0 for none.
    pub corrector_order: usize,
    /// Whether to evaluate again after the corrector.
    pub use_pece: bool,
    /// The paper's simplified coefficients where the order is 2.
    pub simple_order_2: bool,
}

impl Default for Adams {
    fn default() -> Self {
        Self {
            noisy_between: None,
            predictor_order: 3,
            corrector_order: 4,
            use_pece: false,
            simple_order_2: false,
        }
    }
}
