// Grouped-query attention on panels (see ops/attention.hpp for the contract, panels.hpp for the micro-kernel).
//
// A page holds, for each kv head, page_tokens keys and then page_tokens values, both ready for the micro-kernel:
//
//          keys: panels of 16 tokens over head_dim       values: panels of 16 dims over tokens
//   bf16   [page_tokens / 16][head_dim / 2][16][2]       [head_dim / 16][page_tokens / 2][16][2]
//   float  [page_tokens / 16][head_dim][16]              [head_dim / 16][page_tokens][16]
//
// A task is a tile of query rows (tokens x heads of one group) against the keys of one kv head. It walks blocks of keys
// that begin at multiples of `block_keys`, with the online softmax (Milakov and Gimelshein, arXiv 1805.02867); every
// `chunk_keys` keys it starts anew, and the chunks are combined in order. So threads can share one long sequence by
// chunks, and the bits are the same however rows, pages, chunks and threads are dealt out. Where the CPU multiplies
// bf16, probabilities are rounded to it before they meet V; elsewhere they stay float. Under a sliding window a tile
// begins with the panel of the first key that one of its rows sees; keys that a row does not see have probability 0,
// which changes no sum. A sink joins when the chunks are together.
//
// Few rows read the pages at the speed of memory: run by run, each fetching the next. A page pool in huge pages is
// needed for that, since each run lies in another place.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/ops/attention.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

// ---- policy --------------------------------------------------------------------------
inline constexpr int block_rows = 48;     ///< query rows of a task
inline constexpr int block_keys = 128;    ///< keys of one step of the online softmax
inline constexpr int chunk_keys = 1024;   ///< keys that one running softmax sees; a multiple of block_keys
inline constexpr int max_head_dim = 256;  ///< what the working memory on the stack has room for
/// Fewer tasks than this many a thread are split by chunks.
inline constexpr int tasks_per_thread = 2;

// ---- pages ---------------------------------------------------------------------------
template <class Scalar>
using PanelTag = std::conditional_t<std::is_same_v<Scalar, bf16>, Bf16, F32>;
/// Tokens of a value panel, or dims of a key panel, that lie together.
template <class Scalar>
inline constexpr int panel_unit = PanelFormat<PanelTag<Scalar>>::unit;

/// Keys and values of one kv head in one page.
template <class Scalar>
struct HeadPage {
  Scalar* keys;
  Scalar* values;
};

template <class Scalar>
HeadPage<Scalar> head_page(const AttentionShape& shape, const KvView& kv, std::int32_t page, int kv_head) {
  const std::int64_t scalars = std::int64_t(kv.page_tokens) * shape.head_dim;
  Scalar* keys = reinterpret_cast<Scalar*>(kv.pages + page * kv.page_bytes) + 2 * kv_head * scalars;
  return {keys, keys + scalars};
}

template <class Scalar>
void write_key(const Scalar* key, int head_dim, int token, Scalar* keys) {
  constexpr int unit = panel_unit<Scalar>;
  Scalar* to = keys + std::int64_t(token / panel_columns) * panel_columns * head_dim + token % panel_columns * unit;
  for (int i = 0; i < head_dim; i += unit) std::memcpy(to + i * panel_columns, key + i, unit * sizeof(Scalar));
}

