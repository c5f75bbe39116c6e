// bench_cuda_sample: argmax and draw over Qwen's vocabulary, with the logits where the head has just left them; beside
// draw the copy of the logits to the host that it saves.
#include <string>
#include <vector>

#include "bench/cuda/ceilings.cuh"
#include "ivl/cuda/rows/sample.cuh"

namespace {

using namespace ivl;

void run(cuda::Context& ctx, bench::Stopwatch& stopwatch, const bench::Ceilings& ceilings) {
  const bench::Table table(ctx, ceilings, "sample");
  constexpr int vocabulary = 151936, most_rows = 256;
  const Memory logits = allocate(ctx, std::size_t(most_rows) * vocabulary * sizeof(float));
  const Memory ids = allocate(ctx, most_rows * sizeof(std::int32_t));
  auto* there = reinterpret_cast<float*>(logits.data);
  auto* chosen = reinterpret_cast<std::int32_t*>(ids.data);
  bench::fill_normal(ctx, logits, ScalarKind::f32, 3);
  for (const int rows : {1, 8, 32, 256}) {
    table.row("argmax " + std::to_string(rows) + " x 151936", {.bytes = 4.0 * rows * vocabulary},
              stopwatch.measure([&] { argmax(ctx, Rows<const float>(there, rows, vocabulary), chosen); },
                                bench::Cache::warm));
  }

  const Memory draws_memory = allocate(ctx, most_rows * sizeof(Draw));
  const auto* draws = reinterpret_cast<const Draw*>(draws_memory.data);
  struct Case {
    const char* name;
    Draw draw;
  };
  for (const Case& c : {Case{"temperature", {.uniform = 0.5, .temperature = 1, .ids = vocabulary}},
                        Case{"top-k 50, top-p 0.9",
                             {.uniform = 0.5, .temperature = 1, .top_k = 50, .top_p = 0.9f, .ids = vocabulary}}}) {
    const std::vector<Draw> same(most_rows, c.draw);
    upload(ctx, draws_memory.data, same.data(), draws_memory.bytes);
    for (const int rows : {1, 32, 256}) {
      const double bytes = 4.0 * rows * vocabulary;
      const bench::Measured ours = stopwatch.measure(
          [&] { draw(ctx, draws, Rows<float>(there, rows, vocabulary), chosen); }, bench::Cache::warm);
      table.row("draw " + std::to_string(rows) + ", " + c.name, {.bytes = bytes}, ours);
      std::vector<float> host(std::size_t(rows) * vocabulary);
      table.peer("copy to the host", ours,
                 stopwatch.measure([&] { download(ctx, host.data(), there, host.size() * sizeof(float)); },
                                   bench::Cache::warm));
    }
  }
}

}  // namespace

int main() { return ivl::bench::run("bench_cuda_sample", run); }
