// Weights bound to a source, once: which tensors each weight of a model is made of, and which of them are there.
// Loading, the list of what is missing, converting and random weights all read this binding.
#pragma once
#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/names.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

// ---- sources ---------------------------------------------------------------------------------------------------
/// Tensors by name, which someone owns for as long as weights are bound to them. Null: there is none of that name.
template <class Source>
concept FindsTensors = requires(const Source& source, const std::string& name) {
  { source.find(name) } -> std::convertible_to<const TensorView*>;
};

/// Any such source, for code that is compiled once. It refers to the source.
class TensorSource {
 public:
  template <FindsTensors Source>
  TensorSource(const Source& source) : find_([&source](const std::string& name) { return source.find(name); }) {
    if constexpr (requires(const TensorView& view) { source.release(view); })
      release_ = [&source](const TensorView& view) { source.release(view); };
    if constexpr (requires { source.names(); })
      names_ = [&source] {
        std::vector<std::string> names;
        for (const std::string& name : source.names()) names.push_back(name);
        return names;
      };
  }
  const TensorView* find(const std::string& name) const { return find_(name); }
  /// What was read of this tensor may leave memory.
  void release(const TensorView& view) const {
    if (release_) release_(view);
  }
  /// All names, where the source can tell.
  std::vector<std::string> names() const { return names_ ? names_() : std::vector<std::string>(); }

 private:
  std::function<const TensorView*(const std::string&)> find_;
  std::function<void(const TensorView&)> release_;
  std::function<std::vector<std::string>()> names_;
};

/// A source that has nothing: a binding to it says what a model wants.
struct NoTensors {
  const TensorView* find(const std::string&) const { return nullptr; }
};

/// A user's own tensors by name. The bytes belong to somebody else and are read while they are placed, not later.
using TensorMap = std::map<std::string, TensorView>;

/// Such a map as a source.
struct MapSource {
  const TensorMap& tensors;

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, view] : tensors) names.push_back(name);
    return names;
  }
  const TensorView* find(const std::string& name) const {
    const auto entry = tensors.find(name);
    return entry == tensors.end() ? nullptr : &entry->second;
  }
};

/// The tensors of a folder under their published names.
class FolderWeights {
 public:
  explicit FolderWeights(const std::filesystem::path& folder) : files_(folder) {
    for (const std::string& name : files_.names()) {
      const auto [entry, is_new] = views_.emplace(published_name(name), files_.find(name));
      if (!is_new)
        fail<FileError>(folder.string(), ": the tensor ", entry->first,
                        " is stored twice, once with the prefix model.");
    }
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, view] : views_) names.push_back(name);
    return names;
  }
  const TensorView* find(const std::string& name) const {
    const auto entry = views_.find(name);
    return entry == views_.end() ? nullptr : entry->second;
  }
  void release(const TensorView& view) const { files_.release(view); }

 private:
  Safetensors files_;
  std::map<std::string, const TensorView*> views_;
};

// ---- slots -----------------------------------------------------------------------------------------------------
/// One weight of a model: its name, its shape, and where it goes once placed. Made from what layers say in
/// `each_weight`, so that all that follows is ordinary code, compiled once for all checkpoints.
struct WeightSlot {
  std::string canonical;     ///< as checkpoint/names.hpp has it, with `#` for the layer's number
  int layer = -1;            ///< -1 outside the layers
  std::vector<int> heights;  ///< of the parts q, k, v or gate, up, or of the whole; `dynamic`: one a vocabulary row
  int in = 0;                ///< 0: a vector
  std::optional<Shape> shape = {};  ///< in files, where it is not [height, in] or [height]
  Fusion fusion = Fusion::stacked;
  int experts = 0;                 ///< 0: one matrix, vector or table
  int ranks = 1;                   ///< that share the weight, if its part in the table of names says how
  bool any_shape = false;          ///< what was found counts: the weight is renamed, not placed
  PlacedMatrix* matrix = nullptr;  // one of these four, or none
  PlacedVector* vector = nullptr;
  PlacedTable* table = nullptr;
  PlacedExperts* mixture = nullptr;
};

