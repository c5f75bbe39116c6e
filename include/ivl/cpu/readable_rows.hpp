// Rows of activations as the panels of a matrix take them.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/int8_codes.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/panel_choice.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/panels.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// Rows of activations as the panels of a matrix take them: x itself, copies as factors with zeros up to a whole unit,
/// or codes of 8 bits.
template <class Scalar>
class Readable {
 public:
  Readable(Rows<const Scalar> x, const PlacedMatrix& w, Numbers numbers) : x_(x), numbers_(numbers) {
    std::int64_t unit = 1;
    for (int i = 0; i < w.strip_count; ++i) {
      const Format format = w.strips[std::size_t(i)].format;
      if (as_int8(format)) {
        int8_wanted_ = true;
        continue;
      }
      unit = std::max<std::int64_t>(unit, panel_unit_of(format));
      (takes_pairs<Scalar>(format) ? pairs_wanted_ : floats_wanted_) = true;
    }
    depth_ = round_up(w.in, unit);
    if (x.width() == depth_) {
      if constexpr (std::is_same_v<Scalar, float>) floats_ = x;
      if constexpr (std::is_same_v<Scalar, bf16>) pairs_ = x;
    }
  }
  /// Bytes of working memory that `prepare` needs: none where x can be read as it is.
  std::int64_t room() const {
    return (copies_floats() ? bytes<float>() : 0) + (copies_pairs() ? bytes<bf16>() : 0) +
           (int8_wanted_ ? Int8Rows::bytes(x_.count, x_.width()) : 0);
  }
  void prepare(Context& ctx, std::byte* memory) {
    if (x_.count == 0) return;
    if (copies_floats()) {
      floats_ = copy(ctx, reinterpret_cast<float*>(memory));
      memory += bytes<float>();
    }
    if constexpr (std::is_same_v<PairFactor<Scalar>, bf16>) {
      if (copies_pairs()) {
        pairs_ = copy(ctx, reinterpret_cast<bf16*>(memory));
        memory += bytes<bf16>();
      }
    }
    if (int8_wanted_) {
      int8_ = Int8Rows(memory, x_.width());
      int8_.quantise(ctx, x_);
    }
  }
  /// Whether rows meet panels of the format as codes.
  bool as_int8(Format format) const { return numbers_ == Numbers::int8 && takes_int8(format); }
  Int8Row int8_row(std::int64_t row) const { return int8_[row]; }
  template <class Factor>
  const Factor* row(std::int64_t row) const {
    if constexpr (std::is_same_v<Factor, bf16>) {
      return pairs_[row];
    } else {
      return floats_[row];
    }
  }

 private:
  bool copies_floats() const { return floats_wanted_ && !floats_.data; }
  bool copies_pairs() const { return pairs_wanted_ && !pairs_.data; }
  // One line more than the row, so that rows do not fall into the same cache sets.
  std::int64_t stride() const { return round_up(depth_, lanes) + lanes; }
  template <class Factor>
  std::int64_t bytes() const {
    return round_up(x_.count * stride() * std::int64_t(sizeof(Factor)), line_bytes);
  }

  template <class Factor>
  Rows<const Factor> copy(Context& ctx, Factor* memory) const {
    const auto copy_row = [&](std::int64_t row) {
      const Scalar* from = x_[row];
      Factor* to = memory + row * stride();
      if constexpr (std::is_same_v<Factor, Scalar>) {
        std::copy_n(from, x_.width(), to);
      } else {
        std::int64_t i = 0;
        for (; i + lanes <= x_.width(); i += lanes) Lanes::load(from + i).store(to + i);
        for (; i < x_.width(); ++i) to[i] = to_float(from[i]);
      }
      std::fill(to + x_.width(), to + depth_, Factor{});
    };
    if (x_.count <= tile_rows) {
      for (std::int64_t row = 0; row < x_.count; ++row) copy_row(row);
    } else {
      ctx.pool.run(x_.count, copy_row);
    }
    return {memory, x_.count, depth_, stride()};
  }

  Rows<const Scalar> x_;
  Numbers numbers_;
  std::int64_t depth_ = 0;
  bool floats_wanted_ = false, pairs_wanted_ = false, int8_wanted_ = false;
  Rows<const float> floats_;
  Rows<const bf16> pairs_;
  Int8Rows int8_;
};

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
