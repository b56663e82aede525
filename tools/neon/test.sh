#!/usr/bin/env bash
# Builds the kernels' tests for 64-bit ARM and runs them, emulated where this machine is another.
#
#     rustup target add aarch64-unknown-linux-gnu
#     apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
#     tools/neon/test.sh [part of a test's name]
#
# RUSTC names another compiler where rustup's has no standard library for the target. Emulated time says nothing of
# speed: this is for whether NEON's path compiles, and for its results against sums in f64.
set -euo pipefail
cd "$(dirname "$0")"

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
if [ "$(uname -m)" != aarch64 ]; then
  emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$emulator -L /usr/aarch64-linux-gnu"
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../../target}/neon"
# The pool's own tests are not among them: qemu does not take pages back where a process gives them.
cargo test --release --target aarch64-unknown-linux-gnu --test operators -- "$@"
