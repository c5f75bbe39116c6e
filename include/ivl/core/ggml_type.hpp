// Tensor types of GGUF files, by ggml's numbers: what the file's reader needs to know of one, which is how many bytes
// some elements take. What the bytes mean is formats/ggml.hpp's.
//
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace ivl {

enum class GgmlType : std::uint8_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q8_1 = 9,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  q8_k = 15,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  q1_0 = 41,
  q2_0 = 42,
};

namespace detail {

/// A row is whole blocks of `elements`, each of `bytes`. A number that ggml has given up has no name.
struct GgmlTypeRow {
  std::string_view name;
  int elements = 0, bytes = 0;
};

/// By ggml's number.
inline constexpr std::array<GgmlTypeRow, 43> ggml_type_rows = {{
    {"f32", 1, 4},
    {"f16", 1, 2},
    {"q4_0", 32, 18},
    {"q4_1", 32, 20},
    {},
    {},
    {"q5_0", 32, 22},
    {"q5_1", 32, 24},
    {"q8_0", 32, 34},
    {"q8_1", 32, 36},
    {"q2_k", 256, 84},
    {"q3_k", 256, 110},
    {"q4_k", 256, 144},
    {"q5_k", 256, 176},
    {"q6_k", 256, 210},
    {"q8_k", 256, 292},
    {"iq2_xxs", 256, 66},
    {"iq2_xs", 256, 74},
    {"iq3_xxs", 256, 98},
    {"iq1_s", 256, 50},
    {"iq4_nl", 32, 18},
    {"iq3_s", 256, 110},
    {"iq2_s", 256, 82},
    {"iq4_xs", 256, 136},
    {"i8", 1, 1},
    {"i16", 1, 2},
    {"i32", 1, 4},
    {"i64", 1, 8},
    {"f64", 1, 8},
    {"iq1_m", 256, 56},
    {"bf16", 1, 2},
    {},
    {},
    {},
    {"tq1_0", 256, 54},
    {"tq2_0", 256, 66},
    {},
    {},
    {},
    {"mxfp4", 32, 17},
    {"nvfp4", 64, 36},
    {"q1_0", 128, 18},
    {"q2_0", 64, 18},
}};

constexpr const GgmlTypeRow& row_of(GgmlType type) { return ggml_type_rows[std::size_t(type)]; }

}  // namespace detail

constexpr std::string_view name_of(GgmlType type) { return detail::row_of(type).name; }
constexpr int block_elements(GgmlType type) { return detail::row_of(type).elements; }
constexpr int block_bytes(GgmlType type) { return detail::row_of(type).bytes; }

/// The type with this number in a file.
constexpr std::optional<GgmlType> find_ggml_type(std::uint32_t number) {
  if (number >= detail::ggml_type_rows.size() || detail::ggml_type_rows[number].name.empty()) return std::nullopt;
  return GgmlType(number);
}

/// Bytes of `elements`, which are whole blocks; none where they exceed 63 bits.
constexpr std::optional<std::int64_t> bytes_of(GgmlType type, std::int64_t elements) {
  const std::int64_t blocks = elements / block_elements(type);
  if (blocks > std::numeric_limits<std::int64_t>::max() / block_bytes(type)) return std::nullopt;
  return blocks * block_bytes(type);
}

}  // namespace ivl
