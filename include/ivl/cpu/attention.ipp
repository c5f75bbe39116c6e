// The bodies of attention.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/attention.hpp"
#include "ivl/cpu/attention_pages.hpp"
#include "ivl/cpu/attention_softmax.hpp"
#include "ivl/cpu/attention_tile.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/batch.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// y = rope(norm(x)) for one head; y may be x. One rounding, at the end.
template <class Scalar>
void rotate_head(const Scalar* x, const float* gain, float eps, const float* angles, int head_dim, Scalar* y) {
  alignas(line_bytes) float from[max_head_dim], to[max_head_dim];
  Lanes squares = Lanes::zero();
  for (int i = 0; i < head_dim; i += lanes) {
    const Lanes some = Lanes::load(x + i);
    squares = fma(some, some, squares);
    some.store(from + i);
  }
  if (gain) {
    const Lanes factor = Lanes::of(1 / std::sqrt(sum(squares) / float(head_dim) + eps));
    for (int i = 0; i < head_dim; i += lanes) (Lanes::load(from + i) * factor * Lanes::load(gain + i)).store(from + i);
  }
  const int half_dim = head_dim / 2;
  for (int i = 0; i < half_dim; ++i) {
    const float cosine = angles[i], sine = angles[half_dim + i], a = from[i], b = from[half_dim + i];
    to[i] = a * cosine - b * sine;
    to[half_dim + i] = b * cosine + a * sine;
  }
  for (int i = 0; i < head_dim; i += lanes) Lanes::load(to + i).store(y + i);
}

}  // namespace detail

// ---- the ops -------------------------------------------------------------------------
IVL_INLINE std::int64_t kv_page_bytes(Context&, const AttentionShape& shape, ScalarKind scalar, int page_tokens) {
  if (shape.head_dim < 1 || shape.head_dim % panel_columns != 0 || shape.head_dim > detail::max_head_dim) {
    fail<ConfigError>("attention: head_dim must be a multiple of 16 up to ", detail::max_head_dim,
                      " on the CPU, found ", shape.head_dim);
  }
  if (page_tokens < 1 || page_tokens % kv_page_unit != 0) {
    fail<ConfigError>("attention: page_tokens must be a multiple of ", kv_page_unit, ", found ", page_tokens);
  }
  return std::int64_t(2) * page_tokens * shape.kv_width() * bytes_of(scalar);
}

template <class Scalar>
void cache_keys(Context& ctx, const AttentionShape& shape, Rows<const Scalar> qkv, const Batch& batch,
                const KvView& kv) {
  constexpr int rows_per_task = 16;
  ctx.pool.run(ceil_div(batch.rows, rows_per_task), [&](std::int64_t task) {
    for (int row = int(task) * rows_per_task; row < std::min(batch.rows, (int(task) + 1) * rows_per_task); ++row) {
      const Scalar* keys = qkv[row] + shape.query_width();
      detail::cache_row(shape, batch, kv, row, keys, keys + shape.kv_width(), qkv.stride);
    }
  });
}

template <class Scalar>
void rotate_and_cache(Context& ctx, const AttentionShape& shape, const HeadNorm& norm, Rows<const float> angles,
                      Rows<Scalar> qkv, const Batch& batch, const KvView& kv) {
  constexpr int rows_per_task = 4;
  assert(shape.head_dim <= detail::max_head_dim);
  ctx.pool.run(ceil_div(batch.rows, rows_per_task), [&](std::int64_t task) {
    for (int row = int(task) * rows_per_task; row < std::min(batch.rows, (int(task) + 1) * rows_per_task); ++row) {
      const int head_dim = shape.head_dim;
      for (int head = 0; head < shape.heads; ++head) {
        Scalar* q = qkv[row] + head * head_dim;
        detail::rotate_head(q, norm.query_gain, norm.eps, angles[row], head_dim, q);
      }
      Scalar* keys = qkv[row] + shape.query_width();
      for (int head = 0; head < shape.kv_heads; ++head) {
        Scalar* k = keys + head * head_dim;
        detail::rotate_head(k, norm.key_gain, norm.eps, angles[row], head_dim, k);
      }
      detail::cache_row<Scalar>(shape, batch, kv, row, keys, keys + shape.kv_width(), qkv.stride);
    }
  });
}

