// The bodies of bind.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/extra_tensors.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

IVL_INLINE std::int64_t Binding::bytes() const {
  std::int64_t bytes = 0;
  each_tensor(*this, [&](const BoundTensor& tensor) {
    if (tensor.found != nullptr) bytes += std::int64_t(tensor.found->bytes.size());
  });
  return bytes;
}

// ---- finding tensors ---------------------------------------------------------------------------------------------
namespace detail {

/// Inputs that share a scale in the published AWQ files, and sides of FP8's blocks.
inline constexpr int awq_group = 128, f8_block = 128;

/// The tensors of one piece in one form.
inline std::vector<BoundTensor> planes_of(const WeightSlot& slot, const BoundPiece& piece, Dialect dialect,
                                          const TensorSource& source) {
  const std::string stem = with_numbers(name_pattern(*piece.row, dialect), slot.layer, std::max(0, piece.expert));
  const std::int64_t out = piece.height, in = slot.in;
  const auto plane = [&](int number, TensorKind kind, std::initializer_list<std::int64_t> sizes) {
    Shape shape;
    if (slot.experts > 0 && piece.expert < 0) shape.push_back(slot.experts);
    for (const std::int64_t size : sizes) shape.push_back(size);
    return BoundTensor{stem + std::string(piece.form.suffixes[std::size_t(number)]), shape, kind};
  };
  switch (piece.form.as) {
    case StoredAs::scalars: {
      BoundTensor tensor = slot.in == 0         ? plane(0, TensorKind::scalar, {out})
                           : piece.transposed() ? plane(0, TensorKind::scalar, {in, out})
                                                : plane(0, TensorKind::scalar, {out, in});
      if (slot.shape) tensor.shape = *slot.shape;
      if (dialect == Dialect::gguf) tensor.shape = without_leading_ones(tensor.shape);
      return {std::move(tensor)};
    }
    case StoredAs::mxfp4:
      return {plane(0, TensorKind::bytes, {out, in / 32, 16}), plane(1, TensorKind::bytes, {out, in / 32})};
    case StoredAs::awq:
      return {plane(0, TensorKind::words, {in, out / 8}), plane(1, TensorKind::scalar, {in / awq_group, out}),
              plane(2, TensorKind::words, {in / awq_group, out / 8})};
    case StoredAs::f8_blocks:
      return {plane(0, TensorKind::f8, {out, in}),
              plane(1, TensorKind::scalar, {cells_of(out, f8_block), cells_of(in, f8_block)})};
    case StoredAs::scaled: {
      BoundTensor codes = plane(0, TensorKind::f8_or_i8, {out, in}), scales = plane(1, TensorKind::scalar, {out, 1});
      const TensorView* found = source.find(scales.name);
      const Shape blocks{cells_of(out, f8_block), cells_of(in, f8_block)};
      if (found != nullptr && found->shape.rank() < 2 && elements_of(found->shape) == 1) scales.shape = found->shape;
      if (found != nullptr && found->shape == blocks && blocks != scales.shape) {
        scales.shape = blocks;
        codes.kind = TensorKind::f8;
      }
      return {std::move(codes), std::move(scales)};
    }
    case StoredAs::int4:
    case StoredAs::int4_zeros: {
      const int group = int4_group(in, source.find(stem + std::string(piece.form.suffixes[1])));
      std::vector<BoundTensor> planes{plane(0, TensorKind::words, {out, cells_of(in, 8)}),
                                      plane(1, TensorKind::scalar, {out, cells_of(in, group)})};
      if (piece.form.as == StoredAs::int4_zeros)
        planes.push_back(plane(2, TensorKind::words, {cells_of(out, 8), cells_of(in, group)}));
      return planes;
    }
    case StoredAs::llm_int8:
    case StoredAs::llm_int8_rows: {
      std::vector<BoundTensor> planes{plane(0, TensorKind::i8, {out, in}), plane(1, TensorKind::single_float, {out})};
      if (piece.form.as == StoredAs::llm_int8_rows) planes.push_back(plane(2, TensorKind::zero, {}));
      return planes;
    }
  }
  return {};
}

/// The pieces of a weight under one dialect's names, as the whole or part by part; none where it has no such names.
class PieceFinder {
 public:
  PieceFinder(const WeightSlot& slot, const WeightName& name, const ModelFacts& facts, const TensorSource& source,
              StoredAs expected)
      : slot_(slot), name_(name), facts_(facts), source_(source), expected_(expected) {}