/// Values of tokens `token` and, where the panel keeps pairs, its partner `token + 1`; null: not there yet, zeros.
/// Without those zeros the partner's stale memory, even a NaN, would meet a probability of zero.
template <class Scalar>
void write_values(const Scalar* value, const Scalar* partner, int head_dim, int token, int page_tokens,
                  Scalar* values) {
  for (int i = 0; i < head_dim; i += panel_columns) {
    Scalar* to = values + std::int64_t(i) * page_tokens;
    if constexpr (panel_unit<Scalar> == 1) {
      std::memcpy(to + token * panel_columns, value + i, panel_columns * sizeof(Scalar));
    } else {
      std::uint32_t pairs[panel_columns];
      to += token / 2 * 2 * panel_columns;
      if (token % 2 == 1) {
        std::memcpy(pairs, to, sizeof pairs);
        for (int j = 0; j < panel_columns; ++j) pairs[j] = (pairs[j] & 0xffff) | std::uint32_t(value[i + j].bits) << 16;
      } else if (partner) {
        for (int j = 0; j < panel_columns; ++j) pairs[j] = value[i + j].bits | std::uint32_t(partner[i + j].bits) << 16;
      } else {
        for (int j = 0; j < panel_columns; ++j) pairs[j] = value[i + j].bits;
      }
      std::memcpy(to, pairs, sizeof pairs);
    }
  }
}

/// The page that holds a sequence's position.
inline std::int32_t page_of(const KvView& kv, int sequence, int position) {
  return kv.page_table[std::int64_t(sequence) * kv.pages_per_sequence + position / kv.page_tokens];
}

/// Where row `row` of the batch stands in its sequence.
inline int position_of(const Batch& batch, int row, int sequence) {
  return batch.kv_length[sequence] - (batch.row_begin[sequence + 1] - row);
}

/// Keys and values of one row into its page. Values of a pair are written by its first row in the step.
template <class Scalar>
void cache_row(const AttentionShape& shape, const Batch& batch, const KvView& kv, int row, const Scalar* keys,
               const Scalar* values, std::int64_t next_row) {
  const int sequence = batch.sequence_of[row], position = position_of(batch, row, sequence);
  const std::int32_t page_number = page_of(kv, sequence, position);
  const int token = position % kv.page_tokens, head_dim = shape.head_dim;
  const bool partner_follows = row + 1 < batch.row_begin[sequence + 1];
  const bool with_partner = panel_unit<Scalar> == 2 && token % 2 == 1 && row > batch.row_begin[sequence];
  for (int head = 0; head < shape.kv_heads; ++head) {
    const HeadPage<Scalar> page = head_page<Scalar>(shape, kv, page_number, head);
    const Scalar* value = values + head * head_dim;
    write_key(keys + head * head_dim, head_dim, token, page.keys);
    if (!with_partner) {
      write_values(value, partner_follows ? value + next_row : nullptr, head_dim, token, kv.page_tokens, page.values);
    }
  }
}

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

// ---- softmax -------------------------------------------------------------------------
inline constexpr double log2_e = 1.4426950408889634;  ///< e^x = 2^(x log2_e): scores become powers of two
/// Running softmax of a tile: out = sum of 2^(score - max) v, sum = sum of 2^(score - max); scores are in powers of
/// two.
struct Running {
  float* max;  ///< [rows]
  float* sum;  ///< [rows]
  float* out;  ///< [rows, head_dim]

  static std::int64_t floats(std::int64_t rows, int head_dim) { return rows * (head_dim + 2); }
  static Running at(float* memory, std::int64_t rows, int head_dim) {
    return {memory + rows * head_dim, memory + rows * head_dim + rows, memory};
  }
};

/// Row r of `part` joins row r of `total`.
inline void combine(Running total, Running part, int row, int head_dim) {
  const float max = std::max(total.max[row], part.max[row]);
  alignas(line_bytes) float powers[lanes] = {total.max[row] - max, part.max[row] - max};
  exp2(Lanes::load(powers)).store(powers);
  total.max[row] = max;
  total.sum[row] = total.sum[row] * powers[0] + part.sum[row] * powers[1];
  float* to = total.out + row * head_dim;
  const float* from = part.out + row * head_dim;
  for (int i = 0; i < head_dim; i += lanes) {
    fma(Lanes::load(to + i), Lanes::of(powers[0]), Lanes::load(from + i) * Lanes::of(powers[1])).store(to + i);
  }
}