/// Receives what `each_weight` visits.
struct SlotCollector {
  std::vector<WeightSlot>& slots;

  template <int Width, class... Details>
  void operator()(const char* module, int layer, const char* part, Vector<Width>& weight,
                  const Details&... details) const {
    add(module, layer, part, Width, 0, details...).vector = &weight.placed;
  }
  template <int Out, int In, class... Details>
  void operator()(const char* module, int layer, const char* part, Weight<Out, In>& weight,
                  const Details&... details) const {
    add(module, layer, part, Out, In, details...).matrix = &weight.placed;
  }
  template <int Width>
  void operator()(const char* module, int layer, const char* part, Table<Width>& weight) const {
    add(module, layer, part, dynamic, Width).table = &weight.placed;
  }
  template <int Experts, int Out, int In, class... Details>
  void operator()(const char* module, int layer, const char* part, ExpertWeight<Experts, Out, In>& weight,
                  const Details&... details) const {
    WeightSlot& slot = add(module, layer, part, Out, In, details...);
    slot.experts = Experts;
    slot.mixture = &weight.placed;
  }

 private:
  template <class... Details>
  WeightSlot& add(const char* module, int layer, const char* part, int height, int in,
                  const Details&... details) const {
    WeightSlot& slot = slots.emplace_back();
    slot.canonical = std::string(module) + part;
    slot.layer = layer;
    slot.heights = {height};
    slot.in = in;
    (apply(slot, details), ...);
    return slot;
  }
  static void apply(WeightSlot& slot, const FileParts& parts) {
    slot.heights.assign(parts.heights.begin(), parts.heights.begin() + parts.count);
  }
  static void apply(WeightSlot& slot, Fusion fusion) { slot.fusion = fusion; }
  static void apply(WeightSlot& slot, const Shape& shape) { slot.shape = shape; }
};

// ---- bindings --------------------------------------------------------------------------------------------------
/// What a tensor's numbers may be.
enum class TensorKind : std::uint8_t {
  scalar,  ///< F32, BF16 or F16
  bytes,   ///< U8
  words,   ///< I32, eight numbers of 4 bits each
};

/// One tensor that a weight is made of.
struct BoundTensor {
  std::string name;
  Shape shape;
  TensorKind kind = TensorKind::scalar;
  const TensorView* found = nullptr;
};

/// What one matrix or vector in files is to a weight: the whole, or one part of it; of all experts, or of one.
struct BoundPiece {
  const PartName* row = nullptr;  ///< its row of the table of names
  StoredForm form{};
  int expert = -1;  ///< -1: no experts, or all of them
  std::int64_t height = 0;
  std::vector<BoundTensor> planes;

  /// Scalars [in, out].
  bool transposed() const { return form.as == StoredAs::scalars && row->transform != Transform::as_is; }
};

struct BoundWeight {
  WeightSlot slot;  ///< with the sizes of the whole weight
  WeightName name;
  std::vector<BoundPiece> pieces;  ///< of one expert together, in the order of the parts
  bool borrowed = false;           ///< the tensors are those of another weight: a tied head is the embedding once more
};

struct Binding {
  std::vector<BoundWeight> weights;
  std::vector<std::string> extra;  ///< a line for each tensor of the source that is no weight's
  std::function<void(const TensorView&)> release = [](const TensorView&) {};

  /// Calls visit(tensor) for every tensor; those of a tied head only as the embedding's.
  template <class Self, class Visit>
  static void each_tensor(Self& self, const Visit& visit) {
    for (auto& weight : self.weights) {
      if (weight.borrowed) continue;
      for (auto& piece : weight.pieces) {
        for (auto& tensor : piece.planes) visit(tensor);
      }
    }
  }

  /// Of all tensors that were found.
  std::int64_t bytes() const {
    std::int64_t bytes = 0;
    each_tensor(*this, [&](const BoundTensor& tensor) {
      if (tensor.found != nullptr) bytes += std::int64_t(tensor.found->bytes.size());
    });
    return bytes;
  }
};

