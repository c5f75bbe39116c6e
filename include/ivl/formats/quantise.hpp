// Floats as blocks of ggml's types. Deterministic, and no data but the numbers themselves are asked for.
//
// What each quantiser does:
//   q4_0, q5_0, q5_1, q8_0, mxfp4   what ggml's own reference quantiser does, to the bit
//   q4_k, q5_k, q6_k                quantise_k.hpp
//   f32, f16, bf16                  rounding to nearest even
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/ggml_type.hpp"

namespace ivl {

/// Whether `quantise_rows` makes this type.
bool can_quantise(GgmlType type);

/// Rows of whole blocks, one behind the other, in blocks. Throws FileError for a type that is not made, a size that is
/// no whole number of blocks, and numbers that a block cannot hold: what is not finite, or beyond what a scale reaches.
std::vector<std::byte> quantise_rows(GgmlType type, std::span<const float> rows);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/quantise.ipp"
#endif
