//! Whole networks, and blocks of those too large to time whole, at their real widths: seconds, and the share of the
//! multiply-add peak that they reach.
//!
//! ```text
//! cargo run --release -p ebb-models --example share_of_peak -- [part of a name] [rounds=N] [threads=N] [f32|bf16]
//! cargo run --release -p ebb-models --example share_of_peak -- list
//! ```
//!
//! Weights are procedural and f16, as a file's would be. The peak is measured beside each round (register-only multiply-adds
//! in the type of the products), and operations are counted by running the network's own code on the backend that only
//! counts: matrix products and attention as their definitions have them. Winograd's form does with a quarter of a
//! convolution's, so that shares above 100% are possible.

#[path = "share_of_peak/cases.rs"]
mod cases;
#[path = "share_of_peak/weights.rs"]
mod weights;

use std::time::Instant;

use ebb_kernels::{Kernels, Pool, Threads};
use ebb_models::ops::{Ops, Precision};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        arguments.iter().find_map(|a| a.strip_prefix(name)?.parse().ok()).unwrap_or(default)
    };
    let precisions: Vec<_> = [("f32", Precision::F32), ("bf16", Precision::Bf16)]
        .into_iter()
        .filter(|(name, _)| {
            !arguments.iter().any(|a| a == "f32" || a == "bf16") || arguments.iter().any(|a| a == name)
        })
        .collect();
    let part = arguments.iter().find(|a| !a.contains('=') && *a != "f32" && *a != "bf16" && *a != "list");
    let rounds = number("rounds=", 3);
    let pool = Pool::new();
    let kernels = Kernels::new(Threads::new(number("threads=", 0))?, pool.clone())?;
    println!("path {}, {} threads, medians of {rounds}", kernels.path().name(), kernels.threads().count());
    println!(
        "{:<44} {:>6} {:>9} {:>8} {:>9} {:>6} {:>7}",
        "network", "", "seconds", "Tera-op", "GFLOP/s", "peak", "scratch"
    );
    for case in cases::all() {
        if part.is_some_and(|p| !case.name.contains(p.as_str())) {
            continue;
        }
        if arguments.iter().any(|a| a == "list") {
            println!("{}", case.name);
            continue;
        }
        for (label, precision) in &precisions {
            if *precision == Precision::Bf16 && case.f32_only {
                continue;
            }
            let ops = Ops::cpu(kernels.clone(), *precision);
            let counting = ops.counting();
            (case.load)(&counting)?()?;
            let operations = counting.operations().unwrap_or(0) as f64;
            let mut run = (case.load)(&ops)?;
            run()?;
            let of_kernels = match precision {
                Precision::F32 => ebb_kernels::Precision::F32,
                Precision::Bf16 => ebb_kernels::Precision::Bf16,
            };
            let (mut times, mut peak) = (Vec::new(), 0f64);
            for _ in 0..rounds {
                peak = peak.max(kernels.probe_peak(of_kernels, 300_000));
                let start = Instant::now();
                run()?;
                times.push(start.elapsed().as_secs_f64());
            }
            times.sort_by(f64::total_cmp);
            let seconds = times[times.len() / 2] * case.times;
            let rate = operations * case.times / seconds;
            println!(
                "{:<44} {label:>6} {seconds:>9.3} {:>8.3} {:>9.0} {:>5.0}% {:>4} MB",
                case.name,
                operations * case.times / 1e12,
                rate / 1e9,
                rate / peak * 100.0,
                pool.stats().peak / 1_000_000,
            );
            drop(run);
            pool.trim();
            pool.reset_peak();
        }
    }
    Ok(())
}
