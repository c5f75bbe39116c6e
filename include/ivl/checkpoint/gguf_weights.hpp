// The tensors of a GGUF pair as a source of weights.
#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "ivl/checkpoint/gguf_files.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/facts/family.hpp"
#include "ivl/files/gguf.hpp"

namespace ivl {

/// Both files' tensors under their own names. Two things are put into the order of folders, and copied for it while
/// they are placed: q and k of Llama's kind, whose rows of a head take turns from its halves, and GPT-OSS's biases of
/// gate and up, which are one tensor of pairs there (`ffn_gate_up_exps.bias`).
class GgufWeights {
 public:
  /// Throws FileError.
  GgufWeights(const GgufFiles& files, Family family);
  GgufWeights(const GgufWeights&) = delete;
  GgufWeights& operator=(const GgufWeights&) = delete;

  std::vector<std::string> names() const;
  const TensorView* find(const std::string& name) const {
    const auto entry = views_.find(name);
    return entry == views_.end() ? nullptr : &entry->second;
  }
  void prepare(const TensorView& view) const;
  void release(const TensorView& view) const;

 private:
  /// A tensor whose bytes are made in `prepare`.
  struct Made {
    TensorView* view;
    std::size_t size;
    std::function<void(std::byte* to)> make;
    std::vector<std::byte> bytes = {};
  };

  void add(const Gguf& file);
  void add_made(TensorView& view, std::size_t size, std::function<void(std::byte* to)> make);
  void undo_turns(const std::string& name, int heads);
  void join_biases(const std::string& layer);

  Gguf model_, mmproj_;
  std::map<std::string, TensorView> views_;
  mutable std::unordered_map<const TensorView*, Made> made_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/gguf_weights.ipp"
#endif
