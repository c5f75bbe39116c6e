// The bodies of sources.hpp.
#pragma once
#include <filesystem>
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
  for (const std::string& name : files_.names()) {
    const auto [entry, is_new] = views_.emplace(published_name(name), files_.find(name));
    if (!is_new)
      fail<FileError>(folder.string(), ": the tensor ", entry->first, " is stored twice, once with the prefix model.");
  }
}

IVL_INLINE std::vector<std::string> FolderWeights::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : views_) names.push_back(name);
  return names;
}

}  // namespace ivl
