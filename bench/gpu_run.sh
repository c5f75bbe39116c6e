#!/bin/bash
# gpu_run.sh OUT: proves and measures the CUDA backend on a machine with a GPU, in under 8 minutes on 16 cores.
#
# Needs nvcc, CMake and Ninja; for the peers also cuBLASLt, and python3 with PyTorch and transformers. Libraries that are
# not installed (README.md names them) are looked for below the absolute paths in IVL_PREFIX, separated by semicolons, and
# else downloaded; docs/cuda.md says how to bring them along to a machine without a network.
#
# Writes to OUT: summary.txt (a line a step), machine.txt, build.log, tests.log, benches.md (tables, ours and the peers'),
# models.txt. Builds in build/gpu. Exit code 0 if every step went well, 1 otherwise. What comes first matters most: a step
# that fails does not stop those behind it, and those that no time is left for are skipped.
set -uo pipefail
[ $# = 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
build=build/gpu
whole_s=470
SECONDS=0
failed=0
rm -f "$out"/{summary.txt,machine.txt,build.log,tests.log,benches.md,models.txt}

say() { printf '%4d s  %s\n' $SECONDS "$1" | tee -a "$out/summary.txt"; }

# step NAME SECONDS LOG COMMAND...: runs it for at most so long, its output behind a heading in OUT/LOG. It went well if
# the exit code is 0 and the output has a line that matches `expect`, and none that matches `reject`, where these are set.
expect="" reject=""
step() {
  local name=$1 limit=$2 log=$out/$3 begin=$SECONDS code why=""
  shift 3
  [ $limit -le $((whole_s - SECONDS)) ] || limit=$((whole_s - SECONDS))
  if [ $limit -lt 5 ]; then failed=1; say "skipped $name: no time is left"; return 1; fi
  printf '\n## %s\n\n' "$name" >>"$log"
  local from=$(($(stat -c %s "$log") + 1))
  timeout -k 5 $limit "$@" </dev/null >>"$log" 2>&1
  code=$?
  said() { tail -c +$from "$log"; }
  if [ $code = 124 ] || [ $code = 137 ]; then why="TIMEOUT $name (after $limit s"
  elif [ $code != 0 ]; then why="FAILED  $name (exit code $code"
  elif [ -n "$expect" ] && ! said | grep -E "$expect" >/dev/null; then why="FAILED  $name (it did not say \"$expect\""
  elif [ -n "$reject" ] && said | grep -E "$reject" >/dev/null; then why="FAILED  $name (it said \"$reject\""; fi
  if [ -n "$why" ]; then
    failed=1
    say "$why, see $(basename "$log"))"
    said | tail -n 15 | cut -c1-300
    return 1
  fi
  say "ok      $name ($((SECONDS - begin)) s)"
}
give_up() { say "gave up: $1"; exit 1; }

command -v nvcc >/dev/null || PATH=$PATH:/usr/local/cuda/bin
step machine 20 machine.txt bash -c \
  'date -u; nvcc --version; cmake --version; c++ --version; uname -a; nproc; git log -1 --format=%H; nvidia-smi'
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1 | tr -d '. ')
[[ $capability =~ ^[0-9]+$ ]] || give_up "nvidia-smi names no GPU"

# ---- build -----------------------------------------------------------------------------------------
# Code for this GPU alone, and none of the CPU's tests and of the emulator's. Where the toolkit came without cuBLASLt,
# PyTorch's is used.
packages=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null)
header=$(ls "$packages"/nvidia/*/include/cublasLt.h 2>/dev/null | head -1)
step configure 60 build.log cmake -S . -B $build -G Ninja -D CMAKE_BUILD_TYPE=Release -D IVL_TESTS=ON -D IVL_EXAMPLES=ON \
  -D IVL_BENCH=ON -D IVL_GPU_PROGRAMS=ON -D CMAKE_CUDA_ARCHITECTURES="$capability-real" \
  -D CMAKE_PREFIX_PATH="${IVL_PREFIX:-}" -D IVL_CUBLASLT_ROOT="${header%/include/*}" || give_up "no build"
benches=()
for source in bench/cuda/*.cu; do benches+=("$(basename "$source" .cu)"); done
# A program that does not compile fails below, on its own; an old one must not stand in for it.
rm -f $build/bin/{describe_image,kernel_only,bench_model,bench_cuda_*} $build/tests/{simt_gpu_test,cuda_test}
step build 330 build.log cmake --build $build --parallel --target models_cuda bench_model cuda_test simt_gpu_test \
  kernel_only describe_image "${benches[@]/#/bench_cuda_}" -- -k 0

# ---- is it right -----------------------------------------------------------------------------------
# A process a test file: what one breaks on the device, the next one does not see. No test may be skipped.
tests() {
  local expect='^100% tests passed' reject='\*\*\*Skipped|skipped: '
  step "$1" "$2" tests.log ctest --test-dir $build --output-on-failure --no-tests=error "${@:3}"
}
tests "conformance of the instruction wrappers" 60 --parallel 4 --tests-regex '^gpu\.prim\.'
tests "kernels" 90 --parallel 4 --tests-regex '^gpu\.kernels\.'
tests "models" 90 --verbose --tests-regex '^cuda\.model$'
tests "the same answer on the CPU" 40 --verbose --tests-regex '^device_flag$'
step kernel_only 20 tests.log $build/bin/kernel_only
step describe_image 30 tests.log $build/bin/describe_image --device cuda --checkpoint examples/drawn_scenes/checkpoint \
  --image examples/drawn_scenes/demo/balloons.png --question "How many red circles are there?" --stats

# ---- how fast is it --------------------------------------------------------------------------------
# cuBLASLt is measured by the programs themselves, in turns with our kernels. PyTorch takes turns with ours here.
peers=0
python3 -c 'from importlib.util import find_spec as found; exit(not (found("torch") and found("transformers")))' 2>/dev/null &&
  peers=1
[ $peers = 1 ] || { failed=1; say "skipped peers in PyTorch: python3 has no torch or no transformers"; }
bench() {
  local expect='^\| .* % of '
  [[ $1 != gem[mv] ]] || expect='^\|   cuBLASLt '
  step "bench_cuda_$1" 40 benches.md $build/bin/bench_cuda_"$1"
}
sdpa() { [ $peers = 0 ] || step "PyTorch SDPA" 60 benches.md python3 bench/peers/sdpa.py; }
model() { step "bench_model $1" 60 models.txt $build/bin/bench_model --device cuda --checkpoint-type "$1"; }
transformers() {
  [ $peers = 0 ] || step "transformers $1" 60 models.txt python3 bench/peers/transformers_model.py --type "$1"
}
bench gemv
bench attention
sdpa
bench gemm
bench formats
model internvl3_5_8b
transformers internvl3_5_8b
model internvl3_5_1b
transformers internvl3_5_1b
bench attention
sdpa
model internvl3_5_1b
for name in "${benches[@]}"; do [[ $name =~ ^(gemv|attention|gemm|formats)$ ]] || bench "$name"; done
model internvl3_5_gpt_oss_20b_a4b
model internvl3_5_8b
transformers internvl3_5_8b
say "done"
exit $failed
