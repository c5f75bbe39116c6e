// The tensors of a checkpoint folder as the other published layout has them, bit for bit. Bodies alone include this
// (convert.ipp, write_gguf.ipp), so its own stay here.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/extra_tensors.hpp"
#include "ivl/checkpoint/load_options.hpp"
#include "ivl/checkpoint/name_reader.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/slots.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/files/safetensors_writer.hpp"

namespace ivl::detail {

// ---- names -------------------------------------------------------------------------------------------------------
/// The weight that a part belongs to where files of the dialect store it in parts, as GGUF's always may; else the part
/// itself.
inline const PartName& weight_of(const PartName& part, Family family, Dialect dialect) {
  for (const PartName& row : names::table) {
    if (row.is_for(family, dialect) && row.where.canonical == part.where.canonical &&
        (row.files.in(dialect).empty() || dialect == Dialect::gguf) &&
        std::ranges::find(row.parts, part.part) != row.parts.end())
      return row;
  }
  return part;
}

/// The weights that a source has something of, whatever its structure: they are renamed, not placed.
inline std::vector<WeightSlot> slots_in(const TensorSource& source, const ModelFacts& facts, Dialect dialect,
                                        const std::string& folder, bool ignore_extra) {
  const NameReader reader(dialect, facts.family);
  std::map<std::pair<std::string, int>, WeightSlot> slots;
  for (const std::string& name : source.names()) {
    if (is_harmless_extra(name)) continue;
    const auto found = reader.read(name);
    if (!found && ignore_extra) continue;
    if (!found)
      fail<FileError>(folder, ": cannot convert the tensor ", name, ": no weight of these models has this name");
    const PartName& row = weight_of(*found->row, facts.family, dialect);
    const std::string canonical = canonical_name({&row, found->bias});
    WeightSlot& slot = slots[{canonical, found->numbers.layer}];
    slot.canonical = canonical;
    slot.layer = found->numbers.layer;
    slot.any_shape = true;
    slot.heights.assign(std::size_t(std::max(1, number_of_parts(row))), 0);
    slot.experts = std::max(slot.experts, found->numbers.expert + 1);
  }
  std::vector<WeightSlot> list;
  for (auto& [key, slot] : slots) list.push_back(std::move(slot));
  return list;
}

// ---- tensors -----------------------------------------------------------------------------------------------------
/// Some bytes of a tensor, whose own may be made only when they are read.
struct TensorPart {
  const TensorView* view = nullptr;
  std::size_t first = 0, size = 0;

  explicit TensorPart(const TensorView& whole) : view(&whole), size(whole.bytes.size()) {}
  TensorPart(const TensorView& of, std::size_t from, std::size_t number) : view(&of), first(from), size(number) {}
};

/// One tensor to be written: `parts` one below the other.
inline TensorToWrite tensor_of(std::string name, Dtype dtype, const Shape& shape, std::vector<TensorPart> parts,
                               const TensorSource& source) {
  return {std::move(name), dtype, shape, [parts = std::move(parts), source](const ByteSink& write) {
            for (const TensorPart& part : parts) {
              source.prepare(*part.view);
              write(part.view->bytes.subspan(part.first, part.size));
              source.release(*part.view);
            }
          }};
}

/// `height` rows of a tensor from `first` on, under another name.
inline TensorToWrite some_rows(const TensorView& view, std::string name, std::int64_t first, std::int64_t height,
                               const TensorSource& source) {
  Shape shape{height};
  for (int d = 1; d < view.shape.rank(); ++d) shape.push_back(view.shape[d]);
  const std::size_t row_bytes = view.shape[0] > 0 ? view.bytes.size() / std::size_t(view.shape[0]) : 0;
  return tensor_of(std::move(name), view.dtype, shape,
                   {TensorPart(view, std::size_t(first) * row_bytes, std::size_t(height) * row_bytes)}, source);
}

/// Parts of one height, one below the other. Throws FileError where they do not go together.
inline TensorToWrite joined_tensor(std::span<const BoundPiece> pieces, std::string name, const TensorSource& source) {
  const BoundTensor& first = pieces[0].planes[0];
  std::vector<TensorPart> parts;
  for (const BoundPiece& piece : pieces) {
    const BoundTensor& part = piece.planes[0];
    const TensorView& view = *part.found;
    if (view.shape.rank() == 0 || view.shape != first.found->shape || view.dtype != first.found->dtype)
      fail<FileError>("tensor ", part.name, ": expected ", name_of(first.found->dtype), ' ',
                      shape_text(first.found->shape), " like ", first.name, ", found ", name_of(view.dtype), ' ',
                      shape_text(view.shape));
    parts.emplace_back(view);
  }
  const Shape& one = first.found->shape;
  Shape whole{std::int64_t(pieces.size()) * one[0]};
  for (int d = 1; d < one.rank(); ++d) whole.push_back(one[d]);
  return tensor_of(std::move(name), first.found->dtype, whole, std::move(parts), source);
}

/// The tensors of one weight as the other format has them, bit for bit.
inline void rename_weight(const BoundWeight& weight, Family family, Dialect target, const TensorSource& source,
                          std::vector<TensorToWrite>& to) {
  const PartName& whole = *weight.name.part;
  const auto renamed = [&](const PartName& row, int expert, std::string_view suffix) {
    return with_numbers(name_pattern(row, target), weight.slot.layer, std::max(0, expert)) + std::string(suffix);
  };
  const bool is_whole = weight.pieces[0].row == &whole, becomes_whole = !whole.files.in(target).empty();
  if (is_whole == becomes_whole) {
    for (const BoundPiece& piece : weight.pieces) {
      for (std::size_t plane = 0; plane < piece.planes.size(); ++plane) {
        const TensorView& view = *piece.planes[plane].found;
        to.push_back(tensor_of(renamed(*piece.row, piece.expert, piece.form.suffixes[plane]), view.dtype, view.shape,
                               {TensorPart(view)}, source));
      }
    }
    return;
  }
  // The tower's q, k and v, of one height.
  const StoredForm& form = weight.pieces[0].form;
  if (becomes_whole) {
    to.push_back(joined_tensor(weight.pieces, renamed(whole, -1, form.suffixes[0]), source));
    return;
  }
  const BoundTensor& tensor = weight.pieces[0].planes[0];
  const int parts = number_of_parts(whole);
  const Shape& shape = tensor.found->shape;
  if (shape.rank() == 0 || shape[0] % parts != 0)
    fail<FileError>("tensor ", tensor.name, ": expected ", parts, " parts of one height, found ", shape_text(shape));
  const std::int64_t height = shape[0] / parts;
  for (int part = 0; part < parts; ++part)
    to.push_back(some_rows(*tensor.found,
                           renamed(*find_part(whole, std::size_t(part), family, target), -1, form.suffixes[0]),
                           part * height, height, source));
}

/// Whether the tensors of a folder go on as they are: scalars, and MXFP4, which both formats have.
inline bool keeps_bits(const BoundWeight& weight) {
  return std::ranges::all_of(weight.pieces, [](const BoundPiece& piece) {
    return piece.form.as == StoredAs::scalars || piece.form.as == StoredAs::mxfp4;
  });
}

}  // namespace ivl::detail
