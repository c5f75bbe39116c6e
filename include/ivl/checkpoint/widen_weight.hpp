// Weights that are stored in another way, as bf16 tensors of a published folder. convert.ipp alone includes this, so
// its bodies stay here.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/checkpoint/weight_parts.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl::detail {

/// The numbers of a matrix in bf16, row after row.
inline void write_rows_in_bf16(const SourceMatrix& matrix, const ByteSink& write) {
  constexpr std::size_t numbers_at_once = 1 << 19;
  std::vector<float> row(std::size_t(matrix.in));
  std::vector<bf16> numbers;
  for (std::int64_t o = 0; o < matrix.out; ++o) {
    dequantise_row(matrix, o, row.data());
    for (const float number : row) numbers.push_back(round_to<bf16>(number));
    if (numbers.size() < numbers_at_once && o + 1 < matrix.out) continue;
    write(std::as_bytes(std::span(numbers)));
    numbers.clear();
  }
}

/// The same of matrices of one size as [in, out], whose outputs take turns.
inline void write_columns_in_bf16(std::span<const SourceMatrix> parts, const ByteSink& write) {
  const std::int64_t in = parts[0].in, out = parts[0].out, width = out * std::int64_t(parts.size());
  std::vector<float> row;
  row.resize(std::size_t(in));
  std::vector<bf16> numbers(std::size_t(width * in));
  for (std::size_t part = 0; part < parts.size(); ++part) {
    for (std::int64_t o = 0; o < out; ++o) {
      dequantise_row(parts[part], o, row.data());
      const std::int64_t column = o * std::int64_t(parts.size()) + std::int64_t(part);
      for (std::int64_t k = 0; k < in; ++k)
        numbers[std::size_t(k * width + column)] = round_to<bf16>(row[std::size_t(k)]);
    }
  }
  write(std::as_bytes(std::span(numbers)));
}

/// Writes tensors of one weight. The closures that it makes share it.
class WidenedWeight {
 public:
  /// `where` starts errors.
  WidenedWeight(BoundWeight weight, std::size_t parts, const TensorSource& source, std::string where)
      : weight_(std::move(weight)), source_(source), where_(std::move(where)), parts_(parts) {}

  std::size_t parts() const { return parts_; }
  int layer() const { return weight_.slot.layer; }
  int experts() const { return weight_.slot.experts; }

  /// Of part `part`, as GGUF has it; the matrices of all experts one behind the other.
  Shape shape(std::size_t part) const { return shape_of_part(weight_, matrices_of_part(weight_, part, parts_)); }

  /// Calls body() where the tensors' bytes can be read.
  template <class Body>
  void with_bytes(const Body& body) const {
    each_view([this](const TensorView& view) { source_.prepare(view); });
    body();
    each_view([this](const TensorView& view) { source_.release(view); });
  }

  /// The matrices of one part, one for each expert. Within with_bytes. Throws FileError for what is no number.
  std::vector<SourceMatrix> matrices(std::size_t part) const {
    std::vector<SourceMatrix> matrices = matrices_of_part(weight_, part, parts_);
    for (const SourceMatrix& matrix : matrices) {
      if (const auto found = find_not_a_number(matrix))
        fail<FileError>(where_, ": ", fault_of(weight_), ": ", found->reason);
    }
    return matrices;
  }

 private:
  template <class Visit>
  void each_view(const Visit& visit) const {
    for (const BoundPiece& piece : weight_.pieces) {
      for (const BoundTensor& plane : piece.planes) visit(*plane.found);
    }
  }

  BoundWeight weight_;
  TensorSource source_;
  std::string where_;
  std::size_t parts_;
};

/// Folders have the tower's two tables behind dimensions of 1.
inline Shape folder_shape(const Shape& shape, const PartName& row) {
  const bool table = row.where.canonical == names::vit.canonical && row.naming == Naming::bare;
  Shape result;
  for (int rank = shape.rank(); table && rank < 3; ++rank) result.push_back(1);
  for (const std::int64_t size : shape) result.push_back(size);
  return result;
}

