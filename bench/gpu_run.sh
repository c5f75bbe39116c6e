#!/bin/bash
# gpu_run.sh OUT: proves and measures the CUDA backend on a machine with a GPU, in under 8 minutes on 16 cores.
#
# Needs nvcc, CMake and Ninja; for the peers also python3 with PyTorch and transformers. Libraries that are not installed
# (README.md names them) are looked for below the folders in IVL_PREFIX, separated by semicolons, and else downloaded.
#
# Writes to OUT: summary.txt (a line a step), machine.txt, build.log, tests.log, benches.md (tables, ours and the peers'),
# models.txt. Builds in build/gpu. Exit code 0 if every step went well, 1 otherwise; a step that fails does not stop those
# behind it, except the build and the conformance of the instruction wrappers: nothing counts without them.
set -uo pipefail
[ $# = 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
build=build/gpu
began=$SECONDS
failed=0
: >"$out/summary.txt"

say() { printf '%4d s  %s\n' $((SECONDS - began)) "$1" | tee -a "$out/summary.txt"; }

# step NAME SECONDS LOG COMMAND...: runs it for at most so long, its output behind a heading in OUT/LOG.
step() {
  local name=$1 limit=$2 log=$out/$3 code
  shift 3
  printf '\n## %s\n\n' "$name" >>"$log"
  timeout "$limit" "$@" >>"$log" 2>&1
  code=$?
  if [ $code = 0 ]; then say "ok      $name"; return 0; fi
  failed=1
  if [ $code = 124 ]; then say "TIMEOUT $name (after $limit s)"; return 1; fi
  say "FAILED  $name (exit code $code, see $(basename "$log"))"
  return 1
}
give_up() { say "gave up: $1"; exit 1; }

rm -f "$out"/{machine.txt,build.log,tests.log,benches.md,models.txt}
step machine 20 machine.txt bash -c \
  'date -u; nvcc --version; cmake --version; uname -a; nproc; git log -1 --format=%H; nvidia-smi'
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d .)
[ -n "$capability" ] || give_up "nvidia-smi names no GPU"

# ---- build -----------------------------------------------------------------------------------------
# Code for this GPU alone, and none of the CPU's tests and of the emulator's.
step configure 60 build.log cmake -S . -B $build -G Ninja -D CMAKE_BUILD_TYPE=Release -D IVL_TESTS=ON -D IVL_EXAMPLES=ON \
  -D IVL_BENCH=ON -D IVL_GPU_PROGRAMS=ON -D CMAKE_CUDA_ARCHITECTURES="$capability-real" \
  -D CMAKE_PREFIX_PATH="${IVL_PREFIX:-}" || give_up "no build"
benches=()
for source in bench/cuda/*.cu; do benches+=("bench_cuda_$(basename "$source" .cu)"); done
# What takes longest comes first: the examples' file of all checkpoints.
step build 330 build.log cmake --build $build --parallel --target any_chat_cuda bench_model cuda_test simt_gpu_test kernel_only \
  describe_image "${benches[@]}" || give_up "no build"

# ---- is it right -----------------------------------------------------------------------------------
step conformance 60 tests.log $build/tests/simt_gpu_test '--source-file=*/prim/*' || give_up "an instruction wrapper is wrong"
step kernels 120 tests.log $build/tests/simt_gpu_test '--source-file=*/kernels/*'
step models 120 tests.log $build/tests/cuda_test
step kernel_only 20 tests.log $build/bin/kernel_only
step describe_image 30 tests.log $build/bin/describe_image --device cuda --checkpoint examples/drawn_scenes/checkpoint \
  --image examples/drawn_scenes/demo/balloons.png --question "How many red circles are there?" --stats

# ---- how fast is it --------------------------------------------------------------------------------
# cuBLASLt is measured by the programs themselves, in turns with our kernels. PyTorch takes turns with ours here, twice.
peers=0
python3 -c 'import torch, transformers; assert torch.cuda.is_available()' 2>/dev/null && peers=1
[ $peers = 1 ] || say "skipped peers in PyTorch: python3 has no torch with CUDA, or no transformers"
for bench in "${benches[@]}"; do
  [ "$bench" = bench_cuda_attention ] || step "$bench" 45 benches.md $build/bin/"$bench"
done
for round in 1 2; do
  step "bench_cuda_attention, round $round" 45 benches.md $build/bin/bench_cuda_attention
  [ $peers = 0 ] || step "PyTorch SDPA, round $round" 45 benches.md python3 bench/peers/sdpa.py
done
for run in "internvl3_5_1b 1" "internvl3_5_1b 2" "internvl3_5_8b 1"; do
  read -r type round <<<"$run"
  step "bench_model $type, round $round" 60 models.txt $build/bin/bench_model --device cuda --checkpoint-type "$type"
  [ $peers = 0 ] ||
    step "transformers $type, round $round" 60 models.txt python3 bench/peers/transformers_model.py --type "$type"
done
say "done"
exit $failed
