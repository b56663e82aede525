//! `math/schedules.json`: every scheduler for every kind of model.

use std::path::Path;

use ebb_sampling::{ModelSampling, Scheduler};
use serde_json::Value;

use crate::support::{AnyResult, Family, Report};

pub(crate) const FAMILY: Family = Family { name: "math/schedules", files: &["math/schedules.json"], check };

/// Relative.
const BOUND: f64 = 1e-5;

/// The kinds of model that the reference kit computes schedules and samplers for.
pub(crate) fn model_sampling(kind: &str) -> AnyResult<ModelSampling> {
    Ok(match kind {
        "sd1-eps" => ModelSampling::eps(),
        "sd2-v" => ModelSampling::v(false),
        "v-zsnr" => ModelSampling::v(true),
        "sd3-flow" => ModelSampling::flow(3.0, 1000.0),
        "flux-dev" => ModelSampling::flux(1.15),
        "flux-schnell" => ModelSampling::flow(1.0, 1.0),
        _ => return Err(format!("unknown kind of model `{kind}`").into()),
    })
}

fn check(folder: &Path, report: &mut Report) -> AnyResult {
    // Python writes NaN, which is not JSON.
    let text = std::fs::read_to_string(folder.join("math/schedules.json"))?.replace("NaN", "null");
    let kinds: serde_json::Map<String, Value> = serde_json::from_str(&text)?;
    for (kind, expected) in &kinds {
        let sampling = model_sampling(kind)?;
        let fields = expected.as_object().ok_or("a kind is not an object")?;
        for (field, expected) in fields {
            let key = format!("{kind}/{field}");
            match field.as_str() {
                "sigma_min" => {
                    report.record_result(&key, relative(&[sampling.sigma_min()], &[number(expected)?]), BOUND)
                }
                "sigma_max" => {
                    report.record_result(&key, relative(&[sampling.sigma_max()], &[number(expected)?]), BOUND)
                }
                "sigma_of_timestep" => {
                    for pair in expected.as_array().ok_or("sigma_of_timestep is not a list")? {
                        let (timestep, sigma) = (number(&pair[0])?, number(&pair[1])?);
                        let error = relative(&[sampling.sigma(timestep)], &[sigma]);
                        report.record_result(&format!("{key}/{timestep}"), error, BOUND);
                    }
                }
                "sigmas" => {
                    for (name, expected) in expected.as_object().ok_or("sigmas is not an object")? {
                        let error = schedule_error(&sampling, name, expected);
                        report.record_result(&format!("{key}/{name}"), error, BOUND);
                    }
                }
                _ => report.fail(&key, "unknown field"),
            }
        }
    }
    Ok(())
}

fn schedule_error(sampling: &ModelSampling, name: &str, expected: &Value) -> AnyResult<f64> {
    let found = schedule(sampling, name)?;
    let expected = expected.as_array().ok_or("not a list")?;
    // kl_optimal divides zero by zero for one step, so the reference has no number there. Ebb starts at the
    // highest sigma, as it does for every other number of steps.
    if name == "kl_optimal/1" && expected.first().is_some_and(Value::is_null) {
        return relative(&found, &[sampling.sigma_max(), 0.0]);
    }
    relative(&found, &expected.iter().map(number).collect::<AnyResult<Vec<_>>>()?)
}

/// `SCHEDULER/STEPS` or `ksampler:SAMPLER/SCHEDULER/STEPS/denoise=D`.
fn schedule(sampling: &ModelSampling, name: &str) -> AnyResult<Vec<f64>> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [scheduler, steps] => Ok(scheduler.parse::<Scheduler>()?.sigmas(sampling, steps.parse()?)?),
        [sampler, scheduler, steps, denoise] => {
            let sampler = sampler.strip_prefix("ksampler:").ok_or("no `ksampler:`")?;
            let denoise = denoise.strip_prefix("denoise=").ok_or("no `denoise=`")?.parse()?;
            let discard = ebb_sampling::samplers::discards_penultimate_sigma(sampler);
            Ok(scheduler.parse::<Scheduler>()?.ksampler_sigmas(sampling, steps.parse()?, denoise, discard)?)
        }
        _ => Err(format!("cannot read the schedule `{name}`").into()),
    }
}

fn number(value: &Value) -> AnyResult<f64> {
    value.as_f64().ok_or_else(|| format!("{value} is not a number").into())
}

/// The largest error, as a share of the expected value.
fn relative(found: &[f64], expected: &[f64]) -> AnyResult<f64> {
    if found.len() != expected.len() {
        return Err(format!("{} sigmas, expected {}: {found:?}", found.len(), expected.len()).into());
    }
    let error = |(found, expected): (&f64, &f64)| {
        if found == expected { 0.0 } else { (found - expected).abs() / expected.abs() }
    };
    Ok(found
        .iter()
        .zip(expected)
        .map(error)
        .fold(0.0, |worst, e| if e > worst || e.is_nan() { e } else { worst }))
}
