//! Each operator at the shapes of real models: time, share of the multiply-add peak, ratio to candle.
//!
//! Peak, operator and candle are measured in turn, a few rounds, so that another process's load falls on all three.
//!
//! `cargo bench -p ebb-kernels --bench share_of_peak -- [part of a name] [rounds=N] [threads=N] [candle] [direct]`, or `-- list`

mod support;

use std::time::Instant;

use ebb_kernels::{Kernels, Pool, Threads};
use support::{Case, cases};

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn seconds(work: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |name: &str, default: usize| {
        arguments.iter().find_map(|a| a.strip_prefix(name)?.parse().ok()).unwrap_or(default)
    };
    let (rounds, threads) = (number("rounds=", 3), number("threads=", 0));
    let with_candle = arguments.iter().any(|a| a == "candle");
    let filter = arguments
        .iter()
        .find(|a| !a.contains('=') && *a != "candle" && *a != "direct")
        .cloned()
        .unwrap_or_default();
    if arguments.iter().any(|a| a == "list") {
        cases().iter().for_each(|c| println!("{}", c.name));
        return;
    }
    let threads = Threads::new(threads).expect("threads");
    let winograd = !arguments.iter().any(|a| a == "direct");
    let kernels = Kernels::new(threads, Pool::new()).expect("kernels").with_winograd(winograd);
    println!("path {}, {} threads, median of {rounds}", kernels.path().name(), kernels.threads().count());
    println!(
        "{:<44} {:>9} {:>8} {:>7} {:>9} {:>7}",
        "operator", "ms", "GFLOP/s", "peak", "candle ms", "ratio"
    );
    for Case { name, flops, precision, make } in cases() {
        if !name.contains(&filter) {
            continue;
        }
        let (mut ours, candle) = make(&kernels);
        let mut candle = candle.filter(|_| with_candle);
        // Long enough for the scheduler to give each worker a core of its own.
        let start = Instant::now();
        while start.elapsed().as_secs_f64() < 0.4 {
            ours();
        }
        if let Some(c) = &mut candle {
            c();
        }
        let (mut time, mut peaks, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let peak = kernels.probe_peak(precision, 300_000);
            time.push(seconds(&mut ours));
            peaks.push(peak);
            if let Some(c) = &mut candle {
                other.push(seconds(c));
            }
        }
        // A probe that lost its processor would flatter the operator: the best one counts.
        let (t, peak) = (median(time), peaks.into_iter().fold(0.0, f64::max));
        print!("{name:<44} {:>9.3} {:>8.0} ", t * 1e3, flops / t / 1e9);
        if flops > 0.0 {
            print!("{:>6.0}%", flops / t / peak * 100.0)
        } else {
            print!("{:>7}", "")
        }
        if !other.is_empty() {
            let c = median(other);
            print!(" {:>9.2} {:>6.1}x", c * 1e3, c / t);
        }
        println!();
    }
}
