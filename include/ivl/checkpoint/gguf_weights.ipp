// The bodies of gguf_weights.hpp.
#pragma once
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include "ivl/checkpoint/gguf_weights.hpp"
#include "ivl/core/error.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/ggml.hpp"

namespace ivl {

namespace detail {

inline TensorView view_of(const GgufTensor& tensor) {
  constexpr std::pair<GgmlType, Dtype> scalars[] = {{GgmlType::f32, Dtype::f32},   {GgmlType::f16, Dtype::f16},
                                                    {GgmlType::bf16, Dtype::bf16}, {GgmlType::i8, Dtype::i8},
                                                    {GgmlType::i16, Dtype::i16},   {GgmlType::i32, Dtype::i32},
                                                    {GgmlType::i64, Dtype::i64},   {GgmlType::f64, Dtype::f64}};
  for (const auto& [type, dtype] : scalars) {
    if (type == tensor.type) return {dtype, tensor.shape, tensor.bytes};
  }
  return {Dtype::blocks, tensor.shape, tensor.bytes, tensor.type};
}

}  // namespace detail

IVL_INLINE GgufWeights::GgufWeights(const GgufFiles& files, Family family)
    : model_(files.model), mmproj_(files.mmproj) {
  add(model_);
  add(mmproj_);
  const std::string architecture(model_.get<std::string_view>("general.architecture"));
  const int layers = model_.get<int>(architecture + ".block_count");
  for (int layer = 0; layer < layers; ++layer) {
    const std::string name = "blk." + std::to_string(layer) + '.';
    if (family == Family::internlm3) {
      undo_turns(name + "attn_q.weight", model_.get<int>(architecture + ".attention.head_count"));
      undo_turns(name + "attn_k.weight", model_.get<int>(architecture + ".attention.head_count_kv"));
    }
    if (family == Family::gpt_oss) join_biases(name);
  }
}

IVL_INLINE void GgufWeights::add(const Gguf& file) {
  for (const std::string_view name : file.names()) {
    const GgufTensor& tensor = *file.find(name);
    if (!views_.emplace(name, detail::view_of(tensor)).second)
      fail<FileError>(file.where(), ": the tensor ", name, " is in the file of the language model too");
  }
}

/// Row s hd / 2 + i of a head of hd rows is row 2i + s of the file.
IVL_INLINE void GgufWeights::undo_turns(const std::string& name, int heads) {
  const auto entry = views_.find(name);
  if (entry == views_.end() || entry->second.shape.rank() != 2) return;  // the binding says so
  TensorView& view = entry->second;
  const std::int64_t rows = view.shape[0];
  if (heads < 1 || rows % (2 * std::int64_t(heads)) != 0)
    fail<FileError>(model_.where(), ": ", name, ": expected rows for ", heads, " heads of two halves, found ", rows);
  const std::int64_t half = rows / heads / 2;
  const std::span<const std::byte> from = view.bytes;
  const std::size_t row_bytes = from.size() / std::size_t(rows);
  add_made(view, from.size(), [=](std::byte* to) {
    for (std::int64_t row = 0; row < rows; ++row, to += row_bytes) {
      const std::int64_t in_head = row % (2 * half);
      const std::int64_t stored = row - in_head + 2 * (in_head % half) + in_head / half;
      std::memcpy(to, from.data() + std::size_t(stored) * row_bytes, row_bytes);
    }
  });
}

IVL_INLINE void GgufWeights::join_biases(const std::string& layer) {
  const auto gate = views_.find(layer + "ffn_gate_exps.bias"), up = views_.find(layer + "ffn_up_exps.bias");
  if (gate == views_.end() || up == views_.end()) return;
  const TensorView g = gate->second, u = up->second;
  const std::optional<ScalarKind> kind = scalar_kind(g.dtype);
  if (!kind || g.dtype != u.dtype || g.shape != u.shape || g.shape.rank() != 2)
    fail<FileError>(model_.where(), ": ", gate->first, ": expected numbers like those of ", up->first, ", found ",
                    type_name(g), ' ', shape_text(g.shape), " and ", type_name(u), ' ', shape_text(u.shape));
  const std::size_t bytes = std::size_t(bits_of(g.dtype) / 8);
  TensorView& joined = views_[layer + "ffn_gate_up_exps.bias"];
  joined = {g.dtype, {g.shape[0], 2 * g.shape[1]}, {}};
  add_made(joined, 2 * g.bytes.size(), [=](std::byte* to) {
    for (std::size_t at = 0; at < g.bytes.size(); at += bytes, to += 2 * bytes) {
      std::memcpy(to, g.bytes.data() + at, bytes);
      std::memcpy(to + bytes, u.bytes.data() + at, bytes);
    }
  });
  views_.erase(gate);
  views_.erase(up);
}

IVL_INLINE std::vector<std::string> GgufWeights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : views_) names.push_back(name);
  return names;
}

IVL_INLINE void GgufWeights::add_made(TensorView& view, std::size_t size, std::function<void(std::byte* to)> make) {
  view.bytes = {static_cast<const std::byte*>(nullptr), size};
  made_.emplace(&view, Made{&view, size, std::move(make)});
}

IVL_INLINE void GgufWeights::prepare(const TensorView& view) const {
  const auto found = made_.find(&view);
  if (found == made_.end()) return;
  Made& made = found->second;
  made.bytes.resize(made.size);
  made.make(made.bytes.data());
  made.view->bytes = made.bytes;
}

IVL_INLINE void GgufWeights::release(const TensorView& view) const {
  if (const auto found = made_.find(&view); found != made_.end()) {
    Made& made = found->second;
    made.view->bytes = {static_cast<const std::byte*>(nullptr), made.size};
    made.bytes = {};
    return;
  }
  model_.release(view.bytes);
  mmproj_.release(view.bytes);
}

}  // namespace ivl
