// The formats of ggml whose codes are whole numbers, or of a table, as coded.hpp lays them. Steps of six bits become
// bytes; all else takes the bits that it has in a file.
#pragma once
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/coded.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/block_format.hpp"
#include "ivl/formats/format.hpp"

namespace ivl::IVL_CUDA::detail {

/// What Block and the functions of a tag say.
template <class F, CodeKind kind, int code_bits, int zero, int run>
struct GgmlCoded {
  using Block = typename F::Block;
  static constexpr bool has_m = requires(Block b) { b.m; }, has_minimum = has_m || requires(Block b) { b.dmin; };
  static constexpr CodedLayout layout{.kind = kind,
                                      .high_bits = code_bits > 4 && code_bits < 8 ? code_bits - 4 : 0,
                                      .zero = zero,
                                      .group = F::block,
                                      .has_minimum = has_minimum,
                                      .run = run};

  static void codes(const BlockCells& cells, std::uint8_t* to) {
    const Block b = ivl::detail::block_at<F>(cells);
    if constexpr (kind == CodeKind::int8) {  // with their signs; F::codes are 128 more
      std::memcpy(to, b.codes, sizeof b.codes);
    } else {
      F::codes(b, to);
    }
  }
  static void scales(const BlockCells& cells, std::byte* to) {
    const Block b = ivl::detail::block_at<F>(cells);
    std::memcpy(to, &b.d, sizeof b.d);
    if constexpr (has_m) {  // is added
      const auto minimum = std::uint16_t(b.m.bits ^ 0x8000);
      std::memcpy(to + sizeof b.d, &minimum, sizeof minimum);
    } else if constexpr (has_minimum) {
      std::memcpy(to + sizeof b.d, &b.dmin, sizeof b.dmin);
    }
  }
  static void steps(const BlockCells& cells, std::int8_t* to)
    requires(run != 0)
  {
    const Block b = ivl::detail::block_at<F>(cells);
    for (int r = 0; r < F::block / run; ++r) {
      if constexpr (has_minimum) {
        const auto [scale, minimum] = F::scale_and_minimum(b, r);
        *to++ = std::int8_t(scale);
        *to++ = std::int8_t(minimum);
      } else {
        *to++ = std::int8_t(F::scale_of(b, r));
      }
    }
  }
};

template <>
struct CodedFormat<Q4_0> : GgmlCoded<Q4_0, CodeKind::int4, 4, 8, 0> {};
template <>
struct CodedFormat<Q4_1> : GgmlCoded<Q4_1, CodeKind::int4, 4, 0, 0> {};
template <>
struct CodedFormat<Q5_0> : GgmlCoded<Q5_0, CodeKind::int4, 5, 16, 0> {};
template <>
struct CodedFormat<Q5_1> : GgmlCoded<Q5_1, CodeKind::int4, 5, 0, 0> {};
template <>
struct CodedFormat<Q8_0> : GgmlCoded<Q8_0, CodeKind::int8, 8, 0, 0> {};
template <>
struct CodedFormat<Q4K> : GgmlCoded<Q4K, CodeKind::int4, 4, 0, 32> {};
template <>
struct CodedFormat<Q5K> : GgmlCoded<Q5K, CodeKind::int4, 5, 0, 32> {};
template <>
struct CodedFormat<Q6K> : GgmlCoded<Q6K, CodeKind::int4, 6, 32, 16> {};
template <>
struct CodedFormat<Iq4Nl> : GgmlCoded<Iq4Nl, CodeKind::iq4, 4, 0, 0> {};
template <>
struct CodedFormat<Iq4Xs> : GgmlCoded<Iq4Xs, CodeKind::iq4, 4, 0, 32> {};

}  // namespace ivl::IVL_CUDA::detail
