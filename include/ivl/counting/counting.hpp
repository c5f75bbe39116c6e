// A third backend: it counts what every op is asked to do, by the op's name, while the same layers run through it.
//
//   Counting<cpu::Context> ctx;   counts and computes
//   Counting<> ctx;               only counts: weights have sizes and no memory (dry_run.hpp)
//
// Flops are those of products, a multiplication and an addition each, as is customary: norms, activations and softmax
// count none. Bytes are what an op must read and write once if nothing stays in a cache: matrices (of experts those
// that rows would go to if they chose at random), keys and values, and all else: rows, gains, biases, tables.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <type_traits>
#include <vector>

#include "ivl/counting/dry_run.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/move.hpp"
#include "ivl/ops/norm.hpp"
#include "ivl/ops/norm_linear.hpp"
#include "ivl/ops/picture.hpp"
#include "ivl/ops/replay.hpp"
#include "ivl/ops/rope.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl {

struct Tally {
  double calls = 0, flops = 0, matrix_bytes = 0, kv_bytes = 0, row_bytes = 0;

  double bytes() const { return matrix_bytes + kv_bytes + row_bytes; }
  Tally& operator+=(const Tally& other) {
    calls += other.calls;
    flops += other.flops;
    matrix_bytes += other.matrix_bytes;
    kv_bytes += other.kv_bytes;
    row_bytes += other.row_bytes;
    return *this;
  }
};

template <class Base = DryRun>
struct Counting : Base {
  using Base::Base;
  static constexpr bool computes = !std::is_same_v<Base, DryRun>;

  std::map<std::string_view, Tally> ops;

  Base& base() { return *this; }
  void count(std::string_view op, Tally tally) {
    tally.calls = 1;
    ops[op] += tally;
  }
  Tally total() const {
    Tally sum;
    for (const auto& [op, tally] : ops) sum += tally;
    return sum;
  }
};

namespace detail {

/// Bytes of [out, in] in a format, as files store it.
inline double stored_bytes(Format format, std::int64_t out, std::int64_t in) {
  double bytes = 0;
  for (const std::int64_t plane : packed_planes(format, out, in).bytes) bytes += double(plane);
  return bytes;
}
inline double stored_bytes(const PlacedMatrix& w) {
  double bytes = 0;
  for (int i = 0; i < w.strip_count; ++i)
    bytes += stored_bytes(w.strips[std::size_t(i)].format, w.strips[std::size_t(i)].out, w.in);
  return bytes;
}

template <class Scalar>
double bytes_of_rows(const Rows<Scalar>& rows) {
  return double(rows.count) * double(rows.width()) * sizeof(Scalar);
}

template <class Scalar, class Result>
Tally tally_of_linear(const Rows<const Scalar>& x, const PlacedMatrix& w, const Epilogue& epilogue,
                      const Rows<Result>& y) {
  const double vectors = (epilogue.bias != nullptr) + (epilogue.scale != nullptr);
  const double passes = epilogue.kind == EpilogueKind::add ? 2 : 1;  // y is read too
  return {.flops = 2.0 * double(x.count) * double(w.out) * double(w.in),
          .matrix_bytes = stored_bytes(w),
          .row_bytes = bytes_of_rows(x) + passes * bytes_of_rows(y) + vectors * double(w.out) * sizeof(float)};
}

/// Keys and values of so many tokens.
template <class Scalar>
double kv_bytes_of(const AttentionShape& shape, double tokens) {
  return 2 * tokens * shape.kv_width() * sizeof(Scalar);
}

struct Seen {
  double pairs = 0;  ///< of a query and a key that it sees
  double keys = 0;   ///< that some query of the step sees
};

/// The batch's tables lie in the context's memory.
template <class Base>
Seen seen_in(Base& ctx, Mask mask, int window, const Batch& batch) {
  std::vector<std::int32_t> begin(std::size_t(batch.sequences) + 1), length(std::size_t(batch.sequences));
  download(ctx, begin.data(), batch.row_begin, begin.size() * sizeof(std::int32_t));
  download(ctx, length.data(), batch.kv_length, length.size() * sizeof(std::int32_t));
  Seen seen;
  for (std::size_t s = 0; s < length.size(); ++s) {
    const double rows = begin[s + 1] - begin[s], keys = length[s], most = window > 0 ? window : keys;
    seen.keys += std::min(keys, most + rows - 1);
    if (mask == Mask::full) {
      seen.pairs += rows * keys;
      continue;
    }
    // The row at position p sees min(p + 1, most) keys: growing ones first, then `most` each.
    const double first = keys - rows, growing = std::clamp(most - first, 0.0, rows);
    seen.pairs += growing * first + growing * (growing + 1) / 2 + (rows - growing) * most;
  }
  return seen;
}

/// Of `experts`, those that some row goes to if each chooses `active` of them at random.
inline double chosen_experts(double experts, double active, double rows) {
  return experts * (1 - std::pow(1 - active / experts, rows));
}

}  // namespace detail

