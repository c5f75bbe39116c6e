// The CPU backend's context: threads and working memory. Ops find their CPU body through it.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "ivl/core/buffer.hpp"
#include "ivl/core/level.hpp"
#include "ivl/core/thread_pool.hpp"

namespace ivl::cpu {

/// How matrix products treat activations, and weights that are floats.
enum class Numbers : std::uint8_t {
  exact,  ///< as they are
  int8,  ///< activations as codes of 8 bits wherever weights are whole-number codes; floats become such codes when they
         ///< are placed (int8_codes.hpp)
};

inline namespace IVL_CPU_LEVEL {

/// Serves one caller at a time. The instructions it uses are those that the including file was compiled for.
class Context {
 public:
  explicit Context(int threads = usable_cpus(), Numbers numbers = Numbers::exact)
      : pool(std::max(1, threads)), numbers_(numbers) {}

  int threads() const { return pool.threads(); }
  Numbers numbers() const { return numbers_; }
  static constexpr CpuLevel level() { return compiled_level; }
  struct Recordings {};  // replay.hpp

  /// Room for `number` scalars that one op works in; the next call may hand out the same memory. Grows to the largest
  /// request and stays there, so a step of a size that was seen before allocates nothing.
  template <class Scalar>
  Scalar* scratch(std::int64_t number) {
    const std::size_t bytes = std::size_t(number) * sizeof(Scalar);
    if (bytes > scratch_.size()) {
      scratch_ = Buffer();
      scratch_ = Buffer(bytes);
    }
    return scratch_.as<Scalar>();
  }

  ThreadPool pool;
  /// Formats of weights that were placed with Numbers::int8 and yet meet activations as they are: a bit for each, in
  /// the order of Format (exact_formats in place.hpp names them).
  std::uint64_t exact_formats = 0;

 private:
  Numbers numbers_;
  Buffer scratch_;
};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
