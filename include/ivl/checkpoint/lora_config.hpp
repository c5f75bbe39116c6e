// adapter_config.json of PEFT. lora.ipp alone includes this, so its bodies stay here.
#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <string_view>

#include "ivl/checkpoint/config_reader.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/json.hpp"

namespace ivl::detail {

/// What says nothing about the product B A: where the adapter came from and how it was trained.
inline constexpr std::string_view lora_keys_of_training[] = {
    "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_version",
    "lora_dropout", "loftq_config", "eva_config", "megatron_core",
    // Which modules: the tensors say that themselves.
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save",
    "ensure_weight_tying",
    "fan_in_fan_out",    // all modules here are nn.Linear, for which PEFT itself takes it as false
    "qalora_group_size"  // of use_qalora
};
inline constexpr std::string_view lora_keys_obeyed[] = {
    "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "bias", "init_lora_weights"};

/// What is read of it.
class LoraConfig {
 public:
  /// Throws FileError, and ConfigError for an adapter that is not a plain LoRA.
  explicit LoraConfig(const std::filesystem::path& path) : where_(path.string()) {
    const Json document = read_json(path);
    const ConfigReader reader(document, where_);
    if (const auto type = reader.get<std::string>("peft_type"); type != "LORA") refuse("peft_type", "LORA", type);
    if (const auto bias = reader.get_or<std::string>("bias", "none"); bias != "none") refuse("bias", "none", bias);
    check_initialisation(document);
    for (const auto& [key, value] : document.items()) {
      if (!is_known(key) && is_set(value)) refuse(key, "nothing", describe(value));
    }
    rank_ = reader.size("r");
    alpha_ = reader.get<double>("lora_alpha");
    by_root_ = reader.get_or("use_rslora", false);
    read_pattern(document, "rank_pattern", ranks_);
    read_pattern(document, "alpha_pattern", alphas_);
  }

  /// What B A is multiplied by. `module` is the name that PEFT knew the module by, `rank` the rows of A. Throws
  /// FileError where the rank is another than the file says.
  float scale(const std::string& module, std::int64_t rank) const {
    const double expected = find(ranks_, module).value_or(rank_);
    if (double(rank) != expected)
      fail<FileError>(where_, ": ", module, ": expected the rank ", expected, ", found ", rank, " rows of lora_A");
    const double alpha = find(alphas_, module).value_or(alpha_);
    return float(alpha / (by_root_ ? std::sqrt(double(rank)) : double(rank)));
  }

 private:
  struct Pattern {
    std::regex expression;
    double value;
  };

  static bool is_known(const std::string& key) {
    const auto has = [&](const auto& keys) {
      return std::find(std::begin(keys), std::end(keys), key) != std::end(keys);
    };
    return has(lora_keys_of_training) || has(lora_keys_obeyed);
  }
  static bool is_set(const Json& value) { return !(value.is_null() || value.empty() || value == Json(false)); }

  [[noreturn]] void refuse(std::string_view key, std::string_view expected, std::string_view found) const {
    fail<ConfigError>(
        where_, ": ", key, ": expected ", expected, ", found ", found,
        ". Only plain LoRA can be merged here: merge the adapter with merge_and_unload() of PEFT and give "
        "that folder");
  }

  /// Some start from another base than the folder's, changed by the adapter's starting values.
  void check_initialisation(const Json& document) const {
    const Json* start = find_field(document, "init_lora_weights", where_);
    if (start == nullptr || start->is_boolean()) return;
    const auto name = json_as<std::string>(*start, member_place(where_, "init_lora_weights"));
    for (const std::string_view known : {"gaussian", "eva", "orthogonal"}) {
      if (name == known) return;
    }
    refuse("init_lora_weights", "one that leaves the base as it is", name);
  }

  void read_pattern(const Json& document, const char* key, std::vector<Pattern>& to) const {
    const Json* patterns = find_field(document, key, where_);
    if (patterns == nullptr) return;
    for (const auto& [expression, value] : object_field(document, key, where_).items()) {
      const std::string place = member_place(member_place(where_, key), in_quotes(expression));
      try {
        // PEFT's rule: the whole name, or the end of it after a dot.
        to.push_back({std::regex("(?:.*\\.)?(?:" + expression + ")"), json_as<double>(value, place)});
      } catch (const std::regex_error&) {
        fail<FileError>(place, ": expected a regular expression without the extensions of Python, found another");
      }
    }
  }

  /// Of the first expression that matches, in the order in which PEFT writes them: sorted.
  static std::optional<double> find(const std::vector<Pattern>& patterns, const std::string& module) {
    for (const Pattern& pattern : patterns) {
      if (std::regex_match(module, pattern.expression)) return pattern.value;
    }
    return std::nullopt;
  }

  std::string where_;
  int rank_ = 0;
  double alpha_ = 0;
  bool by_root_ = false;
  std::vector<Pattern> ranks_, alphas_;
};

}  // namespace ivl::detail
