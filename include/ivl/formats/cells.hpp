// How a weight format lies in a file: planes (data, scales, zero points) of cells, each cell a few bytes for some
// outputs and inputs of a matrix [out, in].
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ivl/core/scalar.hpp"

namespace ivl {

/// Data, scales, zero points: no format has more.
inline constexpr int most_planes = 3;

/// Outputs or inputs of a cell that belongs to a whole line, however long.
inline constexpr int whole_line = 1 << 30;

/// A cell of one plane holds `outs` x `ins` elements (or what belongs to them: their scale) in `bytes`.
struct Cell {
  const char* name;  ///< of its plane, in errors
  int outs, ins, bytes;
  bool loose = false;  ///< the last cell of a line may belong to fewer elements, and one cell may stand for all
};

/// The name of a format by the scalar of its scales.
template <class Scale>
constexpr std::string_view scaled_name(std::string_view with_f32, std::string_view with_bf16,
                                       std::string_view with_f16) {
  constexpr ScalarKind kind = kind_of<Scale>;
  return kind == ScalarKind::f32 ? with_f32 : kind == ScalarKind::bf16 ? with_bf16 : with_f16;
}

/// A byte that no cell of a plane may hold.
struct Refused {
  std::size_t plane;
  std::byte value;
  const char* reason;
};

/// One block of one row, as a format's `dequantise` reads it.
struct BlockCells {
  std::array<const std::byte*, most_planes> at{};         ///< of each plane, the first cell that the block touches
  std::array<std::int64_t, most_planes> to_next_input{};  ///< bytes from it to the next cell along the row
  int output = 0;                                         ///< which output of a cell that holds several
};

}  // namespace ivl
