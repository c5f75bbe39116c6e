#include "ivl/cuda/attention/choose.hpp"

#include <doctest/doctest.h>

namespace {

using namespace ivl;
using namespace ivl::cuda;

constexpr AttentionChoice attention_of(int head_dim, Mask mask, std::int64_t rows, std::int64_t sequences,
                                       int window = 0, ScalarKind scalar = ScalarKind::bf16) {
  return choose_attention(90, {{16, 8, head_dim, window}, mask, rows, sequences, scalar});
}

}  // namespace

TEST_CASE("attention of one token a sequence is split over keys, of more it has tiles of rows too") {
  static_assert(attention_of(128, Mask::causal, 32, 32).kernel == AttentionKernel::split);
  static_assert(attention_of(64, Mask::causal, 3, 8).kernel == AttentionKernel::split);
  static_assert(attention_of(128, Mask::causal, 33, 32).kernel == AttentionKernel::prefill_and_split);
  CHECK(attention_of(32, Mask::full, 1, 1).kernel == AttentionKernel::split);
}

TEST_CASE("attention of pictures has 32 rows a warp where head_dim leaves the registers") {
  static_assert(attention_of(64, Mask::full, 1025, 1).prefill == PrefillPolicy{.row_tiles = 2});
  static_assert(attention_of(128, Mask::full, 1025, 1).prefill == PrefillPolicy{.row_tiles = 1});
  static_assert(attention_of(64, Mask::causal, 1025, 1).prefill == PrefillPolicy{.row_tiles = 1});
  CHECK(attention_of(64, Mask::full, 1025, 1, 128).visible == Visible::all);
}

TEST_CASE("attention that tensor cores have no kernel for is plain") {
  static_assert(attention_of(64, Mask::causal, 1, 1, 0, ScalarKind::f32).kernel == AttentionKernel::plain);
  static_assert(attention_of(48, Mask::causal, 9, 1).kernel == AttentionKernel::plain);
  static_assert(attention_of(128, Mask::causal, 9, 1, 70).kernel == AttentionKernel::plain);
  static_assert(attention_of(64, Mask::causal, 9, 1, 70).kernel == AttentionKernel::prefill_and_split);
  CHECK(attention_of(64, Mask::causal, 9, 1, 70).visible == Visible::window);
}

TEST_CASE("a policy of policies prints as it is written") {
  CHECK(text_of(AttentionPolicy{}) ==
        "AttentionPolicy{.picture = PrefillPolicy{.row_tiles = 2}, .prefill = PrefillPolicy{.row_tiles = 1}, "
        ".split = SplitPolicy{.stages = 2}}");
  CHECK(text_of(KvWritePolicy{}) == "KvWritePolicy{.threads_per_block = 128}");
}