/// Rounds. `exp2` gives nothing subnormal, so the CPU's own rounding, which would take that as zero, is right here:
/// 3 % of a picture's attention.
template <class Probability>
void store_probability(Lanes p, Probability* to) {
#if defined(IVL_AVX512_BF16)
  if constexpr (std::is_same_v<Probability, bf16>) {
    const __m256bh rounded = _mm512_cvtneps_pbh(p.v);
    std::memcpy(to, &rounded, sizeof rounded);
    return;
  }
#endif
  p.store(to);
}

/// Scores of a row become probabilities: those of keys [seen, limit), of `number`; the others become zero. Both buffers
/// have room for `number` rounded up to whole lanes. Returns 2^(old highest - new highest).
template <class Probability>
float soften(const float* scores, int first, int seen, int limit, int number, float scale, float& highest, Lanes& sums,
             Probability* p) {
  const Lanes lowest = Lanes::of(-std::numeric_limits<float>::infinity());
  // What stands at i and is seen; all of it from `whole` to `whole_end`.
  const auto only_seen = [=](Lanes some, int i, Lanes other) {
    if (limit < i + lanes) some = take_first(std::max(0, limit - i), some, other);
    return seen > i ? take_first(std::min(lanes, seen - i), other, some) : some;
  };
  const int begin = seen / lanes * lanes, whole = int(round_up(seen, lanes)), whole_end = limit / lanes * lanes;
  Lanes top = lowest;
  for (int i = begin; i < limit; i += lanes) {
    const Lanes some = Lanes::load(scores + i);
    top = max(top, i >= whole && i < whole_end ? some : only_seen(some, i, lowest));
  }
  const float old = highest;
  highest = std::max(old, largest(top) * scale);
  const Lanes factor = Lanes::of(scale), shift = Lanes::of(-highest);
  const Lanes fade = exp2(Lanes::of(old - highest));
  sums = sums * fade;
  for (int i = first; i < begin; i += lanes) store_probability(Lanes::zero(), p + i);
  for (int i = begin; i < number; i += lanes) {
    Lanes some = exp2(fma(Lanes::load(scores + i), factor, shift));
    if (i < whole || i >= whole_end) some = only_seen(some, i, Lanes::zero());
    sums = sums + some;
    store_probability(some, p + i);
  }
  return largest(fade);  // all lanes are alike
}

// ---- keys and values that come from memory ---------------------------------------------
/// multiply_rows; unless `next` is null, in pieces, each of which first fetches as many bytes from `next` on as it
/// reads itself: at the end of every run of keys the CPU's own prefetching would start anew.
template <class F, class Factor>
void multiply_run(int number, const Factor* x, std::int64_t x_stride, const void* run, std::int64_t panel_stride,
                  std::int64_t panels, std::int64_t depth, float* tile, std::int64_t tile_stride, Start start,
                  const void* next) {
  constexpr std::int64_t piece_panels = 4, piece_depth = 16;
  const auto* from = static_cast<const std::byte*>(run);
  const Factor* room[tile_rows];
  const Factor* const* rows = row_pointers(x, x_stride, number, room);
  if (!next) return multiply_rows<F>(number, rows, 0, from, panel_stride, panels, depth, tile, tile_stride, start);
  const auto* ahead = static_cast<const std::byte*>(next);
  for (std::int64_t p = 0; p < panels; p += piece_panels) {
    const std::int64_t wide = std::min(piece_panels, panels - p);
    for (std::int64_t k = 0; k < depth; k += piece_depth) {
      const std::int64_t deep = std::min(piece_depth, depth - k);
      const std::byte* const fetched = ahead + wide * PanelFormat<F>::bytes(deep);
      for (; ahead < fetched; ahead += line_bytes) __builtin_prefetch(ahead, 0, 2);
      multiply_rows<F>(number, rows, k, from + p * panel_stride + PanelFormat<F>::bytes(k), panel_stride, wide, deep,
                       tile + p * panel_columns, tile_stride, k == 0 ? start : Start::tile);
    }
  }
}

