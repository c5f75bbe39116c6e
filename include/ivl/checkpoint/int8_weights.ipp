// The bodies of int8_weights.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "ivl/checkpoint/int8_weights.hpp"
#include "ivl/checkpoint/name_reader.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl {

namespace detail {

/// Whether the reference holds the weight of this part, where it is a matrix, in an nn.Linear that bitsandbytes takes.
inline bool is_linear(const PartName& row) {
  const std::string_view where = row.where.canonical, part = row.part;
  const bool mixture = part == "router" || part.starts_with("experts.");
  const bool table = where == names::vit.canonical || where == names::language.canonical;  // and the head
  return row.naming == Naming::module && !mixture && !table;
}

IVL_INLINE float quantise_int8_row(const float* row, std::int64_t in, std::int8_t* codes) {
  float scale = 0;
  for (std::int64_t k = 0; k < in; ++k) {
    const float size = std::abs(to_float(round_to<half>(row[k])));
    if (!std::isfinite(size)) return std::numeric_limits<float>::infinity();
    scale = std::max(scale, size);
  }
  const float factor = scale > 0 ? 1.0f / scale * 127.0f : 0;  // as torch divides a number by a tensor
  for (std::int64_t k = 0; k < in; ++k)
    codes[k] = std::int8_t(std::nearbyint(to_float(round_to<half>(row[k])) * factor));
  return scale;
}

}  // namespace detail

IVL_INLINE Int8Weights::Int8Weights(const TensorSource& base, const ModelFacts& facts, const std::string& where)
    : base_(base), where_(where) {
  const detail::NameReader reader(dialect_of(facts.format), facts.family);
  for (const std::string& name : base_.names()) {
    const TensorView* view = base_.find(name);
    const auto found = reader.read(name);
    const bool linear = found && !found->bias && detail::is_linear(*found->row);
    if (linear && !name.ends_with(".weight"))
      fail<ConfigError>(where, ": ", name,
                        ": expected weights in F32, BF16 or F16 to load as int8, found quantised ones");
    if (!linear || view->shape.rank() != 2) {
      views_.emplace(name, view);
      continue;
    }
    if (!scalar_kind(view->dtype))
      fail<ConfigError>(where, ": ", name, ": expected F32, BF16 or F16 to load as int8, found ", name_of(view->dtype));
    auto& made = *quantised_.emplace_back(std::make_unique<Quantised>());
    made.name = name;
    made.base = view;
    made.codes = {
        Dtype::i8, view->shape, {static_cast<const std::byte*>(nullptr), std::size_t(*elements_of(view->shape))}};
    made.scales = {
        Dtype::f32, {view->shape[0]}, {static_cast<const std::byte*>(nullptr), std::size_t(4 * view->shape[0])}};
    views_.emplace(name, &made.codes);
    views_.emplace(name.substr(0, name.size() - std::string_view("weight").size()) + "SCB", &made.scales);
    by_view_[&made.codes] = by_view_[&made.scales] = &made;
  }
}

IVL_INLINE std::vector<std::string> Int8Weights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : views_) names.push_back(name);
  return names;
}

IVL_INLINE const TensorView* Int8Weights::find(const std::string& name) const {
  const auto entry = views_.find(name);
  return entry == views_.end() ? nullptr : entry->second;
}

IVL_INLINE void Int8Weights::prepare(const TensorView& view) const {
  const auto found = by_view_.find(&view);
  if (found == by_view_.end()) return base_.prepare(view);
  Quantised& made = *found->second;
  if (!made.code_bytes.empty()) return;
  const std::int64_t out = view.shape[0], in = made.codes.shape[1];
  base_.prepare(*made.base);
  const SourceMatrix matrix = source_matrix(*made.base);
  made.code_bytes.resize(std::size_t(out * in));
  made.scale_bytes.resize(std::size_t(4 * out));
  std::vector<float> row;
  row.resize(std::size_t(in));
  std::vector<std::int8_t> codes(row.size());
  for (std::int64_t o = 0; o < out; ++o) {
    dequantise_row(matrix, o, row.data());
    const float scale = detail::quantise_int8_row(row.data(), in, codes.data());
    if (!std::isfinite(scale))
      fail<FileError>(where_, ": ", made.name, ": expected numbers of F16 to load as int8, found in row ", o,
                      " one that is none or beyond 65504");
    std::memcpy(made.code_bytes.data() + o * in, codes.data(), codes.size());
    std::memcpy(made.scale_bytes.data() + 4 * o, &scale, sizeof scale);
  }
  base_.release(*made.base);
  made.codes.bytes = made.code_bytes;
  made.scales.bytes = made.scale_bytes;
}

IVL_INLINE void Int8Weights::release(const TensorView& view) const {
  const auto found = by_view_.find(&view);
  if (found == by_view_.end()) return base_.release(view);
  Quantised& made = *found->second;
  made.code_bytes = {};
  made.scale_bytes = {};
  made.codes.bytes = {static_cast<const std::byte*>(nullptr), made.codes.bytes.size()};
  made.scales.bytes = {static_cast<const std::byte*>(nullptr), made.scales.bytes.size()};
}

}  // namespace ivl
