#!/usr/bin/env bash
# Type-checks the code that only GPU builds have: the features `cuda` and `flash-attn`, and `metal` on macOS.
#
#     tools/gpu/check.sh
#
# No GPU is needed. Where the CUDA toolkit is missing, a stand-in for its compiler writes empty kernels, so that Rust's
# side is checked all the same; such a build could not run. Nothing is linked.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Apart, so that nothing else is built again for these features.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/gpu"
check() { cargo check --quiet -p ebb-models "$@" && echo "checked: $*"; }

if ! command -v nvcc >/dev/null; then
  stand_in=$(mktemp -d)
  trap 'rm -rf "$stand_in"' EXIT
  mkdir -p "$stand_in/bin" "$stand_in/include"
  touch "$stand_in/include/cuda.h"
  cat >"$stand_in/bin/nvcc" <<'NVCC'
#!/usr/bin/env bash
# Answers for its version, and leaves an empty file where an output is asked for.
for argument in "$@"; do
  case $argument in --version) echo "Cuda compilation tools, release 13.0, V13.0.48"; exit ;; esac
done
out=; folder=; sources=()
while [ $# -gt 0 ]; do
  case $1 in
    -o) out=$2; shift ;;
    --output-directory) folder=$2; shift ;;
    *.cu) sources+=("$1") ;;
  esac
  shift
done
[ -z "$out" ] || : >"$out"
for source in "${sources[@]}"; do
  [ -z "$folder" ] || : >"$folder/$(basename "$source" .cu).ptx"
done
NVCC
  # FlashAttention's build fetches CUTLASS, which empty kernels do not include.
  cat >"$stand_in/bin/git" <<'GIT'
#!/usr/bin/env bash
for argument in "$@"; do last=$argument; done
case " $* " in *cutlass*) mkdir -p "$last/include" 2>/dev/null || true ;; esac
exit 0
GIT
  chmod +x "$stand_in"/bin/*
  export PATH="$stand_in/bin:$PATH" CUDA_HOME="$stand_in" CUDA_PATH="$stand_in" NVCC="$stand_in/bin/nvcc"
  export CUDAFORGE_HOME="$stand_in" CUDA_COMPUTE_CAP=80 CUDARC_CUDA_VERSION=13000
fi

check --features cuda
check --features flash-attn
if [ "$(uname)" = Darwin ]; then
  check --features metal
else
  echo "not checked here: --features metal, whose libraries are Apple's"
fi
