// The bodies of folder.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "ivl/checkpoint/folder.hpp"
#include "ivl/core/error.hpp"

namespace ivl {

namespace detail {

namespace fs = std::filesystem;

/// Plain names of the entries, sorted; none if the folder cannot be listed.
inline std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  std::ranges::sort(names);
  return names;
}

/// The first name that ends so; empty if none does.
inline std::string find_ending(const std::vector<std::string>& names, std::string_view ending) {
  const auto found = std::ranges::find_if(names, [&](const std::string& name) { return name.ends_with(ending); });
  return found == names.end() ? "" : *found;
}

// ---- the hub's cache ---------------------------------------------------------------------------------------------
// hub/models--<owner>--<name>/ holds snapshots/<commit>/, which are checkpoint folders, and refs/main with a commit.

/// The snapshot of a repository's folder in the cache: the one that refs/main names, else any; nothing if it has none.
inline std::optional<fs::path> snapshot_in(const fs::path& repository) {
  std::string commit;
  std::ifstream(repository / "refs" / "main") >> commit;
  std::error_code ignored;
  if (!commit.empty() && fs::is_directory(repository / "snapshots" / commit, ignored))
    return repository / "snapshots" / commit;
  const auto commits = names_in(repository / "snapshots");
  if (commits.empty()) return std::nullopt;
  return repository / "snapshots" / commits.back();
}

/// Where the hub's clients keep what they download.
inline fs::path hub_cache() {
  if (const char* cache = std::getenv("HF_HUB_CACHE")) return cache;
  if (const char* home = std::getenv("HF_HOME")) return fs::path(home) / "hub";
  const char* home = std::getenv("HOME");
  return fs::path(home ? home : "/") / ".cache" / "huggingface" / "hub";
}

/// owner/name, as the hub calls its repositories.
inline bool is_hub_name(const std::string& path) {
  const auto slash = path.find('/');
  return slash != path.npos && slash > 0 && slash + 1 < path.size() && path.find('/', slash + 1) == path.npos &&
         path[0] != '.' && path[0] != '~';
}

[[noreturn]] inline void fail_missing(const fs::path& folder) {
  const std::string path = folder.string();
  if (path.starts_with("~"))
    fail<FileError>(path, ": no such folder; only a shell knows what ~ is: write the whole path");
  if (!is_hub_name(path)) fail<FileError>(path, ": no such folder");
  std::string entry = "models--" + path;
  entry.replace(entry.find('/'), 1, "--");
  if (const auto snapshot = snapshot_in(hub_cache() / entry))
    fail<FileError>(path, ": no such folder. A copy of that hub repository is here: ", snapshot->string());
  fail<FileError>(path,
                  ": no such folder. If it is the name of a hub repository, download that first and give its folder:\n"
                  "hf download ",
                  path, " --local-dir FOLDER");
}

[[noreturn]] inline void fail_file(const fs::path& file) {
  fail<FileError>(file.string(), ": expected the folder of a checkpoint, found a file; its folder is ",
                  file.has_parent_path() ? file.parent_path().string() : ".");
}

[[noreturn]] inline void fail_adapter(const std::string& folder) {
  fail<FileError>(folder,
                  ": this is a LoRA adapter alone: give the folder of its base model, and this one with --lora "
                  "(LoadOptions::lora)");
}

/// A folder that has no config.json.
[[noreturn]] inline void fail_without_config(const fs::path& folder, const std::vector<std::string>& names) {
  const std::string path = folder.string();
  if (const auto snapshot = snapshot_in(folder))
    fail<FileError>(path, ": this is a folder of the hub's cache; the checkpoint in it is ", snapshot->string());
  std::string inside;
  std::error_code ignored;
  for (const std::string& name : names) {
    const fs::path inner = folder / name;
    if (fs::exists(inner / "config.json", ignored)) inside += "\n  " + inner.string();
    if (const auto snapshot = snapshot_in(inner)) inside += "\n  " + snapshot->string();
  }
  if (!inside.empty()) fail<FileError>(path, ": no config.json here, but in these folders:", inside);
  const auto has = [&](std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  if (has("adapter_config.json")) fail_adapter(path);
  if (names.empty()) fail<FileError>(path, ": the folder is empty: expected config.json, a tokenizer and safetensors");
  fail<FileError>(path, ": expected config.json, a tokenizer and safetensors; found no config.json");
}

/// A clone without git-lfs has small texts in place of large files.
inline void check_pointers(const fs::path& folder, const std::vector<std::string>& names) {
  constexpr std::string_view first = "version https://git-lfs.github.com/spec/";
  for (const std::string& name : names) {
    const fs::path path = folder / name;
    std::error_code error;
    if (!fs::is_regular_file(path, error) || fs::file_size(path, error) > 1024 || error) continue;
    std::array<char, first.size()> begin{};
    std::ifstream(path, std::ios::binary).read(begin.data(), std::streamsize(begin.size()));
    if (std::string_view(begin.data(), begin.size()) == first)
      fail<FileError>(path.string(),
                      ": this is a git-lfs pointer, not the file that it stands for: run `git lfs pull` in the folder, "
                      "or download it with the hub's client");
  }
}

}  // namespace detail

IVL_INLINE void check_folder(const std::filesystem::path& folder) {
  std::error_code error;
  const auto status = std::filesystem::status(folder, error);
  if (status.type() == std::filesystem::file_type::not_found) detail::fail_missing(folder);
  if (error) fail<FileError>(folder.string(), ": cannot look into it: ", error.message());
  if (status.type() != std::filesystem::file_type::directory) detail::fail_file(folder);
  std::filesystem::directory_iterator(folder, error);
  if (error) fail<FileError>(folder.string(), ": cannot list the folder: ", error.message());
  const auto names = detail::names_in(folder);
  if (std::ranges::find(names, "config.json") == names.end()) detail::fail_without_config(folder, names);
  detail::check_pointers(folder, names);
}

IVL_INLINE void check_adapter_folder(const std::filesystem::path& folder) {
  const auto names = detail::names_in(folder);
  const auto has = [&](std::string_view name) { return std::ranges::find(names, name) != names.end(); };
  if (has("adapter_config.json") && has("adapter_model.safetensors")) return detail::check_pointers(folder, names);
  if (has("adapter_config.json") && has("adapter_model.bin"))
    fail<FileError>(folder.string(),
                    ": expected adapter_model.safetensors, found adapter_model.bin: save it again with "
                    "safe_serialization=True");
  fail<FileError>(folder.string(),
                  ": expected the folder of a LoRA adapter, with adapter_config.json and adapter_model.safetensors");
}

IVL_INLINE void check_weight_files(const std::filesystem::path& folder) {
  const auto names = detail::names_in(folder);
  const auto is_whole = [](const std::string& name) {
    return name.ends_with(".safetensors.index.json") ||
           (name.ends_with(".safetensors") && name != "adapter_model.safetensors");
  };
  if (!detail::find_ending(names, "adapter_model.safetensors").empty() && std::ranges::none_of(names, is_whole))
    detail::fail_adapter(folder.string());
  if (!detail::find_ending(names, ".safetensors").empty() ||
      !detail::find_ending(names, ".safetensors.index.json").empty())
    return;
  for (const std::string_view ending : {".bin", ".pt", ".pth", ".gguf", ".ckpt", ".h5", ".msgpack", ".onnx"}) {
    if (const std::string name = detail::find_ending(names, ending); !name.empty())
      fail<FileError>(folder.string(), ": expected weights as safetensors, found ", name,
                      ending == ".gguf" ? ": a folder of GGUF files has no config.json, which is in those files"
                                        : ": save them again with safe_serialization=True, or download the "
                                          "repository's safetensors");
  }
  fail<FileError>(
      folder.string(),
      ": expected model.safetensors or model.safetensors.index.json and its shards, found no weights at all");
}

}  // namespace ivl
