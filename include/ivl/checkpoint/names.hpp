// The one table of tensor names: what each part of the model is called in files, how it lies there, and how it is
// split.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/facts/family.hpp"
#include "ivl/facts/model_facts.hpp"

namespace ivl {

// ---- the words of the table --------------------------------------------------------------------------------------
/// Who named the tensors: the two published layouts, and this library, for weights from memory. A third published one
/// (GGUF) is a column of `FileNames` and a value here.
enum class Dialect : std::uint8_t { github, hf, canonical };

constexpr Dialect dialect_of(FolderFormat format) {
  return format == FolderFormat::github ? Dialect::github : Dialect::hf;
}

/// Names of one thing in files; empty: files of that dialect do not have it as one tensor.
struct FileNames {
  std::string_view github, hf;

  constexpr FileNames(const char* both) : github(both), hf(both) {}
  constexpr FileNames(const char* in_github, const char* in_hf) : github(in_github), hf(in_hf) {}
  constexpr std::string_view in(Dialect dialect) const { return dialect == Dialect::github ? github : hf; }
};

/// What stands before the name of a part. `#` stands for the layer's number, `*` in a part's name for the expert's.
struct NamePrefix {
  std::string_view canonical;
  FileNames files;
};

/// What stands behind the name of a part; see `stored_forms` and `suffix_of_bias`.
enum class Naming : std::uint8_t {
  module,     ///< a module with a weight and perhaps a bias: `q_proj.weight`, `q_proj.bias`
  parameter,  ///< all experts as parameters of their layer: `gate_up_proj`, `gate_up_proj_bias`
  bare,       ///< one parameter alone; its canonical name has no `.weight` either
};

/// How the numbers of a part lie in files, where they do not lie as [out, in].
enum class Transform : std::uint8_t {
  as_is,
  transposed,              ///< [in, out]; of scalars alone: the blocks of a format lie along `in` always
  transposed_interleaved,  ///< the same, of gate and up in turn: column 2j is row j of gate, column 2j + 1 row j of up
  rope_pairs,              ///< rows of a head in turn from its halves, as GGUF files of Llama's kind have q and k
};

/// Which dimension of a matrix [out, in] ranks share (parallel/shard.hpp).
enum class ShardAxis : std::uint8_t {
  none,    ///< each has all of it
  column,  ///< `out`, and the bias with it: each computes some of the outputs
  row,     ///< `in`: each computes a summand of all outputs; the bias, whole on each, is added to their sum
  expert,  ///< whole experts, with their biases
};

/// Parts of a fused weight; the last may be empty.
using FusedParts = std::array<std::string_view, 3>;
inline constexpr FusedParts one_part{"", "", ""};

struct PartName {
  NamePrefix where;
  std::string_view part;  ///< canonical
  FileNames files;
  Naming naming = Naming::module;
  ShardAxis shard = ShardAxis::none;
  FusedParts parts = one_part;  ///< what files may have in place of a fused weight, in this order
  Transform transform = Transform::as_is;
  std::optional<Family> family{};  ///< whose files have it so; none: all
};

// ---- the table ---------------------------------------------------------------------------------------------------
namespace names {

using enum Naming;
using enum ShardAxis;
using enum Transform;
using enum Family;

inline constexpr NamePrefix vit{"vision.", {"vision_model.embeddings.", "vision_tower.embeddings."}};
inline constexpr NamePrefix block{"vision.blocks.#.",
                                  {"vision_model.encoder.layers.#.", "vision_tower.encoder.layer.#."}};
inline constexpr NamePrefix projector{"projector.", {"mlp1.", "multi_modal_projector."}};
inline constexpr NamePrefix language{"language.", "language_model."};
inline constexpr NamePrefix layer{"language.blocks.#.", "language_model.model.layers.#."};

inline constexpr FusedParts q_k_v{"q", "k", "v"}, gate_up{"gate", "up", ""},
    experts_gate_up{"experts.gate", "experts.up", ""}, one = one_part;

/// HF names as published on disk; `published_name` maps the in-memory spelling of some saves to these.
inline constexpr PartName table[] = {
    {vit, "patch_embedding", {"patch_embedding", "patch_embeddings.projection"}},
    {vit, "class_token", {"class_embedding", "cls_token"}, bare},
    {vit, "positions", {"position_embedding", "position_embeddings"}, bare},

    {block, "norm1", {"norm1", "layernorm_before"}},
    {block, "qkv", {"attn.qkv", ""}, module, column, q_k_v},
    {block, "q", {"", "attention.q_proj"}, module, column},
    {block, "k", {"", "attention.k_proj"}, module, column},
    {block, "v", {"", "attention.v_proj"}, module, column},
    {block, "q_norm", {"attn.q_norm", "attention.q_norm"}, module, column},
    {block, "k_norm", {"attn.k_norm", "attention.k_norm"}, module, column},
    {block, "proj", {"attn.proj", "attention.projection_layer"}, module, row},
    {block, "layer_scale1", {"ls1", "lambda_1"}, bare},
    {block, "norm2", {"norm2", "layernorm_after"}},
    {block, "fc1", "mlp.fc1", module, column},
    {block, "fc2", "mlp.fc2", module, row},
    {block, "layer_scale2", {"ls2", "lambda_2"}, bare},

    {projector, "norm", {"0", "layer_norm"}},
    {projector, "fc1", {"1", "linear_1"}, module, column},
    {projector, "fc2", {"3", "linear_2"}, module, row},

    {language, "embedding", "model.embed_tokens"},
    {language, "norm", "model.norm"},
    {language, "head", "lm_head", module, column},

    {layer, "norm1", "input_layernorm"},
    {layer, "qkv", "", module, column, q_k_v},
    {layer, "q", "self_attn.q_proj", module, column},
    {layer, "k", "self_attn.k_proj", module, column},
    {layer, "v", "self_attn.v_proj", module, column},
    {layer, "q_norm", "self_attn.q_norm"},
    {layer, "k_norm", "self_attn.k_norm"},
    {layer, "sinks", "self_attn.sinks", bare, column},
    {layer, "out", "self_attn.o_proj", module, row},
    {layer, "norm2", "post_attention_layernorm"},

    {layer, "gate_up", "", module, column, gate_up},
    {layer, "gate", "mlp.gate_proj", module, column},
    {layer, "up", "mlp.up_proj", module, column},
    {layer, "down", "mlp.down_proj", module, row},

    {layer, "router", "mlp.gate", module, none, one, as_is, qwen3_moe},
    {layer, "experts.gate_up", "", module, expert, experts_gate_up, as_is, qwen3_moe},
    {layer, "experts.gate", "mlp.experts.*.gate_proj", module, expert, one, as_is, qwen3_moe},
    {layer, "experts.up", "mlp.experts.*.up_proj", module, expert, one, as_is, qwen3_moe},
    {layer, "experts.down", "mlp.experts.*.down_proj", module, expert, one, as_is, qwen3_moe},

    {layer, "router", "mlp.router", module, none, one, as_is, gpt_oss},
    {layer, "experts.gate_up", "mlp.experts.gate_up_proj", parameter, expert, one, transposed_interleaved, gpt_oss},
    {layer, "experts.down", "mlp.experts.down_proj", parameter, expert, one, transposed, gpt_oss},
};

}  // namespace names

// ---- how a weight is stored --------------------------------------------------------------------------------------
/// By which tensors a matrix is stored. What the scalars are (F32, BF16, F16) a tensor says itself.
enum class StoredAs : std::uint8_t { scalars, mxfp4, awq };

/// The tensors ("planes") of one matrix are its name and these suffixes.
struct StoredForm {
  StoredAs as;
  Naming naming;
  int planes;
  std::array<std::string_view, 3> suffixes;
};

/// Of one naming the forms that say more come first; `scalars` is what is expected where nothing is found.
inline constexpr StoredForm stored_forms[] = {
    {StoredAs::awq, Naming::module, 3, {".qweight", ".qzeros", ".scales"}},
    {StoredAs::scalars, Naming::module, 1, {".weight"}},
    {StoredAs::mxfp4, Naming::parameter, 2, {"_blocks", "_scales"}},
    {StoredAs::scalars, Naming::parameter, 1, {""}},
    {StoredAs::scalars, Naming::bare, 1, {""}},
};

constexpr StoredForm form_of_bias(Naming naming) {
  return {StoredAs::scalars, naming, 1, {naming == Naming::parameter ? "_bias" : ".bias"}};
}

// ---- looking things up -------------------------------------------------------------------------------------------
/// Weight or bias of a part.
struct WeightName {
  const PartName* part = nullptr;
  bool bias = false;
};

/// What a canonical name with `#` in it means in files of a family; `part` is null where they have nothing of that
/// name.
constexpr WeightName find_weight(std::string_view canonical, Family family) {
  for (const PartName& row : names::table) {
    if (row.family.value_or(family) != family || !canonical.starts_with(row.where.canonical)) continue;
    std::string_view rest = canonical.substr(row.where.canonical.size());
    if (!rest.starts_with(row.part)) continue;
    rest.remove_prefix(row.part.size());
    if (row.naming == Naming::bare ? rest.empty() : rest == ".weight") return {&row, false};
    if (row.naming != Naming::bare && rest == ".bias") return {&row, true};
  }
  return {};
}

/// Part `number` of a fused weight; null where it has no row: files of this family never store it alone.
constexpr const PartName* find_part(const PartName& fused, std::size_t number) {
  for (const PartName& row : names::table) {
    if (row.where.canonical == fused.where.canonical && row.part == fused.parts[number] && row.family == fused.family)
      return &row;
  }
  return nullptr;
}

constexpr int number_of_parts(const PartName& row) {
  int number = 0;
  for (const std::string_view part : row.parts) number += part.empty() ? 0 : 1;
  return number;
}

inline std::string canonical_name(const WeightName& weight) {
  const PartName& row = *weight.part;
  const char* suffix = row.naming == Naming::bare ? "" : weight.bias ? ".bias" : ".weight";
  return std::string(row.where.canonical) + std::string(row.part) + suffix;
}

/// The name of a part without suffix, with `#` and `*` in it. Canonical names have no `*`: all experts are one tensor.
inline std::string name_pattern(const PartName& row, Dialect dialect) {
  if (dialect == Dialect::canonical) return std::string(row.where.canonical) + std::string(row.part);
  return std::string(row.where.files.in(dialect)) + std::string(row.files.in(dialect));
}

/// `pattern` with `number` in place of `mark`.
inline std::string with_number(std::string_view pattern, char mark, int number) {
  const std::size_t at = pattern.find(mark);
  if (at == pattern.npos) return std::string(pattern);
  return std::string(pattern.substr(0, at)) + std::to_string(number) + std::string(pattern.substr(at + 1));
}

/// `pattern` with the layer's number in place of `#` and the expert's in place of `*`.
inline std::string with_numbers(std::string_view pattern, int layer, int expert) {
  return with_number(with_number(pattern, '#', layer), '*', expert);
}

/// The on-disk spelling of a tensor's name. Some transformers versions save the in-memory one: `model.` in front.
inline std::string published_name(std::string_view name) {
  constexpr std::string_view language = "model.language_model.";
  if (name.starts_with(language)) return "language_model.model." + std::string(name.substr(language.size()));
  if (name.starts_with("model.vision_tower.") || name.starts_with("model.multi_modal_projector."))
    return std::string(name.substr(std::string_view("model.").size()));
  if (name == "lm_head.weight") return "language_model.lm_head.weight";
  return std::string(name);
}

/// What a program of training put in front of all names of a folder: DDP, torch.compile, PEFT, or a class around the
/// model. Empty for names that begin as published, or as transformers has them in memory.
inline std::string wrapper_of(const std::vector<std::string>& names) {
  constexpr std::string_view wrappers[] = {"module.", "_orig_mod.", "base_model.model.", "model."};
  // `model.` is also how names in memory begin; these do not.
  constexpr std::string_view wrapped[] = {
      "language_model.model.", "language_model.lm_head.", "vision_model.", "mlp1.", "model.", "lm_head."};
  if (names.empty()) return {};
  std::string wrapper;
  const auto next = [&](std::string_view word) {
    const std::string longer = wrapper + std::string(word);
    const auto begins = [&](const std::string& name) { return name.starts_with(longer); };
    const auto is_wrapped = [&](const std::string& name) {
      return std::ranges::any_of(wrapped,
                                 [&](std::string_view begin) { return name.starts_with(longer + std::string(begin)); });
    };
    return std::ranges::all_of(names, begins) && (word != "model." || std::ranges::any_of(names, is_wrapped));
  };
  for (const auto* word = std::begin(wrappers); word != std::end(wrappers);) {
    if (!next(*word)) {
      ++word;
    } else {
      wrapper += *word;
      word = std::begin(wrappers);
    }
  }
  return wrapper;
}

}  // namespace ivl
