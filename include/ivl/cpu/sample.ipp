// The bodies of sample.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include "ivl/core/rows.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/sample.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

namespace detail {

/// The id of the largest of some logits, the lowest of equals; -1 where one is NaN, or none is above -infinity.
inline std::int32_t best_id(const float* logits, std::int64_t number) {
  // Maxima and NaNs of columns that lie apart, for the compiler to make vectors of.
  constexpr std::int64_t apart = 16;
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  float most[apart];
  std::fill_n(most, apart, lowest);
  std::int32_t wrong[apart] = {};
  const auto look_at = [&](std::int64_t column, float x) {
    most[column] = x > most[column] ? x : most[column];
    wrong[column] |= x != x;
  };
  std::int64_t i = 0;
  for (; i + apart <= number; i += apart) {
    for (std::int64_t column = 0; column < apart; ++column) look_at(column, logits[i + column]);
  }
  for (std::int64_t column = 0; i < number; ++i, ++column) look_at(column, logits[i]);
  const float largest = *std::max_element(most, most + apart);
  if (largest == lowest || std::any_of(wrong, wrong + apart, [](std::int32_t found) { return found != 0; })) return -1;
  return std::int32_t(std::find(logits, logits + number, largest) - logits);
}

}  // namespace detail

IVL_INLINE void argmax(Context& ctx, Rows<const float> logits, std::int32_t* ids) {
  assert(logits.width() > 0);
  ctx.pool.run(logits.count, [&](std::int64_t row) { ids[row] = detail::best_id(logits[row], logits.width()); });
}

namespace detail {

/// Takes the penalties off the logits of ids that the sequence holds.
inline void penalise(const Draw& draw, float* logits) {
  for (int id = 0; id < draw.ids; ++id) {
    if (draw.uses[id] == 0) continue;
    float& logit = logits[id];
    logit = logit > 0 ? logit / draw.repetition_penalty : logit * draw.repetition_penalty;
    const int of_answer = draw.uses[id] - 1;
    if (of_answer > 0) logit = std::fma(-draw.frequency_penalty, float(of_answer), logit) - draw.presence_penalty;
  }
}

/// The id drawn from one row, or -1; `order` is room for draw.ids of them.
inline std::int32_t draw_row(const Draw& draw, float* logits, std::int32_t* order) {
  if (draw.uses != nullptr) penalise(draw, logits);
  const std::int32_t best = best_id(logits, draw.ids);
  if (best < 0 || draw.temperature == 0 || std::isinf(logits[best])) return best;
  const float largest = logits[best];

  // Divided, since the inverse of the smallest temperatures is infinite.
  const auto weight = [&](std::int32_t id) { return std::exp((logits[id] - largest) / draw.temperature); };
  const auto more_likely = [&](std::int32_t a, std::int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
  };
  const bool fewer = draw.top_k > 0 && draw.top_k < draw.ids;
  int kept = draw.ids, sorted = 0;
  std::iota(order, order + kept, 0);
  if (fewer) {
    kept = draw.top_k;
    // Of 151 thousand logits, the top 50 take 0.2 ms by heap and 1.8 by halves, the top 50000 take 30 ms and 2 (Xeon).
    if (kept <= 1024) {
      std::partial_sort(order, order + kept, order + draw.ids, more_likely);
      sorted = kept;
    } else {
      std::nth_element(order, order + kept - 1, order + draw.ids, more_likely);
    }
    // Few rows have equals of the last, and to count is quick.
    const float last = logits[order[kept - 1]];
    const auto equals_last = [&](std::int32_t id) { return logits[id] == last; };
    const auto equals = std::count(logits, logits + draw.ids, last);
    if (equals > std::count_if(order, order + kept, equals_last) && !std::isinf(last)) {
      std::int32_t* const end = std::partition(order + kept, order + draw.ids, equals_last);
      std::sort(order + kept, end);
      kept = int(end - order);
      if (sorted > 0) sorted = kept;
    }
  }
  double total = 0;
  for (int i = 0; i < kept; ++i) total += weight(order[i]);

  // The most probable come first, as far as top-p and min-p need them in order; and so do the top k, whose order
  // nth_element leaves to the library.
  if (fewer || draw.top_p < 1 || draw.min_p > 0) {
    const double wanted = draw.top_p < 1 ? draw.top_p * total : std::numeric_limits<double>::infinity();
    double sum = 0;
    int use = 0;
    for (; use < kept; ++use) {
      if (use == sorted) {
        sorted = std::min(kept, std::max(64, 4 * sorted));
        std::partial_sort(order + use, order + sorted, order + kept, more_likely);
      }
      const float w = weight(order[use]);
      if (sum >= wanted || w < draw.min_p) break;  // never at the first: its weight is 1
      sum += w;
    }
    kept = use;
    total = sum;
  }

  double left = draw.uniform * total;
  std::int32_t drawn = best;
  for (int i = 0; i < kept; ++i) {
    const float w = weight(order[i]);
    if (w == 0) continue;  // rounding may leave a rest of the sum; an id without weight is never drawn
    drawn = order[i];
    if ((left -= w) < 0) break;
  }
  return drawn;
}

}  // namespace detail

IVL_INLINE void draw(Context& ctx, const Draw* draws, Rows<float> logits, std::int32_t* ids) {
  const std::int64_t width = logits.width();
  auto* const orders = ctx.scratch<std::int32_t>(logits.count * width);
  ctx.pool.run(logits.count, [&](std::int64_t row) {
    const Draw& draw = draws[row];
    assert(draw.ids > 0 && draw.ids <= width);
    ids[row] = detail::draw_row(draw, logits[row], orders + row * width);
    if (draw.uses != nullptr && ids[row] >= 0) draw.uses[ids[row]] += draw.uses[ids[row]] == 0 ? 2 : 1;
  });
}

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
