// From logits to a token: greedy, or drawn in the order of transformers' logits processors.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "ivl/core/error.hpp"

namespace ivl {

/// Defaults are greedy. Order: repetition penalty, temperature, top-k, top-p, min-p.
struct SamplingOptions {
  float temperature = 0;         ///< 0: the largest logit
  int top_k = 0;                 ///< 0: all
  float top_p = 1;               ///< smallest set of most probable tokens that holds this much
  float min_p = 0;               ///< relative to the most probable token
  float repetition_penalty = 1;  ///< > 1 makes tokens that the sequence already holds, prompt included, less likely
  std::uint64_t seed = 0;
};

/// Throws RequestError for values that mean nothing.
inline void check(const SamplingOptions& o) {
  if (!(o.temperature >= 0 && std::isfinite(o.temperature))) fail<RequestError>("temperature: expected 0 or more, found ", o.temperature);
  if (o.top_k < 0) fail<RequestError>("top_k: expected 0 (all) or more, found ", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1)) fail<RequestError>("top_p: expected more than 0, at most 1, found ", o.top_p);
  if (!(o.min_p >= 0 && o.min_p <= 1)) fail<RequestError>("min_p: expected 0 to 1, found ", o.min_p);
  if (!(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty)))
    fail<RequestError>("repetition_penalty: expected more than 0, found ", o.repetition_penalty);
}

/// Draws the tokens of one sequence. Allocates only in its constructor.
class Sampler {
 public:
  /// Ids from `usable_ids` on are padding rows of the head and are never drawn.
  Sampler(const SamplingOptions& options, int usable_ids) : options_(options), state_(options.seed) {
    check(options);
    if (options.repetition_penalty != 1) seen_.resize(std::size_t(usable_ids));
    if (options.temperature > 0) order_.resize(std::size_t(usable_ids));
    usable_ids_ = usable_ids;
  }

  /// Tells the repetition penalty of a token that the sequence holds.
  void note(int id) {
    if (!seen_.empty() && id < usable_ids_) seen_[std::size_t(id)] = 1;
  }

  /// Whether the next token is the first of the largest logits of these ids, as SampleOps finds it.
  bool is_greedy() const { return options_.temperature == 0 && seen_.empty(); }
  int usable_ids() const { return usable_ids_; }

  /// The next token; `logits` is worked in and left changed.
  int draw(std::span<float> logits) {
    logits = logits.first(std::min(logits.size(), std::size_t(usable_ids_)));
    for (std::size_t id = 0; id < seen_.size(); ++id) {
      if (seen_[id]) logits[id] = logits[id] > 0 ? logits[id] / options_.repetition_penalty : logits[id] * options_.repetition_penalty;
    }
    const auto largest = std::max_element(logits.begin(), logits.end());
    if (options_.temperature == 0) return int(largest - logits.begin());
    return draw_from_distribution(logits, *largest);
  }

 private:
  int draw_from_distribution(std::span<float> logits, float largest) {
    // Divided, since the inverse of the smallest temperatures is infinite.
    const auto weight = [&](int id) { return std::exp((logits[std::size_t(id)] - largest) / options_.temperature); };
    const auto more_likely = [&](int a, int b) {
      const float la = logits[std::size_t(a)], lb = logits[std::size_t(b)];
      return la > lb || (la == lb && a < b);
    };
    std::iota(order_.begin(), order_.end(), 0);
    std::size_t kept = order_.size();
    if (options_.top_k > 0 && std::size_t(options_.top_k) < kept) {
      kept = std::size_t(options_.top_k);
      std::nth_element(order_.begin(), order_.begin() + std::ptrdiff_t(kept) - 1, order_.end(), more_likely);
    }
    double total = 0;
    for (std::size_t i = 0; i < kept; ++i) total += weight(order_[i]);

    // The most probable come first, as far as top-p and min-p need them in order; and so do the top k, whose order
    // nth_element leaves to the library.
    if (kept < order_.size() || options_.top_p < 1 || options_.min_p > 0) {
      double sum = 0, wanted = options_.top_p < 1 ? options_.top_p * total : std::numeric_limits<double>::infinity();
      std::size_t sorted = 0, use = 0;
      for (; use < kept; ++use) {
        if (use == sorted) {
          sorted = std::min(kept, std::max<std::size_t>(64, 4 * sorted));
          std::partial_sort(order_.begin() + std::ptrdiff_t(use), order_.begin() + std::ptrdiff_t(sorted),
                            order_.begin() + std::ptrdiff_t(kept), more_likely);
        }
        const float w = weight(order_[use]);
        if (use > 0 && (sum >= wanted || w < options_.min_p)) break;
        sum += w;
      }
      kept = use;
      total = sum;
    }

    double left = uniform() * total;
    for (std::size_t i = 0; i + 1 < kept; ++i) {
      left -= weight(order_[i]);
      if (left < 0) return order_[i];
    }
    return order_[kept - 1];
  }

  /// SplitMix64, the same on every machine; 53 bits in [0, 1).
  double uniform() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return double((z ^ z >> 31) >> 11) * 0x1p-53;
  }

  SamplingOptions options_;
  std::uint64_t state_;
  int usable_ids_ = 0;
  std::vector<std::uint8_t> seen_;
  std::vector<int> order_;
};

}  // namespace ivl
