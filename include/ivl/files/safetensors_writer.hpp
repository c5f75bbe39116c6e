// Writing safetensors files: tensors that are there, or that are made while they are written.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/files/byte_sink.hpp"

namespace ivl {

/// A tensor and its name, to be written.
struct NamedTensor {
  std::string name;
  TensorView view;
};

/// Writes `path` as the reference writer does: by falling alignment, then by name, so that every tensor is aligned.
/// Names and metadata are UTF-8. The file appears whole or not at all. Throws FileError where the disk refuses, Error
/// for tensors that no file can hold: a name twice, bytes that do not fit the shape.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

/// One tensor of a file to be. `write` is called once, when the tensor's turn comes, and hands over all bytes in order.
struct TensorToWrite {
  std::string name;
  Dtype dtype = Dtype::u8;
  Shape shape;
  std::function<void(const ByteSink& write)> write;

  /// Throws Error where they are no whole number below 2^63.
  std::int64_t bytes() const;
};

/// The same of tensors that are made while they are written. Throws Error also for a `write` that gives too many or too
/// few bytes.
void stream_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                        const std::map<std::string, std::string>& metadata = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/files/safetensors_writer.ipp"
#endif