  std::vector<BoundPiece> whole(Dialect dialect) const {
    const PartName& row = *name_.part;
    // Rows in turn cannot be told from one whole of scalars: where files do not say how they lie, gate and up are two.
    const bool has_name = (slot_.fusion == Fusion::stacked || row.transform != Transform::as_is) &&
                          (dialect == Dialect::canonical || !row.files.in(dialect).empty());
    if (!has_name) return {};
    std::int64_t height = 0;
    for (const int part : slot_.heights) height += rows_of(part);
    std::vector<BoundPiece> pieces;
    each_expert(row, dialect, [&](int expert) { pieces.push_back(piece(row, dialect, expert, height)); });
    return pieces;
  }

  std::vector<BoundPiece> parts(Dialect dialect) const {
    std::vector<BoundPiece> pieces;
    const auto number = std::size_t(number_of_parts(*name_.part));
    if (number != slot_.heights.size() || number == 0) return {};
    const auto part_of = [&](std::size_t part) { return find_part(*name_.part, part, facts_.family, dialect); };
    const PartName* first = part_of(0);
    if (first == nullptr || (dialect != Dialect::canonical && first->files.in(dialect).empty())) return {};
    each_expert(*first, dialect, [&](int expert) {
      for (std::size_t part = 0; part < number; ++part)
        pieces.push_back(piece(*part_of(part), dialect, expert, rows_of(slot_.heights[part])));
    });
    return pieces;
  }

  static bool any_found(const std::vector<BoundPiece>& pieces) {
    return std::ranges::any_of(pieces, [](const BoundPiece& piece) {
      return std::ranges::any_of(piece.planes, [](const BoundTensor& tensor) { return tensor.found != nullptr; });
    });
  }

 private:
  std::int64_t rows_of(int height) const { return height == dynamic ? facts_.vocab_rows : height; }

  template <class Visit>
  void each_expert(const PartName& row, Dialect dialect, const Visit& visit) const {
    const bool separate = name_pattern(row, dialect).find('*') != std::string::npos;
    if (!separate) return visit(-1);
    for (int expert = 0; expert < slot_.experts; ++expert) visit(expert);
  }

  /// The first form that the source has parts of; else the expected one.
  BoundPiece piece(const PartName& row, Dialect dialect, int expert, std::int64_t height) const {
    BoundPiece expected;
    for (const StoredForm& form : forms(row.naming, dialect)) {
      BoundPiece piece{&row, form, expert, height, {}};
      piece.planes = planes_of(slot_, piece, dialect, source_);
      unsigned found = 0;
      for (std::size_t number = 0; number < piece.planes.size(); ++number) {
        BoundTensor& tensor = piece.planes[number];
        tensor.found = source_.find(tensor.name);
        if (tensor.found == nullptr) continue;
        if (slot_.any_shape) tensor.shape = tensor.found->shape;
        found |= 1u << number;
      }
      if (found != 0 && (found & form.marks) == form.marks) return piece;
      if (expected.row == nullptr || expected.form.as != expected_) expected = std::move(piece);
    }
    return expected;
  }

  std::vector<StoredForm> forms(Naming naming, Dialect dialect) const {
    if (dialect == Dialect::canonical)
      return {{StoredAs::scalars, naming, 1, {naming == Naming::bare ? "" : name_.bias ? ".bias" : ".weight"}}};
    if (name_.bias) return {form_of_bias(naming)};
    std::vector<StoredForm> forms;
    // GGUF's blocks are one tensor, as scalars are.
    const bool scalars_alone =
        slot_.vector != nullptr || slot_.table != nullptr || slot_.shape.has_value() || dialect == Dialect::gguf;
    for (const StoredForm& form : stored_forms) {
      if (form.naming == naming && (form.as == StoredAs::scalars || !scalars_alone)) forms.push_back(form);
    }
    return forms;
  }