// ---- one tile ------------------------------------------------------------------------
/// Query rows [first, first + rows) of one sequence and kv head, counted token by token and within a token head by
/// head.
template <class Scalar>
struct Tile {
  using Query = Factor<PanelTag<Scalar>, Scalar>;

  const AttentionShape& shape;
  const Batch& batch;
  const KvView& kv;
  Mask mask;
  const float* sinks;
  int sequence, kv_head, first, rows;

  int row_of(int r) const { return batch.row_begin[sequence] + (first + r) / shape.group(); }
  int head_of(int r) const { return kv_head * shape.group() + (first + r) % shape.group(); }
  int column_of(int r) const { return head_of(r) * shape.head_dim; }
  /// Row r sees keys [seen(r), limit(r)); neither falls from row to row.
  int limit(int r) const {
    return mask == Mask::full ? batch.kv_length[sequence] : position_of(batch, row_of(r), sequence) + 1;
  }
  int seen(int r) const { return mask == Mask::causal && shape.window > 0 ? std::max(0, limit(r) - shape.window) : 0; }
  int longest() const { return limit(rows - 1); }
  int first_chunk() const { return seen(0) / chunk_keys; }

  void load(Rows<const Scalar> queries, Query* q) const {
    for (int r = 0; r < rows; ++r) {
      const Scalar* from = queries[row_of(r)] + column_of(r);
      if constexpr (std::is_same_v<Query, Scalar>) {
        std::memcpy(q + r * shape.head_dim, from, std::size_t(shape.head_dim) * sizeof(Scalar));
      } else {
        for (int i = 0; i < shape.head_dim; i += lanes) Lanes::load(from + i).store(q + r * shape.head_dim + i);
      }
    }
  }

  /// A part of a block that lies in one page: keys [done, done + number) of the block.
  struct Run {
    int done, number;
    const Scalar* keys;    ///< panels of the first key and those behind it
    const Scalar* values;  ///< panels of dims, from the first key on
  };
  static constexpr int most_runs = block_keys / kv_page_unit + 1;

  /// Cuts keys [from, number) of the block that begins at `begin` at page ends; returns how many runs.
  int cut(int begin, int from, int number, Run* runs) const {
    int count = 0;
    for (int done = from; done < number; ++count) {
      const int token = (begin + done) % kv.page_tokens, length = std::min(number - done, kv.page_tokens - token);
      const HeadPage<Scalar> page = head_page<Scalar>(shape, kv, page_of(kv, sequence, begin + done), kv_head);
      runs[count] = {done, length, page.keys + std::int64_t(token) * shape.head_dim,
                     page.values + token * panel_columns};
      done += length;
    }
    return count;
  }

