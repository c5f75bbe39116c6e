// FP8 and int8 with scales of rows or blocks, as coded.hpp lays them: a row of W has its own copy of the scales that it
// shares with others.
#pragma once
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/coded.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/scaled_codes.hpp"

namespace ivl::IVL_CUDA::detail {

template <class F, CodeKind kind>
struct ByteCoded {
  static constexpr CodedLayout layout{
      .kind = kind, .group = F::planes[F::scale_plane].ins, .scale = kind_of<typename F::Scale>};

  static void codes(const BlockCells& cells, std::uint8_t* to) { F::codes(cells, to); }
  static void scales(const BlockCells& cells, std::byte* to) {
    std::memcpy(to, cells.at[F::scale_plane], sizeof(typename F::Scale));
  }
};

template <class Scale>
struct CodedFormat<F8Rows<Scale>> : ByteCoded<F8Rows<Scale>, CodeKind::e4m3> {};
template <class Scale>
struct CodedFormat<F8Blocks<Scale>> : ByteCoded<F8Blocks<Scale>, CodeKind::e4m3> {};
template <class Scale>
struct CodedFormat<I8Rows<Scale>> : ByteCoded<I8Rows<Scale>, CodeKind::int8> {};
template <>
struct CodedFormat<LlmInt8> : ByteCoded<LlmInt8, CodeKind::int8> {
  static constexpr CodedLayout layout = [] {
    CodedLayout with_factor = ByteCoded::layout;
    with_factor.factor = LlmInt8::factor;
    return with_factor;
  }();
};

}  // namespace ivl::IVL_CUDA::detail
