//! However many jobs meet, and whatever else computes in parallel: no more threads than were asked for.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread::ThreadId;

use ebb_kernels::{
    Activation, Epilogue, KernelError, Kernels, Linear, LinearSpec, PackedLinear, Pool, Residual, Threads,
};
use rayon::prelude::*;

const WORKERS: usize = 2;

/// A job of linear layers; returns the sum of what came out.
fn job(kernels: &Kernels, layer: &PackedLinear, rows: usize) -> Result<f32, KernelError> {
    let x = kernels.pool().copy_f32(&vec![1.0; rows * 64])?;
    let mut out = kernels.pool().f32(rows * 96)?;
    for _ in 0..50 {
        kernels.linear(Linear {
            x: x.view(),
            rows,
            rows_per_sample: 0,
            w: layer,
            epilogue: Epilogue {
                activation: Activation::None,
                residual: Residual::None,
                ..Default::default()
            },
            x_layout: None,
            out: out.view_mut(),
            out_layout: None,
        })?;
    }
    Ok(out.as_f32().iter().sum())
}

#[test]
fn jobs_and_parallel_iterators_share_the_workers_that_were_asked_for() -> Result<(), KernelError> {
    let threads = Threads::of_process(WORKERS)?;
    assert_eq!((threads.count(), rayon::current_num_threads()), (WORKERS, WORKERS));
    let kernels = Kernels::new(threads, Pool::new())?;
    let weight = vec![0.5f32; 96 * 64];
    let spec = LinearSpec { in_features: 64, ..Default::default() };
    let layer = PackedLinear::new(&[weight.as_slice().into()], spec)?;

    let seen: Mutex<HashSet<ThreadId>> = Mutex::default();
    let note = || {
        seen.lock().unwrap_or_else(|e| e.into_inner()).insert(std::thread::current().id());
    };
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..3)
            .map(|n| {
                scope.spawn({
                    let (kernels, layer) = (&kernels, &layer);
                    move || job(kernels, layer, 200 + n)
                })
            })
            .collect();
        // As pictures are scaled, and as candle multiplies.
        let note = &note;
        scope.spawn(move || (0..500).into_par_iter().for_each(|_| note()));
        scope.spawn({
            let kernels = &kernels;
            move || kernels.threads().run(|| (0..500).into_par_iter().for_each(|_| note()))
        });
        for (n, job) in jobs.into_iter().enumerate() {
            let sum = job.join().unwrap_or(Ok(0.0));
            assert_eq!(sum, Ok((200 + n) as f32 * 96.0 * 32.0));
        }
    });
    // Every parallel iterator ran on the process's workers, which are as many as were asked for.
    assert!(seen.lock().unwrap_or_else(|e| e.into_inner()).len() <= WORKERS);

    // Who asks for another number later gets workers of its own; the same number shares.
    assert_eq!(Threads::of_process(WORKERS)?.count(), WORKERS);
    assert_eq!(Threads::of_process(WORKERS + 1)?.count(), WORKERS + 1);
    assert_eq!(rayon::current_num_threads(), WORKERS);
    Ok(())
}
