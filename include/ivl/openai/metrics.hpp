// What has been served, in Prometheus' text format under vLLM's names, with "ivl:" in place of "vllm:". Any thread may
// count; nothing is locked.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/serve/service.hpp"

namespace ivl::openai {

/// How often what was observed was at most each bound.
class Histogram {
 public:
  static constexpr std::size_t most_bounds = 22;

  /// `bounds` ascend and outlive this.
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds) {}
  void observe(double value);
  /// In the text format: buckets, sum and count. `labels` are "name=\"value\"".
  void write(std::string& text, std::string_view name, std::string_view help, std::string_view labels) const;

 private:
  std::span<const double> bounds_;
  std::array<std::atomic<std::uint64_t>, most_bounds + 1> counts_{};  ///< of each bucket alone; the last is unbounded
  std::atomic<double> sum_{0};
};

/// The fact sheet's bounds.
inline constexpr std::array latency_bounds{0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                                           30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
inline constexpr std::array first_token_bounds{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                                               1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
/// As vLLM's.
inline constexpr std::array token_time_bounds{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                              0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
inline constexpr std::array count_bounds{1.0,   2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0,
                                         500.0, 1e3, 2e3, 5e3,  1e4,  2e4,  5e4,   1e5};
inline constexpr std::array few_bounds{1.0, 2.0, 5.0, 10.0, 20.0};

class Metrics {
 public:
  Histogram time_to_first_token_s{first_token_bounds};
  Histogram inter_token_latency_s{token_time_bounds};
  Histogram time_per_output_token_s{token_time_bounds};
  Histogram request_latency_s{latency_bounds};
  Histogram queue_s{latency_bounds}, inference_s{latency_bounds}, prefill_s{latency_bounds}, decode_s{latency_bounds};
  Histogram prompt_tokens{count_bounds}, generation_tokens{count_bounds}, max_tokens{count_bounds};
  Histogram answers{few_bounds}, preemptions{few_bounds};
  Histogram image_decode_s{first_token_bounds}, image_tiles{few_bounds}, vision_s{first_token_bounds};

  /// A request that was not taken.
  void count_rejection(int status);
  /// A choice that has ended.
  void count_finish(Finish finish);

  std::string text(const ServiceStatus& status, const std::string& model) const;

 private:
  std::atomic<std::uint64_t> stopped_{0}, cut_{0}, aborted_{0}, failed_{0};
  std::atomic<std::uint64_t> overloaded_{0}, refused_{0};
};

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/metrics.ipp"
#endif
