// Panels of a format that is known at run time: which ones a matrix becomes, their sizes, and what activations must
// become to meet them.
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/cpu/ggml_panels.hpp"
#include "ivl/cpu/int8_product.hpp"
#include "ivl/cpu/mxfp4_panels.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/cpu/scalar_panels.hpp"
#include "ivl/cpu/scaled_panels.hpp"
#include "ivl/formats/format.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// The format of the panels that a matrix of a file becomes.
constexpr Format panels_for(Format format) {
  return with_format(format, [&](auto tag) { return HasPanels<decltype(tag)> ? format : Format::f32; });
}
/// visitor(tag) of a format that has panels.
template <class Visitor>
constexpr decltype(auto) with_panels(Format format, Visitor&& visitor) {
  assert(panels_for(format) == format);
  return with_format(format, [&](auto tag) -> decltype(auto) {
    return visitor(std::conditional_t<HasPanels<decltype(tag)>, decltype(tag), F32>{});
  });
}
constexpr std::int64_t panel_bytes(Format format, std::int64_t depth) {
  return with_panels(format, [&](auto tag) { return PanelFormat<decltype(tag)>::bytes(depth); });
}
constexpr int panel_unit_of(Format format) {
  return with_panels(format, [](auto tag) { return PanelFormat<decltype(tag)>::unit; });
}
constexpr int panel_group(Format format) {
  return with_panels(format, [](auto tag) { return PanelFormat<decltype(tag)>::group; });
}
/// Bytes that loads may touch behind the last panel.
constexpr std::size_t read_behind(Format format) {
  return with_panels(format, [](auto tag) { return PanelFormat<decltype(tag)>::read_behind; });
}
/// Whether activations meet panels of the format as pairs of bf16, not as floats.
template <class Scalar>
constexpr bool takes_pairs(Format format) {
  return with_panels(format, [](auto tag) { return std::is_same_v<Factor<decltype(tag), Scalar>, bf16>; });
}
/// Whether activations meet panels of the format as codes of 8 bits, where the context wants that.
constexpr bool takes_int8(Format format) {
  return with_panels(format, [](auto tag) { return HasInt8Products<typename Products<decltype(tag)>::Format>; });
}
/// The format of the panels that a matrix of a file becomes where activations are codes of 8 bits: floats become int8
/// with a scale for every int8_block inputs, which panels of this format have room for.
constexpr Format int8_panels_for(Format format) {
  const Format panels = panels_for(format);
  const bool floats = panels == Format::f32 || panels == Format::bf16 || panels == Format::f16;
  return floats ? Format::i8_rows : panels;
}

}  // namespace detail
}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
