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
/// Who named the tensors: the two layouts of published folders, llama.cpp's converter, and this library, for weights
/// from memory.
enum class Dialect : std::uint8_t { github, hf, gguf, canonical };

constexpr Dialect dialect_of(FolderFormat format) {
  return format == FolderFormat::github ? Dialect::github : Dialect::hf;
}

/// Names of one thing in files; empty: files of that dialect do not have it as one tensor.
struct FileNames {
  std::string_view github, hf, gguf;

  constexpr std::string_view in(Dialect dialect) const {
    return dialect == Dialect::github ? github : dialect == Dialect::hf ? hf : gguf;
  }
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
  std::optional<Family> family{};    ///< whose files have it so; none: all
  std::optional<Dialect> dialect{};  ///< the same

  /// Whether files of this kind have the part as the row says.
  constexpr bool is_for(Family in_family, Dialect in_dialect) const {
    return family.value_or(in_family) == in_family && dialect.value_or(in_dialect) == in_dialect;
  }
};

// ---- the table ---------------------------------------------------------------------------------------------------
namespace names {

using enum Naming;
using enum ShardAxis;
using enum Transform;
using enum Family;

inline constexpr NamePrefix vit{"vision.", {"vision_model.embeddings.", "vision_tower.embeddings.", "v."}};
inline constexpr NamePrefix block{"vision.blocks.#.",
                                  {"vision_model.encoder.layers.#.", "vision_tower.encoder.layer.#.", "v.blk.#."}};
inline constexpr NamePrefix projector{"projector.", {"mlp1.", "multi_modal_projector.", "mm.model.mlp."}};
inline constexpr NamePrefix language{"language.", {"language_model.", "language_model.", ""}};
inline constexpr NamePrefix layer{"language.blocks.#.",
                                  {"language_model.model.layers.#.", "language_model.model.layers.#.", "blk.#."}};

inline constexpr FusedParts q_k_v{"q", "k", "v"}, gate_up{"gate", "up", ""},
    experts_gate_up{"experts.gate", "experts.up", ""}, one = one_part;
inline constexpr Dialect gguf = Dialect::gguf;

/// A name that both layouts of folders share, and GGUF's.
constexpr FileNames both(std::string_view folders, std::string_view in_gguf) { return {folders, folders, in_gguf}; }

/// HF names as published on disk; `published_name` maps the in-memory spelling of some saves to these. Of several rows
/// of one part the first that is for the files counts.
inline constexpr PartName table[] = {
    {vit, "patch_embedding", {"patch_embedding", "patch_embeddings.projection", "patch_embd"}},
    {vit, "class_token", {"class_embedding", "cls_token", "class_embd"}, bare},
    {vit, "positions", {"position_embedding", "position_embeddings", "position_embd.weight"}, bare},

    {block, "norm1", {"norm1", "layernorm_before", "ln1"}},
    {block, "qkv", {"attn.qkv", "", "attn_qkv"}, module, column, q_k_v},
    {block, "q", {"", "attention.q_proj", "attn_q"}, module, column},
    {block, "k", {"", "attention.k_proj", "attn_k"}, module, column},
    {block, "v", {"", "attention.v_proj", "attn_v"}, module, column},
    {block, "q_norm", {"attn.q_norm", "attention.q_norm", "attn_q_norm"}, module, column},
    {block, "k_norm", {"attn.k_norm", "attention.k_norm", "attn_k_norm"}, module, column},
    {block, "proj", {"attn.proj", "attention.projection_layer", "attn_out"}, module, row},
    {block, "layer_scale1", {"ls1", "lambda_1", "ls1.weight"}, bare},
    {block, "norm2", {"norm2", "layernorm_after", "ln2"}},
    {block, "fc1", both("mlp.fc1", "ffn_up"), module, column},
    {block, "fc2", both("mlp.fc2", "ffn_down"), module, row},
    {block, "layer_scale2", {"ls2", "lambda_2", "ls2.weight"}, bare},

    {projector, "norm", {"0", "layer_norm", "0"}},
    {projector, "fc1", {"1", "linear_1", "1"}, module, column},
    {projector, "fc2", {"3", "linear_2", "3"}, module, row},

    {language, "embedding", both("model.embed_tokens", "token_embd")},
    {language, "norm", both("model.norm", "output_norm")},
    {language, "head", both("lm_head", "output"), module, column},

    {layer, "norm1", both("input_layernorm", "attn_norm")},
    {layer, "qkv", {}, module, column, q_k_v},
    {layer, "q", both("self_attn.q_proj", "attn_q"), module, column},
    {layer, "k", both("self_attn.k_proj", "attn_k"), module, column},
    {layer, "v", both("self_attn.v_proj", "attn_v"), module, column},
    {layer, "q_norm", both("self_attn.q_norm", "attn_q_norm")},
    {layer, "k_norm", both("self_attn.k_norm", "attn_k_norm")},
    {layer, "sinks", both("self_attn.sinks", "attn_sinks.weight"), bare, column},
    {layer, "out", both("self_attn.o_proj", "attn_output"), module, row},
    {layer, "norm2", both("", "post_attention_norm"), module, none, one, as_is, gpt_oss, gguf},
    {layer, "norm2", both("post_attention_layernorm", "ffn_norm")},

    {layer, "gate_up", {}, module, column, gate_up},
    {layer, "gate", both("mlp.gate_proj", "ffn_gate"), module, column},
    {layer, "up", both("mlp.up_proj", "ffn_up"), module, column},
    {layer, "down", both("mlp.down_proj", "ffn_down"), module, row},

    {layer, "router", both("mlp.gate", "ffn_gate_inp"), module, none, one, as_is, qwen3_moe},
    {layer, "experts.gate_up", {}, module, expert, experts_gate_up, as_is, qwen3_moe},
    {layer, "experts.gate", both("mlp.experts.*.gate_proj", "ffn_gate_exps"), module, expert, one, as_is, qwen3_moe},
    {layer, "experts.up", both("mlp.experts.*.up_proj", "ffn_up_exps"), module, expert, one, as_is, qwen3_moe},
    {layer, "experts.down", both("mlp.experts.*.down_proj", "ffn_down_exps"), module, expert, one, as_is, qwen3_moe},

    {layer, "router", both("mlp.router", "ffn_gate_inp"), module, none, one, as_is, gpt_oss},
    {layer, "experts.gate_up", both("", "ffn_gate_up_exps"), module, expert, experts_gate_up, as_is, gpt_oss, gguf},
    {layer, "experts.gate", both("", "ffn_gate_exps"), module, expert, one, as_is, gpt_oss, gguf},
    {layer, "experts.up", both("", "ffn_up_exps"), module, expert, one, as_is, gpt_oss, gguf},
    {layer, "experts.down", both("", "ffn_down_exps"), module, expert, one, as_is, gpt_oss, gguf},
    {layer, "experts.gate_up", both("mlp.experts.gate_up_proj", ""), parameter, expert, one, transposed_interleaved,
     gpt_oss},
    {layer, "experts.down", both("mlp.experts.down_proj", ""), parameter, expert, one, transposed, gpt_oss},
};

}  // namespace names