  const WeightSlot& slot_;
  const WeightName& name_;
  const ModelFacts& facts_;
  const TensorSource& source_;
  StoredAs expected_;
};

/// Sizes of a rank's part become those of the whole weight, which files have.
inline void widen(WeightSlot& slot, ShardAxis axis, bool bias) {
  if (slot.ranks == 1) return;
  switch (axis) {
    case ShardAxis::none:
      return;
    case ShardAxis::column:
      assert(!slot.shape);
      for (int& height : slot.heights) height *= height == dynamic ? 1 : slot.ranks;
      return;
    case ShardAxis::row:
      if (!bias) slot.in *= slot.ranks;
      return;
    case ShardAxis::expert:
      slot.experts *= slot.ranks;
      if (bias) {
        slot.heights[0] *= slot.ranks;
        slot.shape = Shape{(*slot.shape)[0] * slot.ranks, (*slot.shape)[1]};
      }
      return;
  }
}

inline BoundWeight bind_weight(const WeightSlot& slot, const ModelFacts& facts, const TensorSource& source,
                               const BindOptions& options) {
  std::optional<BoundWeight> expected;
  for (const Dialect dialect : options.dialects) {
    const WeightName name = find_weight(slot.canonical, facts.family, dialect);
    if (name.part == nullptr) continue;
    WeightSlot whole_slot = slot;
    widen(whole_slot, name.part->shard, name.bias);
    const PieceFinder finder(whole_slot, name, facts, source, options.expected);
    for (const bool whole : {true, false}) {
      std::vector<BoundPiece> pieces = whole ? finder.whole(dialect) : finder.parts(dialect);
      if (PieceFinder::any_found(pieces)) return {std::move(whole_slot), name, dialect, std::move(pieces)};
      if (!expected || expected->pieces.empty()) expected = BoundWeight{whole_slot, name, dialect, std::move(pieces)};
    }
  }
  if (!expected)
    fail<ConfigError>("files of the family ", name_of(facts.family), " (ModelFacts::family) have no ", slot.canonical);
  return *std::move(expected);
}

}  // namespace detail

IVL_INLINE Binding bind_weights(std::vector<WeightSlot> slots, const ModelFacts& facts, const TensorSource& source,
                                BindOptions options) {
  if (options.dialects.empty()) options.dialects = {dialect_of(facts.format)};
  Binding binding;
  binding.prepare = [source](const TensorView& view) { source.prepare(view); };
  binding.release = [source](const TensorView& view) { source.release(view); };
  for (const WeightSlot& slot : slots) binding.weights.push_back(detail::bind_weight(slot, facts, source, options));

  const auto named = [&](std::string_view canonical) {
    return std::ranges::find(binding.weights, canonical,
                             [](const BoundWeight& weight) -> std::string_view { return weight.slot.canonical; });
  };
  const auto head = named("language.head.weight"), embedding = named("language.embedding.weight");
  if (facts.tied_head && head != binding.weights.end() && embedding != binding.weights.end() &&
      !detail::PieceFinder::any_found(head->pieces)) {
    head->pieces = embedding->pieces;
    head->borrowed = true;
  }

  std::set<std::string_view> known;
  Binding::each_tensor(binding, [&](const BoundTensor& tensor) { known.insert(tensor.name); });
  for (const std::string& name : source.names()) {
    if (!known.contains(name) && !is_harmless_extra(name))
      binding.extra.push_back(name + ": expected none, found " + shape_text(source.find(name)->shape));
  }
  return binding;
}

IVL_INLINE std::vector<Dialect> dialects_in(const std::vector<WeightSlot>& slots, const ModelFacts& facts,
                                            const TensorSource& source) {
  std::vector<std::pair<int, Dialect>> counts;
  for (const Dialect dialect : {Dialect::canonical, Dialect::github, Dialect::hf}) {
    int missing = 0;
    const Binding binding = bind_weights(slots, facts, source, {.dialects = {dialect}});
    Binding::each_tensor(binding, [&](const BoundTensor& tensor) { missing += tensor.found == nullptr ? 1 : 0; });
    counts.emplace_back(missing, dialect);
  }
  std::ranges::stable_sort(counts, {}, &std::pair<int, Dialect>::first);
  std::vector<Dialect> dialects;
  for (const auto& [missing, dialect] : counts) dialects.push_back(dialect);
  return dialects;
}

