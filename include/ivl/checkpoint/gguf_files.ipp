// The bodies of gguf_files.hpp.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "ivl/checkpoint/gguf_files.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/gguf.hpp"

namespace ivl {

namespace detail {

/// Whether this is part k of a split file, and not the first.
inline bool is_later_part(const std::string& stem) {
  // NAME-00002-of-00003
  constexpr std::string_view pattern = "-00000-of-00000";
  if (stem.size() < pattern.size()) return false;
  const std::string_view end = std::string_view(stem).substr(stem.size() - pattern.size());
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '0' ? end[i] < '0' || end[i] > '9' : end[i] != pattern[i]) return false;
  }
  return end.substr(1, 5) != "00001";
}

inline bool is_mmproj(const std::filesystem::path& file) {
  return Gguf(file).get_or<std::string_view>("general.architecture", "") == "clip";
}

/// The language models and the mmprojs of a folder.
struct GgufFolder {
  std::vector<std::filesystem::path> models, mmprojs;

  explicit GgufFolder(const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
      if (entry->path().extension() == ".gguf" && !is_later_part(entry->path().stem().string()))
        files.push_back(entry->path());
    std::ranges::sort(files);
    for (const auto& file : files) (is_mmproj(file) ? mmprojs : models).push_back(file);
  }
};

inline std::string list_of(const std::vector<std::filesystem::path>& files) {
  std::string list;
  for (const auto& file : files) list += "\n  " + file.string();
  return first_lines(list);
}

}  // namespace detail

IVL_INLINE std::optional<GgufFiles> find_gguf(const std::filesystem::path& path, const std::filesystem::path& mmproj) {
  std::error_code ignored;
  const bool is_file = path.extension() == ".gguf" && std::filesystem::is_regular_file(path, ignored);
  const bool is_folder = std::filesystem::is_directory(path, ignored);
  if (!is_file && (!is_folder || std::filesystem::exists(path / "config.json", ignored))) {
    if (!mmproj.empty())
      fail<FileError>(path.string(), ": expected a GGUF file beside the mmproj ", mmproj.string(), ", found ",
                      is_folder ? "a folder of safetensors" : "none");
    return std::nullopt;
  }
  const std::filesystem::path folder = is_folder ? path : path.has_parent_path() ? path.parent_path() : ".";
  const detail::GgufFolder all(folder);
  if (is_folder && all.models.empty() && all.mmprojs.empty()) return std::nullopt;

  GgufFiles files{path, mmproj};
  if (is_folder) {
    if (all.models.size() != 1)
      fail<FileError>(folder.string(), ": expected one GGUF file of a language model, found ", all.models.size(),
                      all.models.empty() ? "" : ": give the path of one of these", detail::list_of(all.models));
    files.model = all.models[0];
  } else if (detail::is_mmproj(path)) {
    fail<FileError>(path.string(),
                    ": this is the mmproj, the tower and the projector: expected the file of the language model here, "
                    "and this one with --mmproj (LoadOptions::mmproj)");
  }
  if (files.mmproj.empty()) {
    if (all.mmprojs.size() != 1)
      fail<FileError>(files.model.string(), ": expected one mmproj (the tower and the projector) in its folder, found ",
                      all.mmprojs.size(), ": give one with --mmproj (LoadOptions::mmproj)",
                      detail::list_of(all.mmprojs));
    files.mmproj = all.mmprojs[0];
  }
  return files;
}

}  // namespace ivl