// ---- the ops: each counts, and calls the base's where there is one -------------------------------------------------

template <class Base, class Scalar, class Result>
void linear(Counting<Base>& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue,
            Rows<Result> y) {
  ctx.count("linear", detail::tally_of_linear(x, w, epilogue, y));
  if constexpr (Counting<Base>::computes) linear(ctx.base(), x, w, epilogue, y);
}

template <class Base, class Scalar, class Result>
  requires NormLinearOp<Base, Scalar, Result>
void norm_linear(Counting<Base>& ctx, Rows<const Scalar> x, const float* gain, float eps, const PlacedMatrix& w,
                 const Epilogue& epilogue, Rows<Scalar> room, Rows<Result> y) {
  ctx.count("linear", detail::tally_of_linear(x, w, epilogue, y));
  norm_linear(ctx.base(), x, gain, eps, w, epilogue, room, y);
}

template <class Base, class Scalar>
void rms_norm(Counting<Base>& ctx, Rows<const Scalar> x, const float* gain, float eps, Rows<Scalar> y) {
  ctx.count("rms_norm", {.row_bytes = 2 * detail::bytes_of_rows(y) + double(y.width()) * sizeof(float)});
  if constexpr (Counting<Base>::computes) rms_norm(ctx.base(), x, gain, eps, y);
}

template <class Base, class Scalar>
void layer_norm(Counting<Base>& ctx, Rows<const Scalar> x, const float* gain, const float* bias, float eps,
                Rows<Scalar> y) {
  ctx.count("layer_norm", {.row_bytes = 2 * detail::bytes_of_rows(y) + 2.0 * double(y.width()) * sizeof(float)});
  if constexpr (Counting<Base>::computes) layer_norm(ctx.base(), x, gain, bias, eps, y);
}

template <class Base, class Scalar>
void cache_keys(Counting<Base>& ctx, const AttentionShape& shape, Rows<const Scalar> qkv, const Batch& batch,
                const KvView& kv) {
  const double bytes = detail::kv_bytes_of<Scalar>(shape, batch.rows);
  ctx.count("cache_keys", {.kv_bytes = bytes, .row_bytes = bytes});
  if constexpr (Counting<Base>::computes) cache_keys(ctx.base(), shape, qkv, batch, kv);
}

template <class Base, class Scalar>
void rotate_and_cache(Counting<Base>& ctx, const AttentionShape& shape, const HeadNorm& norm, Rows<const float> angles,
                      Rows<Scalar> qkv, const Batch& batch, const KvView& kv) {
  const double bytes = detail::kv_bytes_of<Scalar>(shape, batch.rows);
  const double queries = 2.0 * batch.rows * shape.query_width() * sizeof(Scalar);
  ctx.count("rotate_and_cache", {.kv_bytes = bytes, .row_bytes = queries + bytes + detail::bytes_of_rows(angles)});
  if constexpr (Counting<Base>::computes) rotate_and_cache(ctx.base(), shape, norm, angles, qkv, batch, kv);
}

template <class Base, class Scalar>
void attention(Counting<Base>& ctx, const AttentionShape& shape, Mask mask, const float* sinks,
               Rows<const Scalar> queries, const Batch& batch, const KvView& kv, Rows<Scalar> y) {
  const detail::Seen seen = detail::seen_in(ctx.base(), mask, shape.window, batch);
  ctx.count("attention", {.flops = 4 * seen.pairs * shape.query_width(),
                          .kv_bytes = detail::kv_bytes_of<Scalar>(shape, seen.keys),
                          .row_bytes = 2 * detail::bytes_of_rows(y)});
  if constexpr (Counting<Base>::computes) attention(ctx.base(), shape, mask, sinks, queries, batch, kv, y);
}

template <class Base>
void rope_angles(Counting<Base>& ctx, const RopeFacts& facts, const std::int32_t* positions,
                 const std::int32_t* rope_lengths, Rows<float> angles) {
  ctx.count("rope_angles", {.row_bytes = detail::bytes_of_rows(angles)});
  if constexpr (Counting<Base>::computes) rope_angles(ctx.base(), facts, positions, rope_lengths, angles);
}

template <class Base, class Scalar>
void embed(Counting<Base>& ctx, const std::int32_t* sources, const PlacedTable& table, Rows<const Scalar> images,
           Rows<Scalar> y) {
  const double row_bytes = detail::stored_bytes(table.format, 1, table.width);
  ctx.count("embed", {.row_bytes = double(y.count) * row_bytes + detail::bytes_of_rows(y)});
  if constexpr (Counting<Base>::computes) embed(ctx.base(), sources, table, images, y);
}

