// What a caller may ask of loading a folder.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "ivl/checkpoint/progress.hpp"

namespace ivl {

/// In which form weights of floats are loaded.
enum class LoadAs : std::uint8_t {
  stored,
  int8,  ///< LLM.int8, as bitsandbytes' load_in_8bit makes them (checkpoint/int8_weights.hpp)
};

struct LoadOptions {
  ProgressCallback progress = {};
  /// Tensors that are no weights of the model are left out, whatever they are. Without this only the harmless ones are
  /// (checkpoint/extra_tensors.hpp), and any other is an error.
  bool ignore_extra_tensors = false;
  /// Folder of a LoRA adapter, which is merged into the weights while they are placed (checkpoint/lora.hpp).
  std::filesystem::path lora = {};
  /// Of a GGUF file the tower and the projector, where they do not lie beside it (checkpoint/gguf_files.hpp).
  std::filesystem::path mmproj = {};
  LoadAs load_as = LoadAs::stored;
  /// Receives what there is to say about the folder, such as what was left out.
  std::function<void(const std::string&)> note = {};
};

}  // namespace ivl
