// The bodies of lora.hpp.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/checkpoint/folder.hpp"
#include "ivl/checkpoint/lora.hpp"
#include "ivl/checkpoint/lora_config.hpp"
#include "ivl/checkpoint/name_reader.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl {

namespace detail {

// ---- names -------------------------------------------------------------------------------------------------------
/// The two matrices of a module, or none yet.
struct LoraPair {
  std::string name_in_peft;
  const TensorView *a = nullptr, *b = nullptr;
};

/// What an adapter's file holds, under published names.
struct LoraTensors {
  std::map<std::string, LoraPair> pairs;           ///< by module
  std::map<std::string, const TensorView*> whole;  ///< tensors to take as they are
};

inline LoraTensors lora_tensors(const Safetensors& file, const std::string& where) {
  constexpr std::string_view peft = "base_model.model.", kept = ".base_layer.";
  const std::vector<std::string> names(file.names().begin(), file.names().end());
  const std::size_t wrapper = wrapper_of(names).size();
  LoraTensors tensors;
  for (const std::string& stored : names) {
    if (!stored.starts_with(peft))
      fail<FileError>(where, ": tensor ", stored, ": expected a name that begins with ", peft, ", as PEFT writes them");
    if (stored.find(".lora_embedding_") != stored.npos)
      fail<ConfigError>(where, ": tensor ", stored,
                        ": an adapter of the embedding cannot be merged here: merge it with "
                        "merge_and_unload() of PEFT and give that folder");
    std::string name = stored.substr(wrapper);
    for (const bool is_a : {true, false}) {
      const std::string_view mark = is_a ? ".lora_A." : ".lora_B.";
      const std::size_t at = name.find(mark);
      if (at == name.npos) continue;
      const std::string_view rest = std::string_view(name).substr(at + mark.size());
      if (rest != "weight" && rest != "default.weight") continue;
      constexpr std::string_view weight = ".weight";
      const std::string published = published_name(name.substr(0, at) + std::string(weight));
      LoraPair& pair = tensors.pairs[published.substr(0, published.size() - weight.size())];
      pair.name_in_peft = stored.substr(peft.size(), stored.find(mark) - peft.size());
      (is_a ? pair.a : pair.b) = file.find(stored);
      name.clear();
      break;
    }
    if (name.empty()) continue;
    // Beside the adapter of a head PEFT keeps the head itself.
    if (const std::size_t at = name.find(kept); at != name.npos) name.replace(at, kept.size(), ".");
    tensors.whole[published_name(name)] = file.find(stored);
  }
  return tensors;
}

/// Where a module's B A goes: a tensor of the base, or equal parts of one, or of B.
struct LoraPlace {
  std::string name;
  int part_of_base = 0, parts_of_base = 1, part_of_b = 0, parts_of_b = 1;
};

/// Names of either format as the base has them.
class NamesInBase {
 public:
  explicit NamesInBase(const ModelFacts& facts)
      : base_(dialect_of(facts.format)), readers_{{Dialect::github, facts.family}, {Dialect::hf, facts.family}} {}

  /// None: no weight of these models has the name.
  std::vector<LoraPlace> places(const std::string& module) const {
    for (const NameReader& reader : readers_) {
      const auto found = reader.read(module + ".weight");
      if (!found) continue;
      const PartName& row = *found->row;
      if (!row.files.in(base_).empty()) return {{name_of(row, *found)}};
      std::vector<LoraPlace> places;
      for (const PartName& other : names::table) {  // the base has it in parts, or as a part
        if (other.where.canonical != row.where.canonical || other.family != row.family || other.files.in(base_).empty())
          continue;
        const auto index = [](const PartName& whole, const PartName& part) {
          return int(std::ranges::find(whole.parts, part.part) - whole.parts.begin());
        };
        if (const int part = index(row, other); part < number_of_parts(row))
          places.push_back({name_of(other, *found), 0, 1, part, number_of_parts(row)});
        if (const int part = index(other, row); part < number_of_parts(other))
          places.push_back({name_of(other, *found), part, number_of_parts(other), 0, 1});
      }
      return places;
    }
    return {};
  }

