// Choosing tokens where the logits lie, so that a number a sequence travels instead of a vocabulary.
#pragma once
#include <cstdint>

#include "ivl/core/rows.hpp"

namespace ivl {

/// What a backend offers:
///   argmax(ctx, logits, ids)   ids[r] = the id of the largest logit of row r, the lowest of equals; both in the
///                              context's memory; logits [rows, ids that may be chosen], at least one of them
/// A NaN is smaller than everything, but at id 0 larger: what a greedy Sampler (std::max_element) makes of it.
template <class Context>
concept SampleOps = requires(Context& ctx, Rows<const float> logits, std::int32_t* ids) {
  argmax(ctx, logits, ids);
};

}  // namespace ivl
