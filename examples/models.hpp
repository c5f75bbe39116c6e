// The models that examples open. Each backend instantiates all checkpoints once, in a file of its own, and every
// example links that.
#pragma once
#include <filesystem>
#include <string>

#include "ivl/checkpoint/load_options.hpp"
#include "ivl/model/any_model.hpp"

/// What a program's flags say about the model.
struct ModelChoice {
  std::filesystem::path checkpoint = {};
  int threads = 1;             ///< of the host
  bool in_float = false;       ///< activations, keys and values in float: to compare with a reference
  bool int8_products = false;  ///< of activations and weights; CPU only
  int kv_tokens = 0;           ///< that will be made room for: the device's memory is checked before weights are read
};

/// These throw ivl::Error. `device` receives what there is to say about it.
ivl::AnyModel open_on_cpu(const ModelChoice& choice, const ivl::LoadOptions& options, std::string& device);
ivl::AnyModel open_on_cuda(const ModelChoice& choice, const ivl::LoadOptions& options, std::string& device);

/// In a file of its own, since few programs want it.
ivl::AnyModel open_on_cpu_in_float(const ModelChoice& choice, const ivl::LoadOptions& options);