  std::optional<std::string> tensor(const std::string& name) const {
    for (const Dialect dialect : {Dialect::github, Dialect::hf}) {
      const auto found = readers_[dialect == Dialect::github ? 0 : 1].read(name);
      if (!found || found->row->files.in(base_).empty()) continue;
      const auto stem = [&](Dialect in) {
        return with_numbers(name_pattern(*found->row, in), found->numbers.layer, found->numbers.expert);
      };
      return stem(base_) + name.substr(stem(dialect).size());
    }
    return std::nullopt;
  }

 private:
  std::string name_of(const PartName& row, const FileName& found) const {
    return with_numbers(name_pattern(row, base_), found.numbers.layer, found.numbers.expert) + ".weight";
  }

  Dialect base_;
  NameReader readers_[2];
};

// ---- numbers -----------------------------------------------------------------------------------------------------
/// a b + c, rounded once; without the instruction for that, but for one sum in about 2^29.
inline float multiply_add(float a, float b, float c) {
#ifdef FP_FAST_FMAF
  return std::fma(a, b, c);
#else
  return float(double(a) * b + c);  // the product is exact
#endif
}

/// to = scale * (row of B) A. `a` is [r, in] with in floats in `to`.
inline void multiply_row(std::span<const float> b, std::span<const float> a, float scale, std::span<float> to) {
  std::ranges::fill(to, 0.0f);
  for (std::size_t k = 0; k < b.size(); ++k) {
    const float* from = a.data() + k * to.size();
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = multiply_add(b[k], from[i], to[i]);
  }
  for (float& x : to) x *= scale;
}

template <class Scalar>
void add_row(std::span<const float> delta, std::byte* row) {
  for (const float x : delta) {
    Scalar w;
    std::memcpy(&w, row, sizeof w);
    w = round_to<Scalar>(to_float(w) + x);
    std::memcpy(row, &w, sizeof w);
    row += sizeof w;
  }
}

inline bool is_matrix(const TensorView& view) { return view.shape.rank() == 2 && scalar_kind(view.dtype).has_value(); }

/// `name`: of a weight, if it were not quantised.
inline void refuse_quantised(const FolderWeights& base, const std::string& name, const std::string& where) {
  const std::string stem = name.substr(0, name.rfind(".weight"));
  for (const StoredForm& form : stored_forms) {
    for (const std::string_view suffix : form.suffixes) {
      if (form.naming != Naming::module || form.as == StoredAs::scalars || suffix.empty() || suffix == ".weight")
        continue;
      if (base.find(stem + std::string(suffix)) != nullptr)
        fail<FileError>(
            where, ": ", stem,
            ": this weight of the base is quantised: merge the adapter into the model that the base was made "
            "from");
    }
  }
}

}  // namespace detail

// ---- the source --------------------------------------------------------------------------------------------------
IVL_INLINE MergedWeights::MergedWeights(const FolderWeights& base, const std::filesystem::path& adapter,
                                        const ModelFacts& facts)
    : base_(base), adapter_((check_adapter_folder(adapter), adapter / "adapter_model.safetensors")) {
  const std::string where = adapter.string();
  const detail::LoraConfig config(adapter / "adapter_config.json");
  const detail::LoraTensors tensors = detail::lora_tensors(adapter_, where);
  const detail::NamesInBase in_base(facts);
  std::string unknown;
  for (const auto& [name, view] : tensors.whole) {
    if (const auto found = in_base.tensor(name))
      replaced_[*found] = *view;
    else
      unknown += "\n  " + name;
  }
  constexpr const char *embedding = "language_model.model.embed_tokens.weight", *head = "language_model.lm_head.weight";
  if (facts.tied_head && replaced_.contains(embedding) && find(head) == nullptr)
    fail<ConfigError>(where,
                      ": the adapter replaces the embedding, to which the head of the base is tied, and has no "
                      "head: merge it with merge_and_unload() of PEFT and give that folder");
  for (const auto& [module, pair] : tensors.pairs) {
    if (pair.a == nullptr || pair.b == nullptr)
      fail<FileError>(where, ": ", module, ": expected lora_A and lora_B, found ", pair.a ? "no lora_B" : "no lora_A");
    const auto places = in_base.places(module);
    for (const detail::LoraPlace& place : places) detail::refuse_quantised(base_, place.name, where);
    if (places.empty() ||
        !std::ranges::all_of(places, [&](const auto& place) { return find(place.name) != nullptr; })) {
      unknown += "\n  " + module;
      continue;
    }
    for (const detail::LoraPlace& place : places) {
      const TensorView& weight = merged_.contains(place.name) ? merged_.at(place.name).base : *find(place.name);
      const TensorView &a = *pair.a, &b = *pair.b;
      const bool matrices = detail::is_matrix(a) && detail::is_matrix(b) && detail::is_matrix(weight);
      if (!matrices || a.shape[1] != weight.shape[1] || a.shape[0] != b.shape[1] ||
          b.shape[0] * place.parts_of_base != weight.shape[0] * place.parts_of_b)
        fail<FileError>(where, ": ", module, ": lora_A ", shape_text(a.shape), " and lora_B ", shape_text(b.shape),
                        " do not fit ", place.name, ", ", name_of(weight.dtype), ' ', shape_text(weight.shape));
      const std::int64_t rows = b.shape[0] / place.parts_of_b;
      Merged& merged = merged_[place.name];
      merged.base = weight;
      merged.terms.push_back(
          {a, b, place.part_of_base * rows, place.part_of_b * rows, rows, config.scale(pair.name_in_peft, a.shape[0])});
    }
  }
  if (!unknown.empty())
    fail<FileError>(where, ": these are in the adapter and not in the model:", first_lines(unknown));
  for (auto& [name, merged] : merged_) {
    merged.view = merged.base;
    by_view_[&merged.view] = &merged;
    release(merged.view);
  }
}

