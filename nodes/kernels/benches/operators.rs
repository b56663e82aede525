//! The same cases under divan, for comparing two builds: `cargo bench -p ebb-kernels --bench operators`.

mod support;

use divan::Bencher;
use ebb_kernels::{Kernels, Pool, Threads};
use support::cases;

fn main() {
    divan::main();
}

fn names() -> Vec<String> {
    cases().into_iter().map(|c| c.name).collect()
}

#[divan::bench(args = names(), sample_count = 5, sample_size = 1)]
fn operator(bencher: Bencher<'_, '_>, name: &String) {
    let kernels = Kernels::new(Threads::new(0).expect("threads"), Pool::new()).expect("kernels");
    let case = cases().into_iter().find(|c| &c.name == name).expect("a case of this name");
    let (mut ours, _) = (case.make)(&kernels);
    divan::black_box(case.precision);
    ours();
    bencher.counter(divan::counter::ItemsCount::new(case.flops as u64)).bench_local(ours);
}
