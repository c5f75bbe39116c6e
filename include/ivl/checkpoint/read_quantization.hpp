// How the weights of a folder say that they are quantised. Which tensors are, the tensors themselves say: here is
// looked only whether the way is one that is read. read_config.ipp alone includes this, so its bodies stay here.
#pragma once
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/config_reader.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/facts/family.hpp"
#include "ivl/files/json.hpp"

namespace ivl::detail {

struct QuantMethod {
  std::string_view name, meaning;
};

/// What people bring and cannot be read. A method that is not here is named as the file names it.
inline constexpr QuantMethod refused_methods[] = {
    {"gptq", "GPTQ (integers of 2 to 8 bits in groups)"},
    {"bitsandbytes", "bitsandbytes in 4 bits (nf4 or fp4)"},
    {"fbgemm_fp8", "FP8 (fbgemm)"},
    {"mxfp4", "MXFP4, which is known for the experts of GPT-OSS alone"},
    {"modelopt", "modelopt (FP8 or NVFP4)"},
    {"torchao", "torchao"},
};

[[noreturn]] inline void fail_quantised(const std::string& where, std::string_view method) {
  std::string meaning = in_quotes(method);
  for (const QuantMethod& known : refused_methods) {
    if (known.name == method) meaning = known.meaning;
  }
  fail<ConfigError>(where, ": the weights of this folder are quantised: ", meaning,
                    ". Such weights cannot be loaded: use the folder of the model that they were made from, in bf16, "
                    "or one in AWQ, FP8 or GGUF");
}

/// A string that must be one of some; `otherwise` where the file leaves it out.
inline std::string one_of(const ConfigReader& reader, std::string_view key, std::string_view otherwise,
                          std::initializer_list<std::string_view> known) {
  const auto found = reader.get_or<std::string>(key, std::string(otherwise));
  if (std::ranges::find(known, found) != known.end()) return found;
  std::string all;
  for (const std::string_view name : known) all += (all.empty() ? "" : " or ") + std::string(name);
  reader.refuse(key, all, found);
}

/// An object or a value that would change what the weights mean.
inline void expect_none(const ConfigReader& reader, std::string_view key) {
  const Json found = reader.get_or<Json>(key, nullptr);
  if (!found.is_null() && !found.empty()) reader.refuse(key, "none", found.dump());
}

inline void check_awq(const ConfigReader& reader) {
  reader.expect("bits", 4);
  reader.expect("group_size", 128);
  reader.expect("zero_point", true);
  auto version = reader.get_or<std::string>("version", "gemm");
  std::ranges::transform(version, version.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  if (version != "gemm") reader.refuse("version", "gemm", version);
}

/// Where it is said at all.
inline void expect_f8_block(const ConfigReader& reader, std::string_view key) {
  if (!reader.has(key)) return;
  if (const auto block = reader.get<std::vector<int>>(key); block != std::vector{128, 128})
    reader.refuse(key, "[128,128]", Json(block).dump());
}

inline void check_fp8(const ConfigReader& reader) {
  reader.expect<std::string>("fmt", "e4m3");
  one_of(reader, "activation_scheme", "dynamic", {"dynamic", "static"});
  expect_f8_block(reader, "weight_block_size");
}

/// `weights` of one of compressed-tensors' groups, which are stored in `format`.
inline void check_scheme(const ConfigReader& weights, std::string_view format) {
  const auto type = weights.get_or<std::string>("type", "int");
  const bool packed = format == "pack-quantized";
  const bool fits = packed                        ? type == "int"
                    : format == "int-quantized"   ? type == "int"
                    : format == "float-quantized" ? type == "float"
                                                  : type == "int" || type == "float";
  if (!fits) weights.refuse("type", format == "float-quantized" ? "float" : "int", type);
  weights.expect("num_bits", packed ? 4 : 8);
  weights.expect("dynamic", false);
  if (!packed) {
    weights.expect("symmetric", true);
    const auto strategy = type == "float" ? one_of(weights, "strategy", "tensor", {"channel", "tensor", "block"})
                                          : one_of(weights, "strategy", "tensor", {"channel", "tensor"});
    if (strategy == "block") expect_f8_block(weights, "block_structure");
    return;
  }
  one_of(weights, "strategy", "group", {"group"});
  if (const int group = weights.get<int>("group_size"); group != 32 && group != 128)
    weights.refuse("group_size", "32 or 128", std::to_string(group));
  if (const Json order = weights.get_or<Json>("actorder", nullptr);
      !order.is_null() && order != false && order != "static" && order != "weight")
    weights.refuse("actorder", "static or none", order.dump());
}

inline void check_compressed_tensors(const Json& quantised, const ConfigReader& reader, const std::string& where) {
  for (const char* key : {"kv_cache_scheme", "sparsity_config", "transform_config", "moe_sparsity_config"})
    expect_none(reader, key);
  reader.expect<std::string>("quantization_status", "compressed");
  const std::initializer_list<std::string_view> known = {"int-quantized", "float-quantized", "naive-quantized",
                                                         "pack-quantized"};
  const auto overall = reader.get<std::string>("format");
  if (overall != "mixed-precision") one_of(reader, "format", "", known);
  const std::string groups_place = member_place(where, "config_groups");
  for (const auto& [name, group] : object_field(quantised, "config_groups", where).items()) {
    const ConfigReader scheme(group, member_place(groups_place, name));
    if (!scheme.has("weights")) continue;
    check_scheme(scheme.inner("weights"), one_of(scheme, "format", overall, known));
  }
}

/// Throws ConfigError where `quantization_config` of config.json, or of a config in it, says that weights are stored in
/// a way that is not read.
inline void check_quantization(const Json& document, const std::string& where, Family family) {
  const auto check = [&](const Json& config, const std::string& place) {
    const Json* quantised = find_field(config, "quantization_config", place);
    if (quantised == nullptr) return;
    const std::string inner = member_place(place, "quantization_config");
    const ConfigReader reader(*quantised, inner);
    const auto method = reader.get_or<std::string>("quant_method", "unknown");
    if (method == "mxfp4" && family == Family::gpt_oss) return;
    if (method == "awq") return check_awq(reader);
    if (method == "fp8") return check_fp8(reader);
    if (method == "compressed-tensors") return check_compressed_tensors(*quantised, reader, inner);
    if (method == "smooth_quant") {
      one_of(reader, "quant_dtype", "int8", {"int8", "float8_e4m3fn"});
      return;
    }
    if (method == "bitsandbytes" && reader.get_or("load_in_8bit", false)) return;
    fail_quantised(inner, method);
  };
  check(document, where);
  for (const char* key : {"llm_config", "text_config", "vision_config"}) {
    if (const Json* config = find_field(document, key, where)) check(*config, member_place(where, key));
  }
}

/// The same about the files that other tools write beside config.json.
inline void check_quantization_files(const std::filesystem::path& folder) {
  const auto check = [&](const char* name, std::string_view object, std::string_view key, std::string_view otherwise) {
    const std::filesystem::path path = folder / name;
    if (!std::filesystem::exists(path)) return;
    const Json document = read_json(path);
    const Json* inner = object.empty() ? &document : find_field(document, object, path.string());
    fail_quantised(path.string(), inner == nullptr
                                      ? std::string(otherwise)
                                      : field_or<std::string>(*inner, key, std::string(otherwise), path.string()));
  };
  check("quantize_config.json", "", "quant_method", "gptq");
  check("hf_quant_config.json", "quantization", "quant_algo", "modelopt");
}

}  // namespace ivl::detail
