// AWQ and compressed-tensors' integers of four bits, as coded.hpp lays them: a scale and a zero point a group.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/coded.hpp"
#include "ivl/cuda/tag.hpp"
#include "ivl/formats/awq.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/packed_int4.hpp"

namespace ivl::IVL_CUDA::detail {

template <class F, int group_size>
struct GroupedInt4 {
  static constexpr CodedLayout layout{.has_zeros = true, .group = group_size, .scale = kind_of<typename F::Scale>};

  static void codes(const BlockCells& cells, std::uint8_t* to) { F::codes(cells, to); }
  static void scales(const BlockCells& cells, std::byte* to) {
    std::memcpy(to, cells.at[F::scale_plane], sizeof(typename F::Scale));
  }
  static std::uint8_t zero(const BlockCells& cells) { return std::uint8_t(F::zero_of(cells)); }
};

template <>
struct CodedFormat<Awq> : GroupedInt4<Awq, Awq::block> {};
template <>
struct CodedFormat<AwqF32> : GroupedInt4<AwqF32, AwqF32::block> {};
template <>
struct CodedFormat<AwqBf16> : GroupedInt4<AwqBf16, AwqBf16::block> {};
template <class Scale>
struct CodedFormat<Int4By32<Scale>> : GroupedInt4<Int4By32<Scale>, 32> {};
template <class Scale>
struct CodedFormat<Int4By128<Scale>> : GroupedInt4<Int4By128<Scale>, 128> {};

}  // namespace ivl::IVL_CUDA::detail