/// [experts, in, outputs of all parts in turn].
inline TensorToWrite transposed_tensor(std::string name, const std::shared_ptr<const WidenedWeight>& weight) {
  const Shape one = weight->shape(0);  // [experts, out, in]
  return {std::move(name),
          Dtype::bf16,
          {one[0], one[2], one[1] * std::int64_t(weight->parts())},
          [weight](const ByteSink& write) {
            weight->with_bytes([&] {
              std::vector<std::vector<SourceMatrix>> parts;
              for (std::size_t part = 0; part < weight->parts(); ++part) parts.push_back(weight->matrices(part));
              for (std::size_t expert = 0; expert < parts[0].size(); ++expert) {
                std::vector<SourceMatrix> in_turn;
                for (const auto& matrices : parts) in_turn.push_back(matrices[expert]);
                write_columns_in_bf16(in_turn, write);
              }
            });
          }};
}

/// Parts [first, first + count) one below the other; `expert` >= 0: of that one alone.
inline TensorToWrite stacked_tensor(std::string name, const PartName& row,
                                    const std::shared_ptr<const WidenedWeight>& weight, std::size_t first,
                                    std::size_t count, int expert) {
  Shape shape = weight->shape(first);
  if (expert >= 0) shape = {shape[1], shape[2]};
  std::int64_t height = 0;
  for (std::size_t part = first; part < first + count; ++part) height += weight->shape(part)[expert >= 0 ? 1 : 0];
  Shape stacked{height};
  for (int d = 1; d < shape.rank(); ++d) stacked.push_back(shape[d]);
  return {std::move(name), Dtype::bf16, folder_shape(stacked, row), [=](const ByteSink& write) {
            weight->with_bytes([&] {
              for (std::size_t part = first; part < first + count; ++part) {
                const std::vector<SourceMatrix> matrices = weight->matrices(part);
                for (std::size_t e = 0; e < matrices.size(); ++e) {
                  if (expert < 0 || e == std::size_t(expert)) write_rows_in_bf16(matrices[e], write);
                }
              }
            });
          }};
}

/// The tensors of one weight as a format has them, in bf16.
inline void widen_weight(const BoundWeight& bound, Family family, Dialect target, const TensorSource& source,
                         const std::string& where, std::vector<TensorToWrite>& to) {
  const WeightName name = find_weight(bound.slot.canonical, family, target);
  const PartName& whole = *name.part;
  // GPT-OSS's biases of gate and up lie in pairs already (gguf_weights.hpp).
  const bool in_pairs = name.bias && whole.transform == Transform::transposed_interleaved;
  const int parts = in_pairs ? 1 : std::max(1, number_of_parts(*bound.name.part));
  const auto weight = std::make_shared<const WidenedWeight>(bound, std::size_t(parts), source, where);
  const auto named = [&](const PartName& row, int expert) {
    const Naming naming = row.naming;
    const char* suffix = naming == Naming::module                   ? (name.bias ? ".bias" : ".weight")
                         : naming == Naming::parameter && name.bias ? "_bias"
                                                                    : "";
    return with_numbers(name_pattern(row, target), weight->layer(), expert) + suffix;
  };
  if (!whole.files.in(target).empty() && whole.transform != Transform::as_is && !name.bias) {
    to.push_back(transposed_tensor(named(whole, 0), weight));
    return;
  }
  const bool in_one = !whole.files.in(target).empty();
  for (std::size_t part = 0; part < (in_one ? 1 : weight->parts()); ++part) {
    const PartName& row = in_one ? whole : *find_part(whole, part, family, target);
    const std::size_t count = in_one ? weight->parts() : 1;
    if (name_pattern(row, target).find('*') == std::string::npos) {
      to.push_back(stacked_tensor(named(row, 0), row, weight, part, count, -1));
      continue;
    }
    for (int expert = 0; expert < weight->experts(); ++expert)
      to.push_back(stacked_tensor(named(row, expert), row, weight, part, count, expert));
  }
}

}  // namespace ivl::detail