template <class Scalar>
void attention(Context& ctx, const AttentionShape& shape, Mask mask, const float* sinks, Rows<const Scalar> queries,
               const Batch& batch, const KvView& kv, Rows<Scalar> y) {
  using detail::block_rows, detail::chunk_keys, detail::max_head_dim, detail::Running;
  using Tile = detail::Tile<Scalar>;
  using Query = typename Tile::Query;
  const int head_dim = shape.head_dim;
  assert(head_dim % panel_columns == 0 && head_dim <= max_head_dim && kv.page_tokens % kv_page_unit == 0);

  std::int64_t tasks = 0;
  int most_rows = 0, most_chunks = 0;
  for (int s = 0; s < batch.sequences; ++s) {
    const int rows = (batch.row_begin[s + 1] - batch.row_begin[s]) * shape.group();
    tasks += ceil_div(rows, block_rows) * shape.kv_heads;
    most_rows = std::max(most_rows, rows);
    most_chunks = std::max(most_chunks, int(ceil_div(batch.kv_length[s], chunk_keys)));
  }
  const auto tile_of = [&](std::int64_t task) {
    int sequence = 0, rows = 0;
    for (std::int64_t tiles;; ++sequence) {
      rows = (batch.row_begin[sequence + 1] - batch.row_begin[sequence]) * shape.group();
      tiles = ceil_div(rows, block_rows);
      if (task < tiles * shape.kv_heads) {
        const int first = int(tiles - 1 - task % tiles) * block_rows;  // the longest first
        return Tile{
            shape, batch, kv, mask, sinks, sequence, int(task / tiles), first, std::min(block_rows, rows - first)};
      }
      task -= tiles * shape.kv_heads;
    }
  };

  // Keys of a window are too few to share.
  const bool few = most_rows <= block_rows && tasks < detail::tasks_per_thread * ctx.threads() && shape.window == 0;
  const std::int64_t floats = round_up(Running::floats(most_rows, head_dim), lanes);
  // Room for as many chunks as the pages may come to hold, from the first step on: a conversation that grows into its
  // next chunk allocates nothing.
  const std::int64_t room = ceil_div(std::int64_t(kv.pages_per_sequence) * kv.page_tokens, chunk_keys);
  float* const memory = few && room > 1 ? ctx.template scratch<float>(tasks * room * floats) : nullptr;

  if (!few || most_chunks == 1) {
    ctx.pool.run(tasks, [&](std::int64_t task) {
      const Tile tile = tile_of(task);
      alignas(line_bytes) Query q[block_rows * max_head_dim];
      alignas(line_bytes) float total_memory[block_rows * (max_head_dim + 2)],
          part_memory[block_rows * (max_head_dim + 2)];
      const Running total = Running::at(total_memory, block_rows, head_dim);
      const Running part = Running::at(part_memory, block_rows, head_dim);
      tile.load(queries, q);
      tile.attend(q, tile.first_chunk(), total);
      for (int chunk = tile.first_chunk() + 1; chunk * chunk_keys < tile.longest(); ++chunk) {
        tile.attend(q, chunk, part);
        tile.join(total, part, chunk);
      }
      tile.finish(total, y);
    });
    return;
  }

  const auto running_of = [&](std::int64_t task, int chunk) {
    return Running::at(memory + (task * most_chunks + chunk) * floats, most_rows, head_dim);
  };
  ctx.pool.run(tasks * most_chunks, [&](std::int64_t part) {
    const std::int64_t task = part / most_chunks;
    const int chunk = int(part % most_chunks);
    const Tile tile = tile_of(task);
    if (chunk * chunk_keys >= tile.longest()) return;
    alignas(line_bytes) Query q[block_rows * max_head_dim];
    tile.load(queries, q);
    tile.attend(q, chunk, running_of(task, chunk));
  });
  for (std::int64_t task = 0; task < tasks; ++task) {
    const Tile tile = tile_of(task);
    for (int chunk = 1; chunk * chunk_keys < tile.longest(); ++chunk) {
      tile.join(running_of(task, 0), running_of(task, chunk), chunk);
    }
    tile.finish(running_of(task, 0), y);
  }
}

#ifdef IVL_COMPILED
template void cache_keys(Context&, const AttentionShape&, Rows<const float>, const Batch&, const KvView&);
template void rotate_and_cache(Context&, const AttentionShape&, const HeadNorm&, Rows<const float>, Rows<float>,
                               const Batch&, const KvView&);
template void attention(Context&, const AttentionShape&, Mask, const float*, Rows<const float>, const Batch&,
                        const KvView&, Rows<float>);
template void cache_keys(Context&, const AttentionShape&, Rows<const bf16>, const Batch&, const KvView&);
template void rotate_and_cache(Context&, const AttentionShape&, const HeadNorm&, Rows<const float>, Rows<bf16>,
                               const Batch&, const KvView&);
template void attention(Context&, const AttentionShape&, Mask, const float*, Rows<const bf16>, const Batch&,
                        const KvView&, Rows<bf16>);
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
