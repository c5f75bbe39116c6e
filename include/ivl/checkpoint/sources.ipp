// The bodies of sources.hpp.
#pragma once
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ivl/checkpoint/folder.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

IVL_INLINE std::vector<std::string> MapSource::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : tensors) names.push_back(name);
  return names;
}

IVL_INLINE FolderWeights::FolderWeights(const std::filesystem::path& folder)
    : files_((check_weight_files(folder), folder)) {
  const std::vector<std::string> stored(files_.names().begin(), files_.names().end());
  for (const std::string& name : stored) {
    for (const char* trained : {".lora_A.", ".base_layer."}) {
      if (name.find(trained) != name.npos)
        fail<FileError>(folder.string(), ": the folder holds a model whose LoRA was not merged (", name,
                        "): merge it with the program that trained it, or with merge_and_unload() of PEFT");
    }
  }
  const std::size_t wrapper = wrapper_of(stored).size();
  std::map<std::string, std::string> meant;
  for (const std::string& name : stored) {
    const auto [entry, is_new] = meant.emplace(published_name(name.substr(wrapper)), name);
    if (!is_new)
      fail<FileError>(folder.string(), ": the tensor ", entry->first, " is stored twice, as ", entry->second,
                      " and as ", name);
    views_.emplace(entry->first, files_.find(name));
  }
}

IVL_INLINE std::vector<std::string> FolderWeights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : views_) names.push_back(name);
  return names;
}

}  // namespace ivl
