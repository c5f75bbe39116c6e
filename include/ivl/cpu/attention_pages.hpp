// What lies in a page of keys and values (the layout is attention.hpp's), and how a row gets there.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/scalar.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/scalar_panels.hpp"
#include "ivl/facts/attention_shape.hpp"
#include "ivl/formats/scalars.hpp"
#include "ivl/ops/batch.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

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

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
