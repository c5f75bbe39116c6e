// Choosing tokens where the logits lie, so that a number a sequence travels instead of a vocabulary.
#pragma once
#include <cstdint>

#include "ivl/core/rows.hpp"

namespace ivl {

/// What one row is drawn with, its logits being x. In this order, as transformers' logits processors, with OpenAI's two
/// penalties where vLLM has them:
///   repetition penalty   of ids that are held, x = x > 0 ? x / repetition_penalty : x * repetition_penalty
///   frequency penalty    x = x - frequency_penalty * how often the answer holds the id, rounded once
///   presence penalty     of ids that the answer holds, x = x - presence_penalty
///   temperature          0: the id that argmax finds. Else weight = exp((x - largest x) / temperature), and go on
///   top-k                kept are the top_k largest x, and all that equal the last of them
///   top-p                of these, from the largest down, as few as have top_p of the sum of their weights
///   min-p                of these, the ones whose weight is at least min_p: that of the largest x is 1
/// The id is the first, from the largest x down, at which the sum of kept weights exceeds `uniform` times all of it; in
/// the order of ids where top-k, top-p and min-p are off. Where the largest x is infinite, the id is argmax's.
struct Draw {
  double uniform = 0;            ///< in [0, 1)
  float temperature = 0;         ///< 0 or more
  int top_k = 0;                 ///< 0, or `ids` and more: all
  float top_p = 1;               ///< more than 0, at most 1
  float min_p = 0;               ///< 0 ... 1
  float repetition_penalty = 1;  ///< more than 0
  float frequency_penalty = 0;   ///< finite
  float presence_penalty = 0;    ///< finite
  int ids = 0;                   ///< how many may be drawn: 0 ... ids - 1; at least one
  /// [ids] of its own: 0 where the sequence does not hold the id, else 1 + how often the answer, which is what was
  /// drawn, holds it. Null: no penalty.
  std::int32_t* uses = nullptr;
};

/// Whether the id is the one that argmax finds.
constexpr bool is_greedy(const Draw& draw) { return draw.temperature == 0 && draw.uses == nullptr; }

/// What a backend offers; all pointers are to the context's memory:
///   argmax(ctx, logits, ids)        ids[r] = the id of the largest logit of row r, the lowest of equals
///                                   logits [rows, ids that may be chosen], at least one of them
///   draw(ctx, draws, logits, ids)   ids[r] = the id that is drawn from row r as draws[r] says; that row's `uses`, if
///                                   there are any, count it
///                                   logits [rows, at least as many as any draw's ids]: worked in, and left changed
/// Both give -1, and count nothing, where a logit that counts is NaN or none is above -infinity: the model has
/// gone wrong, or nothing may be chosen.
template <class Context>
concept SampleOps =
    requires(Context& ctx, const Draw* draws, Rows<const float> read, Rows<float> write, std::int32_t* ids) {
      argmax(ctx, read, ids);
      draw(ctx, draws, write, ids);
    };

}  // namespace ivl