template <class Base, class Scalar>
void gather_rows(Counting<Base>& ctx, const std::int32_t* indices, Rows<const Scalar> x, Rows<Scalar> y) {
  ctx.count("gather_rows", {.row_bytes = 2 * detail::bytes_of_rows(y)});
  if constexpr (Counting<Base>::computes) gather_rows(ctx.base(), indices, x, y);
}

template <class Base, class Scalar>
void unfold_patches(Counting<Base>& ctx, int tile_px, int patch_px, Rows<const Scalar> pixels, Rows<Scalar> patches) {
  ctx.count("unfold_patches", {.row_bytes = 2 * detail::bytes_of_rows(patches)});
  if constexpr (Counting<Base>::computes) unfold_patches(ctx.base(), tile_px, patch_px, pixels, patches);
}

template <class Base, class Scalar>
void add_positions(Counting<Base>& ctx, int side, Rows<const Scalar> patches, const float* class_token,
                   const float* positions, Rows<Scalar> x) {
  const double table = (1.0 + double(side) * side) * double(x.width()) * sizeof(float);
  ctx.count("add_positions", {.row_bytes = detail::bytes_of_rows(patches) + table + detail::bytes_of_rows(x)});
  if constexpr (Counting<Base>::computes) add_positions(ctx.base(), side, patches, class_token, positions, x);
}

template <class Base, class Scalar>
void pixel_shuffle(Counting<Base>& ctx, int side, int scale, ShuffleOrder order, Rows<const Scalar> x, Rows<Scalar> y) {
  ctx.count("pixel_shuffle", {.row_bytes = 2 * detail::bytes_of_rows(y)});
  if constexpr (Counting<Base>::computes) pixel_shuffle(ctx.base(), side, scale, order, x, y);
}

template <class Base, class Scalar>
void unfold_picture(Counting<Base>& ctx, const Picture& picture, const PixelStatistics& statistics, int patch_px,
                    Rows<Scalar> patches) {
  const PixelSize size = picture.size();
  ctx.count("unfold_picture", {.row_bytes = 3.0 * size.width * size.height + detail::bytes_of_rows(patches)});
  if constexpr (Counting<Base>::computes) unfold_picture(ctx.base(), picture, statistics, patch_px, patches);
}

template <class Base>
void route(Counting<Base>& ctx, Rows<const float> logits, const Routes& routes) {
  ctx.count("route", {.row_bytes = detail::bytes_of_rows(logits) + 8.0 * double(logits.count) * routes.active});
  if constexpr (Counting<Base>::computes) route(ctx.base(), logits, routes);
}

template <class Base, class Scalar, class Result>
void expert_mlp(Counting<Base>& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes,
                Rows<Scalar> inner, Rows<Result> y) {
  const PlacedMatrix &up = mlp.gate_up->all, &down = mlp.down->all;
  const double each = double(up.out) * double(up.in) + double(down.out) * double(down.in);
  ctx.count("expert_mlp",
            {.flops = 2.0 * double(x.count) * routes.active * each,
             .matrix_bytes = detail::chosen_experts(mlp.gate_up->experts, routes.active, double(x.count)) *
                             (detail::stored_bytes(up) + detail::stored_bytes(down)),
             .row_bytes = detail::bytes_of_rows(x) + 2 * detail::bytes_of_rows(inner) + 2 * detail::bytes_of_rows(y)});
  if constexpr (Counting<Base>::computes) expert_mlp(ctx.base(), mlp, x, routes, inner, y);
}

template <class Base>
void argmax(Counting<Base>& ctx, Rows<const float> logits, std::int32_t* ids) {
  ctx.count("argmax", {.row_bytes = detail::bytes_of_rows(logits)});
  if constexpr (Counting<Base>::computes) argmax(ctx.base(), logits, ids);
}

template <class Base>
void draw(Counting<Base>& ctx, const Draw* draws, Rows<float> logits, std::int32_t* ids) {
  ctx.count("draw", {.row_bytes = detail::bytes_of_rows(logits)});
  if constexpr (Counting<Base>::computes) draw(ctx.base(), draws, logits, ids);
}

/// Nothing is recorded, so that every step is counted.
template <class Base, class Body>
void replay(Counting<Base>&, typename Base::Recordings&, std::uint64_t, Body&& body) {
  body();
}

static_assert(AttentionOps<Counting<>, bf16> && LinearOp<Counting<>, bf16, float> && NormOps<Counting<>, bf16> &&
              RowOps<Counting<>, bf16> && MoeOps<Counting<>, bf16> && PictureOp<Counting<>, bf16> &&
              RopeOp<Counting<>> && SampleOps<Counting<>> && ReplayOp<Counting<>>);

}  // namespace ivl
