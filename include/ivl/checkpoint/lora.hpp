// The weights of a folder with a LoRA adapter merged into them, as PEFT saves adapters. Nothing is written: a merged
// tensor lives from `prepare` to `release`.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/files/safetensors.hpp"

namespace ivl {

/// A base and an adapter as one source. W becomes W + scale B A, with scale = alpha / r, or alpha / sqrt(r) of rsLoRA:
/// each sum over r in float, in order and by fused multiply-adds, then its product with the scale, then the sum with W,
/// which is rounded once to W's type. That is merge_and_unload() of PEFT on a CPU to the bit, the adapter in float as
/// PEFT loads it, and the base in its own type. Modules that were saved whole replace the base's.
///
/// The adapter's names may be those of either published format, or transformers' in memory, whatever the base has; q, k
/// and v of the tower may be one matrix in one and three in the other.
class MergedWeights {
 public:
  /// Looks at everything but the numbers. Refers to `base`. Throws FileError, also for a tensor of the adapter that is
  /// none of the model's, and ConfigError for an adapter that is not a plain LoRA.
  MergedWeights(const FolderWeights& base, const std::filesystem::path& adapter, const ModelFacts& facts);
  MergedWeights(const MergedWeights&) = delete;
  MergedWeights& operator=(const MergedWeights&) = delete;

  std::vector<std::string> names() const;
  /// A tensor that is merged has a type and a shape, and its bytes from `prepare` on.
  const TensorView* find(const std::string& name) const;
  void prepare(const TensorView& view) const;
  void release(const TensorView& view) const;

 private:
  /// What is added to some rows of a tensor.
  struct Term {
    TensorView a, b;  ///< [r, in], [out, r]
    std::int64_t first_row = 0, first_row_of_b = 0, rows = 0;
    float scale = 0;
  };
  struct Merged {
    TensorView base, view;
    std::vector<Term> terms;
    std::vector<std::byte> bytes;
  };

  void merge(Merged& merged) const;

  const FolderWeights& base_;
  Safetensors adapter_;
  std::map<std::string, TensorView> replaced_;
  mutable std::map<std::string, Merged> merged_;
  std::unordered_map<const TensorView*, Merged*> by_view_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/lora.ipp"
#endif
