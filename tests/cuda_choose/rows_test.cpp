#include "ivl/cuda/rows/choose.hpp"

#include <doctest/doctest.h>

#include "ivl/cuda/picture/choose.hpp"

using namespace ivl::cuda;

TEST_CASE("a norm has whole warps, as many as its row needs, and a row that is too wide is known before the launch") {
  static_assert(choose_norm(1, {}).threads == 32);
  static_assert(choose_norm(512, {}).threads == 32);
  static_assert(choose_norm(520, {}).threads == 64);
  static_assert(choose_norm(16384, {}).threads == 1024 && choose_norm(16384, {}).fits);
  CHECK_FALSE(choose_norm(16385, {}).fits);
  CHECK(choose_norm(16385, {.values_per_thread = 32}).fits);
}

TEST_CASE("a row that is moved is cut into blocks of whole warps") {
  static_assert(choose_move(1, {}).threads == 32);
  static_assert(choose_move(256, {}).parts == 1);
  static_assert(choose_move(257, {}).parts == 2);
  CHECK(choose_move(100, {}).threads == 128);
}

TEST_CASE("argmax cuts a row of Qwen's vocabulary into 38 slices") {
  static_assert(choose_argmax_slices(151936, {}) == 38);
  CHECK(choose_argmax_slices(1, {}) == 1);
}

TEST_CASE("a picture comes in bands that fill a slot of pinned memory, and never in more rows than a grid has blocks") {
  static_assert(choose_picture(4000, 3000, 448, {}).band_rows == 349);
  static_assert(choose_picture(4000, 300, 448, {}).band_rows == 300);
  static_assert(choose_picture(2000000, 3, 448, {}).band_rows == 1);
  static_assert(choose_picture(1, 100000, 448, {}).band_rows == 65535);
  static_assert(choose_picture(20, 20, 448, {}).down_bytes == 4);
  CHECK(choose_picture(20, 20, 9, {}).down_bytes == 1);
}

TEST_CASE("the policies of rows and pictures print as they are written") {
  CHECK(text_of(ArgmaxPolicy{}) == "ArgmaxPolicy{.threads_per_block = 256, .logits_per_thread = 16}");
  CHECK(text_of(MovePolicy{}) == "MovePolicy{.max_threads = 256, .patches_per_block = 8}");
  CHECK(text_of(NormPolicy{}) == "NormPolicy{.values_per_thread = 16}");
  CHECK(text_of(RopePolicy{}) == "RopePolicy{.threads_per_block = 128}");
  CHECK(text_of(DrawPolicy{}) == "DrawPolicy{.threads_per_block = 1024}");
  CHECK(text_of(PicturePolicy{}) ==
        "PicturePolicy{.threads_per_block = 128, .rows_per_thread = 4, .patches_per_block = 8, "
        ".band_bytes = 4194304}");
}
