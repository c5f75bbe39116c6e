// The bodies of whole_sequences.hpp.
#pragma once
#include <utility>

#include "ivl/model/whole_sequences.hpp"

namespace ivl {

IVL_INLINE void WholeSequences::Tables::add(int sequences, int begin, int end, int length) {
  const int each = end - begin, all = sequences * each;
  steps.push_back({sequences, all, end, rows, std::int64_t(ints.size())});
  rows += all;
  for (int s = 0; s <= sequences; ++s) ints.push_back(s * each);           // row_begin
  ints.insert(ints.end(), std::size_t(sequences), end);                    // kv_length
  for (int s = 0; s < sequences; ++s) ints.push_back(s);                   // page table
  for (int s = 0; s < sequences; ++s) ints.push_back((s + 1) * each - 1);  // last rows
  for (int row = 0; row < all; ++row) ints.push_back(row / each);          // sequence_of
  for (int row = 0; row < all; ++row) ints.push_back(begin + row % each);  // positions
  ints.insert(ints.end(), std::size_t(all), length);                       // rope lengths
}

IVL_INLINE void WholeSequences::take_steps(const Tables& tables) {
  for (const Tables::Step& from : tables.steps) {
    const std::int32_t* next = ints_.data() + from.at;
    const auto take = [&next](int number) { return std::exchange(next, next + number); };
    Step& step = steps_.emplace_back();
    step.first = from.first;
    Batch& batch = step.batch;
    batch.rows = from.rows;
    batch.sequences = from.sequences;
    batch.row_begin = take(from.sequences + 1);
    batch.kv_length = take(from.sequences);
    const std::int32_t* page_table = take(from.sequences);
    if (page_table_ == nullptr) page_table_ = page_table;  // of as many sequences as any step has
    step.last_rows = take(from.sequences);
    batch.sequence_of = take(from.rows);
    batch.positions = take(from.rows);
    step.rope_lengths = take(from.rows);
    batch.longest = from.longest;
  }
}

}  // namespace ivl