  /// The running softmax over the keys of one chunk.
  void attend(const Query* q, int chunk, Running running) const {
    using Panel = PanelTag<Scalar>;
    const int head_dim = shape.head_dim, end = std::min((chunk + 1) * chunk_keys, longest());
    const std::int64_t key_panel = PanelFormat<Panel>::bytes(head_dim),
                       value_panel = PanelFormat<Panel>::bytes(kv.page_tokens);
    const float scale = float(log2_e / std::sqrt(double(head_dim)));
    alignas(line_bytes) float scores[block_rows * block_keys], product[tile_rows * max_head_dim], fade[block_rows];
    alignas(line_bytes) Query probabilities[block_rows * block_keys];
    Lanes sums[block_rows];
    for (int r = 0; r < rows; ++r) {
      sums[r] = Lanes::zero();
      running.max[r] = -std::numeric_limits<float>::infinity();
    }
    std::fill_n(running.out, rows * head_dim, 0.0f);

    const bool from_memory = rows <= tile_rows;  // more rows find in the cache what the first of them fetched
    Run runs[most_runs], following[most_runs];
    const int first_key = seen(0) / panel_columns * panel_columns;
    for (int begin = std::max(chunk * chunk_keys, first_key / block_keys * block_keys); begin < end;
         begin += block_keys) {
      const int number = std::min(block_keys, end - begin), after = begin + block_keys;
      const int from = std::max(0, first_key - begin), count = cut(begin, from, number, runs);
      const bool more = after < longest();
      if (more) cut(after, 0, std::min(block_keys, longest() - after), following);
      for (int i = 0; i < count; ++i) {
        const void* next = !from_memory ? nullptr : i + 1 < count ? runs[i + 1].keys : runs[0].values;
        for (int r = 0; r < rows; r += tile_rows) {
          multiply_run<Panel>(std::min(tile_rows, rows - r), q + r * head_dim, head_dim, runs[i].keys, key_panel,
                              ceil_div(runs[i].number, panel_columns), head_dim, scores + r * block_keys + runs[i].done,
                              block_keys, Start::zero, next);
        }
      }
      for (int r = 0; r < rows; ++r) {
        const int visible = std::min(limit(r) - begin, number), hidden = std::max(0, seen(r) - begin);
        Query* p = probabilities + r * block_keys;
        if (hidden < visible) {
          fade[r] = soften(scores + r * block_keys, from, hidden, visible, number, scale, running.max[r], sums[r], p);
        } else {
          fade[r] = 1;
          std::fill(p + from, p + round_up(number, lanes), Query{});
        }
      }
      for (int r = 0; r < rows; r += tile_rows) {
        const int some = std::min(tile_rows, rows - r);
        for (int i = 0; i < count; ++i) {
          const void* next = !from_memory    ? nullptr
                             : i + 1 < count ? runs[i + 1].values
                             : more          ? following[0].keys
                                             : nullptr;
          multiply_run<Panel>(some, probabilities + r * block_keys + runs[i].done, block_keys, runs[i].values,
                              value_panel, head_dim / panel_columns, runs[i].number, product, head_dim,
                              i == 0 ? Start::zero : Start::tile, next);
        }
        for (int i = 0; i < some; ++i) {
          const Lanes factor = Lanes::of(fade[r + i]);
          float* to = running.out + (r + i) * head_dim;
          for (int j = 0; j < head_dim; j += lanes) {
            fma(Lanes::load(to + j), factor, Lanes::load(product + i * head_dim + j)).store(to + j);
          }
        }
      }
    }
    for (int r = 0; r < rows; ++r) running.sum[r] = sum(sums[r]);
  }

  /// `part` is the running softmax of this chunk: it joins the chunks before it. Where a row's window saw none of
  /// those, their sum is zero and leaves part's bits as they are.
  void join(Running total, Running part, int chunk) const {
    for (int r = 0; r < rows; ++r) {
      if (limit(r) > chunk * chunk_keys) combine(total, part, r, shape.head_dim);
    }
  }

  void finish(Running total, Rows<Scalar> y) const {
    for (int r = 0; r < rows; ++r) {
      Scalar* to = y[row_of(r)] + column_of(r);
      float sum = total.sum[r], power = 1;
      if (sinks) {
        const float sink = sinks[head_of(r)] * float(log2_e), max = std::max(total.max[r], sink);
        alignas(line_bytes) float powers[lanes] = {total.max[r] - max, sink - max};
        exp2(Lanes::load(powers)).store(powers);
        power = powers[0];
        sum = sum * power + powers[1];
      }
      const Lanes factor = Lanes::of(power / sum);
      const float* from = total.out + r * shape.head_dim;
      for (int i = 0; i < shape.head_dim; i += lanes) (Lanes::load(from + i) * factor).store(to + i);
    }
  }
};

}  // namespace detail

// ---- the ops -------------------------------------------------------------------------
/// Throws ConfigError for shapes that the other ops here take no care of.
inline std::int64_t kv_page_bytes(Context&, const AttentionShape& shape, ScalarKind scalar, int page_tokens) {
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

static_assert(AttentionOps<Context, float> && AttentionOps<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
