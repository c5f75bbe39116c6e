// The tensor types of GGUF files as formats, and rows of them as floats.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/ggml_type.hpp"
#include "ivl/formats/format.hpp"

namespace ivl {

/// Throws FileError for a type whose size alone this library knows.
Format format_of(GgmlType type);

/// Rows of whole blocks as floats, exactly: to [out][in]. Throws FileError where `rows` has another size, and for types
/// that have no format.
void dequantise_rows(GgmlType type, std::span<const std::byte> rows, std::int64_t out, std::int64_t in, float* to);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/ggml.ipp"
#endif
