// Nothing is allocated in the token loop. Replaces operator new of the whole program, and counts only when told to.
#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "../support/engine_on.hpp"
#include "../support/tiny_models.hpp"
#include "../text/json_tokens.hpp"
#include "ivl/cpu/cpu.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/text/constraint.hpp"

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

void* allocate_counted(std::size_t bytes, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  bytes = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, bytes == 0 ? alignment : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

// Not inlined: g++ would take malloc's memory for operator new's, and warn.
[[gnu::noinline]] void* operator new(std::size_t bytes) { return allocate_counted(bytes, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate_counted(bytes, std::size_t(alignment));
}
[[gnu::noinline]] void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {  // std::stable_sort's
  return allocate_counted(bytes, alignof(std::max_align_t));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace {

using namespace ivl;
using namespace ivl_test;

template <class Action>
long allocations_of(const Action& action) {
  allocations = 0;
  counting = true;
  action();
  counting = false;
  return allocations;
}

TEST_CASE("The counter sees vectors, aligned memory and strings that grow") {
  CHECK(allocations_of([] { std::vector<int> one(100); }) == 1);
  CHECK(allocations_of([] { Buffer buffer(100); }) == 1);
  CHECK(allocations_of([] { std::string text(100, 'x'); }) == 1);
  CHECK(allocations_of([] {}) == 0);
}

/// Prompts of these lengths, decoded together until the first has 5 tokens; then `steps` steps are watched.
template <class Scalar, VlmConfig C>
void check_steps(const Checkpoint<C>& checkpoint, cpu::Context& ctx, const std::vector<int>& lengths, int steps,
                 int max_rows = 64) {
  CAPTURE(lengths.size());
  CAPTURE(lengths[0]);
  CAPTURE(max_rows);
  RunnerAndEngine<C, cpu::Context, Scalar> on(
      ctx, checkpoint.vlm, {.kv_tokens = 4096, .max_sequences = int(lengths.size()), .max_rows = max_rows});
  std::size_t streamed = 0;
  std::vector<std::shared_ptr<Sequence>> sequences;
  for (const int length : lengths) {
    GenerationOptions generation{
        .max_new_tokens = 400, .ignore_stop_ids = true, .stop_strings = {"a long stop string"}};
    // Greedy, and everything that a sampler can do.
    if (sequences.size() % 2 == 0)
      generation.sampling = {
          .temperature = 0.9f, .top_k = 200, .top_p = 0.9f, .min_p = 0.01f, .repetition_penalty = 1.1f, .seed = 5};
    if (sequences.size() == 2) {
      generation.sampling.frequency_penalty = 0.1f;
      generation.no_repeat_ngram_size = 4;
      generation.bad_words_ids = {{66}, {67, 68}};
    }
    sequences.push_back(on.engine.start({.prompt = {std::vector<std::int32_t>(std::size_t(length), 65)},
                                         .generation = generation,
                                         .tokenizer = &checkpoint.processor.tokenizer(),
                                         .on_text = [&](std::string_view text) { streamed += text.size(); }}));
  }
  while (sequences[0]->generated().size() < 5) on.engine.step();
  const std::size_t before = streamed, tokens_before = sequences.back()->generated().size();
  const long found = allocations_of([&] {
    for (int i = 0; i < steps; ++i) on.engine.step();
  });
  CHECK(found == 0);
  CHECK(streamed > before);
  CHECK(sequences.back()->generated().size() == tokens_before + std::size_t(steps));
}

template <class Scalar, VlmConfig C>
void check_scalar(std::string_view name, std::string_view format) {
  cpu::Context ctx(2);
  const auto checkpoint = load<C>(ctx, tiny_folder(name, format));
  check_steps<Scalar>(checkpoint, ctx, {7}, 150);  // into the third page of keys
  check_steps<Scalar>(checkpoint, ctx, {30, 12, 50}, 150);
}

TEST_CASE("A step of running answers allocates nothing") {
  SUBCASE("float") { check_scalar<float, qwen3_tiny>("qwen3_tiny", "hf"); }
  SUBCASE("bf16") { check_scalar<bf16, qwen3_tiny>("qwen3_tiny", "hf"); }
  SUBCASE("bf16, experts and windows") { check_scalar<bf16, gpt_oss_tiny>("gpt_oss_tiny", "mxfp4"); }
}

TEST_CASE("Masks of a constraint allocate nothing once what may follow in their states is known") {
  const Tokenizer tokenizer = json_tokens::tokenizer();
  const auto constraint = Constraint::json_object(std::make_shared<const TokenTrie>(tokenizer));
  std::vector<int> ids;
  for (const char byte : std::string_view(R"({"a": ["b\n", {"c": 1.5e3}, null], "d": "e"})"))
    ids.push_back(*tokenizer.id_of({&byte, 1}));
  std::vector<float> logits(std::size_t(tokenizer.size()));
  const auto follow = [&](ConstraintState& state) {
    for (const int id : ids) {
      state.mask(logits);
      state.accept(id);
    }
  };
  const int stop_id = tokenizer.size() - 1;
  ConstraintState first(constraint, {stop_id}), second(constraint, {stop_id});
  follow(first);
  CHECK(allocations_of([&] { follow(second); }) == 0);
}

TEST_CASE("A step that makes a conversation longer than ever before allocates nothing") {
  cpu::Context ctx(2);  // whose working memory knows nothing else
  const auto checkpoint = load<qwen3_tiny>(ctx, tiny_folder("qwen3_tiny", "hf"));
  SUBCASE("float") { check_steps<float>(checkpoint, ctx, {1000}, 60); }
  SUBCASE("bf16") { check_steps<bf16>(checkpoint, ctx, {1000}, 60); }
  SUBCASE("bf16, further") { check_steps<bf16>(checkpoint, ctx, {2030}, 60); }
}

}  // namespace
