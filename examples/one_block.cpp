// One block of InternViT-300M with random weights: layers are usable alone.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "ivl/config/checkpoints.hpp"
#include "ivl/counting/counting.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/run_alone.hpp"
#include "ivl/testing/random_tensors.hpp"
#include "program.hpp"

using namespace ivl;

int main(int argc, char** argv) {
  CLI::App app("Times one block of InternViT-300M with random weights.");
  return run_program(app, argc, argv, [&] {
    constexpr VitConfig tower = intern_vit_300m;
    using Block = VitBlock<tower>;
    Counting<cpu::Context> ctx;

    // Weights by name, as tensors_of<Block>() lists them; one's own would be in a TensorMap too.
    const Block block = place<Block>(ctx, RandomTensors<Block>(1));
    const OwnedRows<bf16, tower.hidden> x(ctx, random_values(tower.tokens() * tower.hidden, 0, 1, 2));  // one tile

    double best_s = 1e9;
    for (int run = 0; run < 5; ++run) {
      ctx.ops.clear();
      const auto start = std::chrono::steady_clock::now();
      run_alone(ctx, block, x);
      best_s = std::min(best_s, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::printf("one block of InternViT-300M, one tile: %.2f ms, %.0f GFLOP/s (%s, %d threads)\n", 1e3 * best_s,
                ctx.total().flops / best_s * 1e-9, name_of(cpu::Context::level()).data(), ctx.threads());
  });
}