/// Whose names to look for, and in which form weights are expected.
struct BindOptions {
  std::vector<Dialect> dialects;          ///< empty: the folder format's; of what is missing the first is expected
  StoredAs expected = StoredAs::scalars;  ///< of what is missing, where its part has that form
};

namespace detail {

/// Inputs that share a scale in the published AWQ files.
inline constexpr std::int64_t awq_group = 128;

/// The tensors of one piece in one form.
inline std::vector<BoundTensor> planes_of(const WeightSlot& slot, const BoundPiece& piece, Dialect dialect) {
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
      return {std::move(tensor)};
    }
    case StoredAs::mxfp4:
      return {plane(0, TensorKind::bytes, {out, in / 32, 16}), plane(1, TensorKind::bytes, {out, in / 32})};
    case StoredAs::awq:
      return {plane(0, TensorKind::words, {in, out / 8}), plane(1, TensorKind::words, {in / awq_group, out / 8}),
              plane(2, TensorKind::scalar, {in / awq_group, out})};
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
    // Rows in turn cannot be told from one whole of scalars: under canonical names gate and up are two tensors.
    const bool has_name = dialect == Dialect::canonical
                              ? slot_.fusion == Fusion::stacked || row.transform != Transform::as_is
                              : !row.files.in(dialect).empty();
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
    const PartName* first = find_part(*name_.part, 0);
    if (first == nullptr || (dialect != Dialect::canonical && first->files.in(dialect).empty())) return {};
    each_expert(*first, dialect, [&](int expert) {
      for (std::size_t part = 0; part < number; ++part)
        pieces.push_back(piece(*find_part(*name_.part, part), dialect, expert, rows_of(slot_.heights[part])));
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

  /// In the first form of which the source has something; else in the expected one.
  BoundPiece piece(const PartName& row, Dialect dialect, int expert, std::int64_t height) const {
    BoundPiece expected;
    for (const StoredForm& form : forms(row.naming, dialect)) {
      BoundPiece piece{&row, form, expert, height, {}};
      piece.planes = planes_of(slot_, piece, dialect);
      bool found = false;
      for (BoundTensor& tensor : piece.planes) {
        tensor.found = source_.find(tensor.name);
        if (tensor.found != nullptr && slot_.any_shape) tensor.shape = tensor.found->shape;
        found = found || tensor.found != nullptr;
      }
      if (found) return piece;
      if (expected.row == nullptr || expected.form.as != expected_) expected = std::move(piece);
    }
    return expected;
  }

  std::vector<StoredForm> forms(Naming naming, Dialect dialect) const {
    if (dialect == Dialect::canonical)
      return {{StoredAs::scalars, naming, 1, {naming == Naming::bare ? "" : name_.bias ? ".bias" : ".weight"}}};
    if (name_.bias) return {form_of_bias(naming)};
    std::vector<StoredForm> forms;
    const bool scalars_alone = slot_.vector != nullptr || slot_.table != nullptr || slot_.shape.has_value();
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

inline BoundWeight bind_weight(WeightSlot slot, const ModelFacts& facts, const TensorSource& source,
                               const BindOptions& options) {
  const WeightName name = find_weight(slot.canonical, facts.family);
  if (name.part == nullptr)
    fail<ConfigError>("files of the family ", name_of(facts.family), " (ModelFacts::family) have no ", slot.canonical);
  widen(slot, name.part->shard, name.bias);
  const PieceFinder finder(slot, name, facts, source, options.expected);
  std::vector<BoundPiece> expected;
  for (const Dialect dialect : options.dialects) {
    for (const bool whole : {true, false}) {
      std::vector<BoundPiece> pieces = whole ? finder.whole(dialect) : finder.parts(dialect);
      if (PieceFinder::any_found(pieces)) return {std::move(slot), name, std::move(pieces)};
      if (expected.empty()) expected = std::move(pieces);
    }
  }
  return {std::move(slot), name, std::move(expected)};
}

}  // namespace detail

/// Finds the tensors of every weight. What is not there has `found` null; see `binding_differences`.
inline Binding bind_weights(std::vector<WeightSlot> slots, const ModelFacts& facts, const TensorSource& source,
                            BindOptions options = {}) {
  if (options.dialects.empty()) options.dialects = {dialect_of(facts.format)};
  Binding binding;
  binding.release = [source](const TensorView& view) { source.release(view); };
  for (WeightSlot& slot : slots)
    binding.weights.push_back(detail::bind_weight(std::move(slot), facts, source, options));

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
    if (!known.contains(name))
      binding.extra.push_back(name + ": expected none, found " + shape_text(source.find(name)->shape));
  }
  return binding;
}

/// For weights from memory: all dialects, the one first that the source has most tensors of.
inline std::vector<Dialect> dialects_in(const std::vector<WeightSlot>& slots, const ModelFacts& facts,
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

/// A binding to tensors that nobody has read: shapes and sizes, scalars in bf16, and no bytes until someone sets them.
class ShapesAlone {
 public:
  ShapesAlone(std::vector<WeightSlot> slots, const ModelFacts& facts, StoredAs expected)
      : binding_(bind_weights(std::move(slots), facts, NoTensors{}, {.dialects = {}, .expected = expected})) {
    each_tensor([this](const BoundTensor& tensor, TensorView& view) {
      const Dtype dtype = tensor.kind == TensorKind::scalar ? Dtype::bf16 : Dtype::u8;
      const auto bytes = std::size_t(*bytes_of(dtype, tensor.shape));
      view = {dtype, tensor.shape, {static_cast<const std::byte*>(nullptr), bytes}};
    });
  }
  const Binding& binding() const { return binding_; }
  /// Calls visit(tensor, view); the view may be changed.
  template <class Visit>
  void each_tensor(const Visit& visit) {
    Binding::each_tensor(binding_, [&](BoundTensor& tensor) {
      TensorView& view = views_[tensor.name];
      visit(tensor, view);
      tensor.found = &view;
    });
  }

 private:
  Binding binding_;
  std::map<std::string, TensorView> views_;
};

namespace detail {

inline bool fits(TensorKind kind, Dtype dtype) {
  switch (kind) {
    case TensorKind::scalar:
      return scalar_kind(dtype).has_value();
    case TensorKind::bytes:
      return dtype == Dtype::u8;
    case TensorKind::words:
      return dtype == Dtype::i32;
  }
  return false;
}

constexpr std::string_view text_of(TensorKind kind) {
  constexpr std::string_view texts[] = {"F32, BF16 or F16", "U8", "I32"};
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
  if (!fits(tensor.kind, dtype))
    return "expected " + std::string(text_of(tensor.kind)) + ", found " + std::string(name_of(dtype));
  const bool alike = tensor.kind != TensorKind::scalar || weight.slot.vector != nullptr || like.found == nullptr ||
                     !scalar_kind(like.found->dtype) || like.found->dtype == dtype;
  if (!alike)
    return "expected " + std::string(name_of(like.found->dtype)) + " like " + like.name + ", found " +
           std::string(name_of(dtype));
  return {};
}

}  // namespace detail

/// Missing, misshapen and unexpected tensors, a line each; empty if all is well.
inline std::string binding_differences(const Binding& binding) {
  std::string differences;
  for (const BoundWeight& weight : binding.weights) {
    if (weight.borrowed) continue;
    for (const BoundPiece& piece : weight.pieces) {
      for (const BoundTensor& tensor : piece.planes) {
        const std::string difference = detail::tensor_difference(weight, tensor, weight.pieces[0].planes[0]);
        if (!difference.empty()) differences += "\n  " + tensor.name + ": " + difference;
      }
      if (piece.form.as == StoredAs::awq && !weight.slot.any_shape)
        differences += "\n  " + piece.planes[0].name + ": expected numbers in F32, BF16 or F16, found AWQ";
    }
  }
  for (const std::string& line : binding.extra) differences += "\n  " + line;
  return differences;
}

}  // namespace ivl
