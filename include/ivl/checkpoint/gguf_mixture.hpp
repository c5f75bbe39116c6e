// Which type each tensor of a GGUF file gets: the mixtures in which files are published, as llama.cpp's quantiser makes
// them.
#pragma once
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

#include "ivl/core/ggml_type.hpp"

namespace ivl {

enum class GgufMixture : std::uint8_t { f16, bf16, q8_0, q4_0, q4_k_m, q5_k_m, q6_k, mxfp4 };

namespace detail {

struct MixtureRow {
  std::string_view name;
  GgmlType matrices;        ///< of the language model, where no rule says otherwise
  GgmlType head;            ///< `output`, and an embedding that is the head too
  std::uint32_t file_type;  ///< general.file_type
};

/// In the order of GgufMixture.
inline constexpr MixtureRow mixture_rows[] = {
    {"f16", GgmlType::f16, GgmlType::f16, 1},       {"bf16", GgmlType::bf16, GgmlType::bf16, 32},
    {"q8_0", GgmlType::q8_0, GgmlType::q8_0, 7},    {"q4_0", GgmlType::q4_0, GgmlType::q6_k, 2},
    {"q4_k_m", GgmlType::q4_k, GgmlType::q6_k, 15}, {"q5_k_m", GgmlType::q5_k, GgmlType::q6_k, 17},
    {"q6_k", GgmlType::q6_k, GgmlType::q6_k, 18},   {"mxfp4", GgmlType::q8_0, GgmlType::q8_0, 38},
};
static_assert(std::size(mixture_rows) == std::size_t(GgufMixture::mxfp4) + 1);

constexpr const MixtureRow& row_of(GgufMixture mixture) { return mixture_rows[std::size_t(mixture)]; }

/// The layers whose values and down projections get more bits: the first and the last eighth, and every third between.
constexpr bool has_more_bits(int layer, int layers) {
  const int eighth = layers / 8;
  return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
}

/// What takes the place of a type whose blocks do not fill rows of `in`.
constexpr GgmlType type_for_rows(GgmlType type, std::int64_t in) {
  if (in % block_elements(type) == 0) return type;
  GgmlType smaller = type == GgmlType::q4_k   ? GgmlType::q5_0
                     : type == GgmlType::q5_k ? GgmlType::q5_1
                     : type == GgmlType::q6_k ? GgmlType::q8_0
                                              : GgmlType::f16;
  return in % block_elements(smaller) == 0 ? smaller : GgmlType::f16;
}

}  // namespace detail

constexpr std::string_view name_of(GgufMixture mixture) { return detail::row_of(mixture).name; }

constexpr std::optional<GgufMixture> find_mixture(std::string_view name) {
  for (std::size_t i = 0; i < std::size(detail::mixture_rows); ++i) {
    if (detail::mixture_rows[i].name == name) return GgufMixture(i);
  }
  return std::nullopt;
}

/// The facts about a matrix that the rules look at.
struct MixtureMatrix {
  std::string_view name;  ///< in the file
  int layer = -1, layers = 0;
  std::int64_t in = 0;     ///< columns
  bool experts = false;    ///< of all experts
  bool tied_head = false;  ///< the file has no `output`
  bool vision = false;     ///< of the mmproj
};

/// A tower and its projector are published in eight bits at least, so they never get fewer.
constexpr GgmlType type_in(GgufMixture mixture, const MixtureMatrix& matrix) {
  const detail::MixtureRow& row = detail::row_of(mixture);
  const auto holds = [&](std::string_view part) { return matrix.name.find(part) != matrix.name.npos; };
  GgmlType type = row.matrices;
  if (matrix.vision) {
    type = mixture == GgufMixture::f16 || mixture == GgufMixture::bf16 ? row.matrices : GgmlType::q8_0;
  } else if (matrix.name == "output.weight" || (matrix.name == "token_embd.weight" && matrix.tied_head)) {
    type = row.head;
  } else if (mixture == GgufMixture::mxfp4 && matrix.experts) {
    type = GgmlType::mxfp4;
  } else if (mixture == GgufMixture::q4_k_m || mixture == GgufMixture::q5_k_m) {
    const bool value = holds(".attn_v."), down = holds(".ffn_down");
    if ((value || down) && detail::has_more_bits(matrix.layer, matrix.layers))
      type = GgmlType::q6_k;
    else if (value && matrix.layers == 80 && type == GgmlType::q4_k)
      type = GgmlType::q5_k;  // many heads share these values
  }
  return detail::type_for_rows(type, matrix.in);
}

}  // namespace ivl
