// The tensors of a checkpoint as the files of a GGUF pair will have them.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/gguf_mixture.hpp"
#include "ivl/checkpoint/load_options.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/files/gguf.hpp"
#include "ivl/files/gguf_writer.hpp"

namespace ivl {

/// The tensors of a folder or a GGUF pair, each in the type that a mixture gives it: matrices in blocks, and all else
/// in F32. Experts that are stored in MXFP4 keep their codes in every mixture. Of a GGUF pair a tensor that has its
/// type already keeps its bytes. The tensors are read while they are written, some rows at a time, by all CPUs.
class GgufTensors {
 public:
  /// `from` was read as `config`. Throws FileError, and ConfigError for a mixture that the model cannot have.
  GgufTensors(const std::filesystem::path& from, const CheckpointConfig& config, GgufMixture mixture,
              const LoadOptions& options);
  GgufTensors(const GgufTensors&) = delete;
  GgufTensors& operator=(const GgufTensors&) = delete;

  std::span<const GgufTensorToWrite> model() const { return model_; }
  std::span<const GgufTensorToWrite> mmproj() const { return mmproj_; }

 private:
  void add_folder(const std::filesystem::path& from, const LoadOptions& options);
  void add_weight(BoundWeight& weight);
  void add_file(const Gguf& file, const LoadOptions& options);
  GgmlType type_of(const std::string& name, const Shape& shape, int layer) const;
  std::vector<GgufTensorToWrite>& file_of(const std::string& name);

  const CheckpointConfig& config_;
  GgufMixture mixture_;
  bool tied_head_ = false;
  ThreadPool pool_;
  std::unique_ptr<FolderWeights> folder_;
  Binding binding_;
  std::vector<std::unique_ptr<Gguf>> files_;
  std::vector<GgufTensorToWrite> model_, mmproj_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/checkpoint/write_gguf.ipp"
#endif
