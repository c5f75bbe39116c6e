// What one step works on: ragged rows of several sequences, and where their keys and values lie.
// All pointers are into the context's memory.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ivl {

/// Rows of sequence s are [row_begin[s], row_begin[s + 1]); they are its newest tokens, in order. After the step the
/// sequence has kv_length[s] keys, so its last row stands at position kv_length[s] - 1.
struct Batch {
  int rows = 0;
  int sequences = 0;
  const std::int32_t* row_begin = nullptr;    ///< [sequences + 1]
  const std::int32_t* kv_length = nullptr;    ///< [sequences]
  const std::int32_t* sequence_of = nullptr;  ///< [rows]
  const std::int32_t* positions = nullptr;    ///< [rows]
  int longest = 0;  ///< largest kv_length, known to the host: capacity for work that is sized by it
};

/// Keys and values of one layer, in pages of `page_tokens` tokens. What lies inside a page is the backend's layout.
/// Layers that keep the same tokens share a page table. Position p of sequence s lies in page
/// page_table[s * pages_per_sequence + p / page_tokens]. A layer with a sliding window looks up no page in front of its
/// window, so the table may hold anything there, and such pages can belong to others.
struct KvView {
  std::byte* pages = nullptr;                ///< page p starts at pages + p * page_bytes
  std::int64_t page_bytes = 0;               ///< what kv_page_bytes(ctx, shape, scalar, page_tokens) says
  int page_tokens = 0;                       ///< a multiple of kv_page_unit
  const std::int32_t* page_table = nullptr;  ///< [sequences, pages_per_sequence]
  int pages_per_sequence = 0;
};

/// Page sizes are multiples of this many tokens on every backend.
inline constexpr int kv_page_unit = 16;

}  // namespace ivl