// ---- how a weight is stored --------------------------------------------------------------------------------------
/// By which tensors a matrix is stored. What the scalars are (F32, BF16, F16) a tensor says itself.
enum class StoredAs : std::uint8_t {
  scalars,
  mxfp4,
  awq,
  f8_blocks,      ///< FP8 with a scale for each block of 128 x 128
  scaled,         ///< FP8 or int8 with a scale for each row or one for all; FP8 also as f8_blocks
  int4,           ///< compressed-tensors' pack-quantized: groups of 32 or 128 inputs
  int4_zeros,     ///< the same with zero points
  llm_int8,       ///< bitsandbytes
  llm_int8_rows,  ///< the same, with a tensor that says that rows are rows
};

/// The tensors ("planes") of one matrix are its name and these suffixes, in the order of the format's planes.
struct StoredForm {
  StoredAs as;
  Naming naming;
  int planes;
  std::array<std::string_view, 3> suffixes;
  unsigned marks = 0;  ///< a bit each: the planes that together tell the form from others; 0: any does
};

/// Of one naming the forms that say more come first; `scalars` is what is expected where nothing is found.
inline constexpr StoredForm stored_forms[] = {
    {StoredAs::awq, Naming::module, 3, {".qweight", ".scales", ".qzeros"}},
    {StoredAs::f8_blocks, Naming::module, 2, {".weight", ".weight_scale_inv"}, 0b10},
    {StoredAs::int4_zeros, Naming::module, 3, {".weight_packed", ".weight_scale", ".weight_zero_point"}, 0b101},
    {StoredAs::int4, Naming::module, 2, {".weight_packed", ".weight_scale"}, 0b1},
    {StoredAs::scaled, Naming::module, 2, {".weight", ".weight_scale"}, 0b10},
    {StoredAs::scaled, Naming::module, 2, {".weight", ".scale"}, 0b10},
    {StoredAs::llm_int8_rows, Naming::module, 3, {".weight", ".SCB", ".weight_format"}, 0b110},
    {StoredAs::llm_int8, Naming::module, 2, {".weight", ".SCB"}, 0b10},
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

/// What a canonical name with `#` in it means in files of a family and a dialect; `part` is null where they have
/// nothing of that name.
constexpr WeightName find_weight(std::string_view canonical, Family family, Dialect dialect) {
  for (const PartName& row : names::table) {
    if (!row.is_for(family, dialect) || !canonical.starts_with(row.where.canonical)) continue;
    std::string_view rest = canonical.substr(row.where.canonical.size());
    if (!rest.starts_with(row.part)) continue;
    rest.remove_prefix(row.part.size());
    if (row.naming == Naming::bare ? rest.empty() : rest == ".weight") return {&row, false};
    if (row.naming != Naming::bare && rest == ".bias") return {&row, true};
  }
  return {};
}

/// Part `number` of a fused weight; null where it has no row: such files never store it alone.
constexpr const PartName* find_part(const PartName& fused, std::size_t number, Family family, Dialect dialect) {
  for (const PartName& row : names::table) {
    if (row.is_for(family, dialect) && row.where.canonical == fused.where.canonical && row.part == fused.parts[number])
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
  if (name.starts_with("lm_head.")) return "language_model." + std::string(name);
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