IVL_INLINE ShapesAlone::ShapesAlone(std::vector<WeightSlot> slots, const ModelFacts& facts, BindOptions options)
    : binding_(bind_weights(std::move(slots), facts, NoTensors{}, std::move(options))) {
  each_tensor([this](const BoundTensor& tensor, TensorView& view) {
    const Dtype dtype = tensor.kind == TensorKind::scalar ? Dtype::bf16 : Dtype::u8;
    const auto bytes = std::size_t(*bytes_of(dtype, tensor.shape));
    view = {dtype, tensor.shape, {static_cast<const std::byte*>(nullptr), bytes}};
  });
}

// ---- what is wrong -----------------------------------------------------------------------------------------------
namespace detail {

/// Blocks of ggml are a matrix's or a table's, never a vector's.
inline bool fits(const BoundWeight& weight, TensorKind kind, Dtype dtype) {
  switch (kind) {
    case TensorKind::scalar:
      return scalar_kind(dtype).has_value() || (dtype == Dtype::blocks && weight.slot.vector == nullptr);
    case TensorKind::bytes:
      return dtype == Dtype::u8;
    case TensorKind::words:
      return dtype == Dtype::i32;
    case TensorKind::f8:
      return dtype == Dtype::f8_e4m3;
    case TensorKind::i8:
      return dtype == Dtype::i8;
    case TensorKind::f8_or_i8:
      return dtype == Dtype::f8_e4m3 || dtype == Dtype::i8;
    case TensorKind::single_float:
      return dtype == Dtype::f32;
    case TensorKind::zero:
      return dtype == Dtype::u8;
  }
  return false;
}

constexpr std::string_view text_of(TensorKind kind) {
  constexpr std::string_view texts[] = {"F32, BF16 or F16", "U8", "I32", "F8_E4M3", "I8", "F8_E4M3 or I8", "F32", "U8"};
  return texts[int(kind)];
}

/// What is wrong with one tensor of a weight; empty if nothing is. `like`: the weight's first tensor.
inline std::string tensor_difference(const BoundWeight& weight, const BoundTensor& tensor, const BoundTensor& like) {
  if (tensor.found == nullptr && weight.slot.any_shape) {
    for (const BoundPiece& piece : weight.pieces) {
      for (const BoundTensor& other : piece.planes) {
        if (other.found != nullptr) return "expected beside " + other.name + ", found none";
      }
    }
  }
  if (tensor.found == nullptr) return "expected " + shape_text(tensor.shape) + ", found none";
  if (weight.slot.any_shape) return {};
  if (tensor.found->shape != tensor.shape)
    return "expected " + shape_text(tensor.shape) + ", found " + shape_text(tensor.found->shape);
  const Dtype dtype = tensor.found->dtype;
  if (!fits(weight, tensor.kind, dtype))
    return "expected " + std::string(text_of(tensor.kind)) + ", found " + std::string(type_name(*tensor.found));
  if (tensor.kind == TensorKind::zero && tensor.found->bytes[0] != std::byte{0})
    return "expected 0, found " + std::to_string(std::to_integer<int>(tensor.found->bytes[0]));
  const bool alike = weight.dialect == Dialect::gguf || tensor.kind != TensorKind::scalar ||
                     weight.slot.vector != nullptr || like.found == nullptr || !scalar_kind(like.found->dtype) ||
                     like.found->dtype == dtype;
  if (!alike)
    return "expected " + std::string(name_of(like.found->dtype)) + " like " + like.name + ", found " +
           std::string(name_of(dtype));
  return {};
}

}  // namespace detail

IVL_INLINE void leave_out_extra(Binding& binding, const std::function<void(const std::string&)>& note) {
  std::string lines;
  for (const std::string& line : binding.extra) lines += "\n  " + line;
  if (note && !binding.extra.empty())
    note("tensors that are not the model's were left out: " + std::to_string(binding.extra.size()) +
         first_lines(lines));
  binding.extra.clear();
}

IVL_INLINE std::string binding_differences(const Binding& binding) {
  std::string differences;
  for (const BoundWeight& weight : binding.weights) {
    if (weight.borrowed) continue;
    for (const BoundPiece& piece : weight.pieces) {
      for (const BoundTensor& tensor : piece.planes) {
        const std::string difference = detail::tensor_difference(weight, tensor, weight.pieces[0].planes[0]);
        if (!difference.empty()) differences += "\n  " + tensor.name + ": " + difference;
      }
    }
  }
  for (const std::string& line : binding.extra) differences += "\n  " + line;
  return differences;
}

}  // namespace ivl
