// Where the tensors that weights are bound to come from: a folder, a map in memory, or anything that finds tensors by
// name.
#pragma once
#include <concepts>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/files/safetensors.hpp"

namespace ivl {

/// Tensors by name, which someone owns for as long as weights are bound to them. Null: no tensor has that name.
template <class Source>
concept FindsTensors = requires(const Source& source, const std::string& name) {
  { source.find(name) } -> std::convertible_to<const TensorView*>;
};

/// Any such source, for code that is compiled once. It refers to the source.
class TensorSource {
 public:
  template <FindsTensors Source>
  TensorSource(const Source& source) : find_([&source](const std::string& name) { return source.find(name); }) {
    if constexpr (requires(const TensorView& view) { source.prepare(view); })
      prepare_ = [&source](const TensorView& view) { source.prepare(view); };
    if constexpr (requires(const TensorView& view) { source.release(view); })
      release_ = [&source](const TensorView& view) { source.release(view); };
    if constexpr (requires { source.names(); })
      names_ = [&source] {
        std::vector<std::string> names;
        for (const std::string& name : source.names()) names.push_back(name);
        return names;
      };
  }
  const TensorView* find(const std::string& name) const { return find_(name); }
  /// This tensor, which was found, is about to be read. A source may make its bytes only now.
  void prepare(const TensorView& view) const {
    if (prepare_) prepare_(view);
  }
  /// What was read of this tensor may leave memory.
  void release(const TensorView& view) const {
    if (release_) release_(view);
  }
  /// All names, where the source can tell.
  std::vector<std::string> names() const { return names_ ? names_() : std::vector<std::string>(); }

 private:
  std::function<const TensorView*(const std::string&)> find_;
  std::function<void(const TensorView&)> prepare_, release_;
  std::function<std::vector<std::string>()> names_;
};

/// A source that has nothing: a binding to it says what a model wants.
struct NoTensors {
  const TensorView* find(const std::string&) const { return nullptr; }
};

/// A user's own tensors by name. The bytes belong to somebody else and are read while they are placed, not later.
using TensorMap = std::map<std::string, TensorView>;

/// Such a map as a source.
struct MapSource {
  const TensorMap& tensors;

  std::vector<std::string> names() const;
  const TensorView* find(const std::string& name) const {
    const auto entry = tensors.find(name);
    return entry == tensors.end() ? nullptr : &entry->second;
  }
};

/// The tensors of a folder under their published names, whatever stands in front of all of them.
class FolderWeights {
 public:
  /// Throws FileError, also for two tensors that mean the same, and for a LoRA that was not merged.
  explicit FolderWeights(const std::filesystem::path& folder);
  std::vector<std::string> names() const;
  const TensorView* find(const std::string& name) const {
    const auto entry = views_.find(name);
    return entry == views_.end() ? nullptr : entry->second;
  }
  void release(const TensorView& view) const { files_.release(view); }

 private:
  Safetensors files_;
  std::map<std::string, const TensorView*> views_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/sources.ipp"
#endif
