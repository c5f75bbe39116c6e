// AWQ and compressed-tensors' integers of four bits, as coded.hpp lays them: a scale and a zero point a group.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/formats/coded.hpp"
#include "ivl/formats/awq.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/packed_int4.hpp"

namespace ivl::cuda::detail {

template <class F, int group_size>
struct GroupedInt4 {
  static constexpr CodedLayout layout{.has_zeros = true, .group = group_size, .scale = kind_of<typename F::Scale>};

  static void scales(const BlockCells& cells, std::byte* to) {
    std::memcpy(to, cells.at[1], sizeof(typename F::Scale));
  }
};

template <class F>
struct CodedAwq : GroupedInt4<F, F::block> {
  static void codes(const BlockCells& cells, std::uint8_t* to) {
    for (int k = 0; k < F::block; ++k)
      to[k] = std::uint8_t(F::code(cells.at[0] + k * cells.to_next_input[0], cells.output));
  }
  static std::uint8_t zero(const BlockCells& cells) { return std::uint8_t(F::code(cells.at[2], cells.output)); }
};
template <>
struct CodedFormat<Awq> : CodedAwq<Awq> {};
template <>
struct CodedFormat<AwqF32> : CodedAwq<AwqF32> {};
template <>
struct CodedFormat<AwqBf16> : CodedAwq<AwqBf16> {};

template <class F, int group_size>
struct CodedPackedInt4 : GroupedInt4<F, group_size> {
  static void codes(const BlockCells& cells, std::uint8_t* to) {
    for (int k = 0; k < F::block; k += 2) {
      const auto both = std::to_integer<unsigned>(cells.at[0][k / 2]);
      to[k] = std::uint8_t(both & 15);
      to[k + 1] = std::uint8_t(both >> 4);
    }
  }
  static std::uint8_t zero(const BlockCells& cells) {
    std::uint32_t zeros;
    std::memcpy(&zeros, cells.at[2], sizeof zeros);
    return std::uint8_t(zeros >> 4 * cells.output & 15);
  }
};
template <class Scale>
struct CodedFormat<Int4By32<Scale>> : CodedPackedInt4<Int4By32<Scale>, 32> {};
template <class Scale>
struct CodedFormat<Int4By128<Scale>> : CodedPackedInt4<Int4By128<Scale>, 128> {};

}  // namespace ivl::cuda::detail
