// One tile of attention: query rows (tokens x heads of one group) against the keys of one kv head. It is a task.
//
// A tile walks blocks of keys that begin at multiples of `block_keys`, with the online softmax. Every `chunk_keys` keys
// it starts anew, and the chunks are combined in order. So threads can share one long sequence by chunks, and the bits
// are the same however rows, pages, chunks and threads are dealt out. Under a sliding window a tile begins with the
// panel of the first key that one of its rows sees. Keys that a row does not see have probability 0, which changes no
// sum. A sink joins when the chunks are together.
//
// Few rows read the pages at the speed of memory: run by run, each fetching the next.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/cpu/attention_pages.hpp"
#include "ivl/cpu/attention_softmax.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/facts/attention_shape.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/batch.hpp"

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

// ---- keys and values that come from memory ---------------------------------------------
/// multiply_rows; unless `next` is null, in pieces; each piece first fetches as many bytes from `next` on as it
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
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
