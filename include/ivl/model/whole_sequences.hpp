// Batches and pages for sequences of one length that run without an engine: one page a sequence, layer after layer.
// The only place outside serve/ that makes a `Batch` or a `KvView`.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/ops/attention.hpp"
#include "ivl/ops/batch.hpp"
#include "ivl/ops/memory.hpp"
#include "ivl/ops/transfer.hpp"

namespace ivl {

/// Steps that together run every row of one layer. The pages are those of one layer: a layer runs all of its steps
/// before the next one writes its keys, so that memory does not grow with the number of layers.
class WholeSequences {
 public:
  struct Step {
    Batch batch;
    const std::int32_t* rope_lengths = nullptr;  ///< [batch.rows]: see ops/rope.hpp
    const std::int32_t* last_rows = nullptr;     ///< [batch.sequences]: each one's newest row of the step
    std::int64_t first = 0;                      ///< row of all rows that is the step's first
  };

  /// `sequences` that see all of themselves (vision tiles), a few whole ones a step: as many as `step_rows` hold.
  template <class Context>
  static WholeSequences full(Context& ctx, const AttentionShape& shape, ScalarKind scalar, int sequences, int length,
                             int step_rows) {
    const int together = std::clamp(step_rows / std::max(1, length), 1, std::max(1, sequences));
    Tables tables;
    for (int done = 0; done < sequences; done += together)
      tables.add(std::min(together, sequences - done), 0, length, length);
    return {ctx, shape, scalar, together, length, tables};
  }
  /// One sequence whose rows see what is before them, `step_rows` rows a step.
  template <class Context>
  static WholeSequences causal(Context& ctx, const AttentionShape& shape, ScalarKind scalar, int length,
                               int step_rows) {
    Tables tables;
    for (int done = 0; done < length; done += step_rows)
      tables.add(1, done, std::min(length, done + step_rows), length);
    return {ctx, shape, scalar, 1, length, tables};
  }
  /// One step alone: the newest `rows` tokens of each of `sequences`, behind `before` others of its own.
  template <class Context>
  static WholeSequences newest(Context& ctx, const AttentionShape& shape, ScalarKind scalar, int sequences, int before,
                               int rows) {
    Tables tables;
    tables.add(sequences, before, before + rows, before + rows);
    return {ctx, shape, scalar, sequences, before + rows, tables};
  }

  const std::vector<Step>& steps() const { return steps_; }
  /// Rows of the largest step.
  int step_rows() const { return steps_.empty() ? 0 : steps_.front().batch.rows; }

  KvView kv() const { return kv(pages_.data()); }
  /// The same over pages of the caller.
  KvView kv(std::byte* pages) const {
    return {.pages = pages,
            .page_bytes = page_bytes_,
            .page_tokens = page_tokens_,
            .page_table = page_table_,
            .pages_per_sequence = 1};
  }

 private:
  /// Offsets into `ints` stand where pointers will.
  struct Tables {
    struct Step {
      int sequences, rows, longest;
      std::int64_t first, at;
    };
    std::vector<Step> steps;
    std::vector<std::int32_t> ints;
    std::int64_t rows = 0;

    /// Positions begin ... end - 1 of each sequence, whose whole length is `length`.
    void add(int sequences, int begin, int end, int length);
  };

  template <class Context>
  WholeSequences(Context& ctx, const AttentionShape& shape, ScalarKind scalar, int pages, int length,
                 const Tables& tables)
      : page_tokens_(int(round_up(std::max(1, length), kv_page_unit))),
        page_bytes_(kv_page_bytes(ctx, shape, scalar, page_tokens_)),
        pages_(ctx, page_bytes_ * pages),
        ints_(ctx, std::span<const std::int32_t>(tables.ints)) {
    take_steps(tables);
  }

  /// Pointers into `ints_` for the offsets of the tables.
  void take_steps(const Tables& tables);

  int page_tokens_ = 0;
  std::int64_t page_bytes_ = 0;
  Array<std::byte> pages_;
  Array<std::int32_t> ints_;
  const std::int32_t* page_table_ = nullptr;  // of the first step
  std::vector<Step> steps_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/model/whole_sequences.ipp"
#endif
