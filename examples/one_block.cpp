// One block of InternViT-300M with random weights: layers are usable alone.
#include <chrono>
#include <cstdio>
#include <numeric>
#include <vector>

#include "ivl/config/checkpoints.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/vision/vit_block.hpp"

using namespace ivl;

/// Random values in bf16, small enough that activations stay of order 1. They live as long as the program.
static TensorView random_tensor(Shape shape) {
  static std::vector<std::vector<bf16>> kept;
  static std::uint32_t state = 1;
  std::vector<bf16>& values = kept.emplace_back(std::size_t(*elements_of(shape)));
  for (bf16& value : values)
    value = round_to<bf16>(0.06f * (float((state = state * 1664525u + 1013904223u) >> 8) * 0x1p-24f - 0.5f));
  return {Dtype::bf16, shape, std::as_bytes(std::span(values))};
}

/// What a layer hands its weights to, each with its name and shape; a checkpoint would be read here.
struct FillRandomly {
  cpu::Context& ctx;
  template <int Width, class... Shapes>
  void operator()(const char*, Vector<Width>& vector, const Shapes&...) const {
    const TensorView view = random_tensor({Width});
    vector.placed = place_vector(ctx, {&view, 1});
  }
  template <int Out, int In, class... Shapes>
  void operator()(const char*, Weight<Out, In>& matrix, const Shapes&...) const {
    const SourceMatrix source = source_matrix(random_tensor({Out, In}));
    matrix.placed = place_matrix(ctx, {&source, 1}, Fusion::stacked);
  }
};

int main() {
  constexpr VitConfig tower = intern_vit_300m;
  cpu::Context ctx;

  VitBlock<tower> block;
  VitBlock<tower>::each_weight(block, FillRandomly{ctx});

  // One tile: a sequence of 1025 tokens, all new, in one page of keys and values.
  constexpr int tokens = tower.tokens(), page_tokens = int(round_up(tokens, kv_page_unit));
  const std::int32_t row_begin[] = {0, tokens}, kv_length[] = {tokens}, page_table[] = {0};
  std::vector<std::int32_t> sequence_of(tokens, 0), positions(tokens);
  std::iota(positions.begin(), positions.end(), 0);
  const Batch batch{.rows = tokens,
                    .sequences = 1,
                    .row_begin = row_begin,
                    .kv_length = kv_length,
                    .sequence_of = sequence_of.data(),
                    .positions = positions.data(),
                    .page_table = page_table,
                    .pages_per_sequence = 1,
                    .longest = tokens};
  const auto page_bytes = kv_page_bytes(ctx, VitBlock<tower>::attention_shape, ScalarKind::bf16, page_tokens);
  const Memory page = allocate(ctx, std::size_t(page_bytes));
  const KvView kv{page.data, page_bytes, page_tokens};

  using Scratch = VitBlock<tower>::Scratch<bf16>;
  Carver measure;
  Scratch::carve(measure, tokens);
  const Memory memory = allocate(ctx, measure.used());
  Carver place(memory.data);
  const Scratch scratch = Scratch::carve(place, tokens);

  std::vector<bf16> features(std::size_t(tokens) * tower.hidden, round_to<bf16>(0.5f));
  const Rows<bf16, tower.hidden> x(features.data(), tokens);
  double best_s = 1e9;
  for (int run = 0; run < 5; ++run) {
    const auto start = std::chrono::steady_clock::now();
    block.forward(ctx, batch, kv, 1e-6f, scratch, x);
    best_s = std::min(best_s, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  const double flops =
      2.0 * tokens *
      (4.0 * tower.hidden * tower.hidden + 2.0 * tower.hidden * tower.mlp_hidden + 2.0 * tokens * tower.hidden);
  std::printf("one block of InternViT-300M, one tile: %.2f ms, %.0f GFLOP/s (%s, %d threads)\n", 1e3 * best_s,
              flops / best_s * 1e-9, name_of(cpu::Context::level()).data(), ctx.threads());
}