IVL_INLINE std::vector<std::string> MergedWeights::names() const {
  std::vector<std::string> names = base_.names();
  for (const auto& [name, view] : replaced_) {
    if (base_.find(name) == nullptr) names.push_back(name);
  }
  return names;
}

IVL_INLINE const TensorView* MergedWeights::find(const std::string& name) const {
  if (const auto merged = merged_.find(name); merged != merged_.end()) return &merged->second.view;
  if (const auto replaced = replaced_.find(name); replaced != replaced_.end()) return &replaced->second;
  return base_.find(name);
}

IVL_INLINE void MergedWeights::prepare(const TensorView& view) const {
  if (const auto merged = by_view_.find(&view); merged != by_view_.end()) merge(*merged->second);
}

IVL_INLINE void MergedWeights::release(const TensorView& view) const {
  const auto found = by_view_.find(&view);
  if (found == by_view_.end()) {
    base_.release(view);
    adapter_.release(view);
    return;
  }
  Merged& merged = *found->second;
  base_.release(merged.base);
  merged.bytes = {};
  merged.view.bytes = {static_cast<const std::byte*>(nullptr), merged.base.bytes.size()};
}

IVL_INLINE void MergedWeights::merge(Merged& merged) const {
  const auto in = std::size_t(merged.base.shape[1]);
  const auto floats_of = [](const TensorView& view, std::int64_t first, std::int64_t rows) {
    const SourceMatrix matrix = source_matrix(view);
    std::vector<float> floats(std::size_t(rows * matrix.in));
    for (std::int64_t row = 0; row < rows; ++row) dequantise_row(matrix, first + row, floats.data() + row * matrix.in);
    return floats;
  };
  merged.bytes.assign(merged.base.bytes.begin(), merged.base.bytes.end());
  merged.view.bytes = merged.bytes;
  const ScalarKind kind = placeable(merged.base);
  const std::size_t row_bytes = in * std::size_t(bytes_of(kind));
  std::vector<float> delta(in);
  for (const Term& term : merged.terms) {
    const std::size_t rank = std::size_t(term.a.shape[0]);
    const std::vector<float> a = floats_of(term.a, 0, term.a.shape[0]),
                             b = floats_of(term.b, term.first_row_of_b, term.rows);
    for (std::size_t row = 0; row < std::size_t(term.rows); ++row) {
      detail::multiply_row(std::span(b).subspan(row * rank, rank), a, term.scale, delta);
      std::byte* to = merged.bytes.data() + (std::size_t(term.first_row) + row) * row_bytes;
      switch (kind) {
        case ScalarKind::f32:
          detail::add_row<float>(delta, to);
          break;
        case ScalarKind::bf16:
          detail::add_row<bf16>(delta, to);
          break;
        case ScalarKind::f16:
          detail::add_row<half>(delta, to);
          break;
      }
    }
  }
}

}  // namespace ivl
