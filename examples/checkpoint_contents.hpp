// What a checkpoint on disk holds: its structure, and of each kind of tensor how many there are in which format.
#pragma once
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/checkpoint/gguf_weights.hpp"
#include "ivl/checkpoint/name_reader.hpp"
#include "ivl/checkpoint/names.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/checkpoint/sources.hpp"
#include "ivl/config/published.hpp"
#include "ivl/cpu/place.hpp"
#include "ivl/formats/format.hpp"

struct TensorCount {
  int tensors = 0;
  std::int64_t bytes = 0;
};

struct CheckpointContents {
  ivl::CheckpointConfig config;
  std::string type = "none of the published";                         ///< by its structure
  std::map<std::pair<std::string, std::string>, TensorCount> counts;  ///< by kind and format
  std::int64_t bytes = 0;
  std::int64_t placed_bytes = 0;  ///< on the CPU
  std::int64_t token_bytes = 0;   ///< of these what one token reads: no tower, and the experts that it chooses

  CheckpointContents(const std::filesystem::path& path, const std::filesystem::path& mmproj)
      : config(ivl::read_checkpoint_config(path, mmproj)) {
    for (const ivl::PublishedCheckpoint& published : ivl::published_checkpoints) {
      if (published.config == config.vlm) type = published.type;
    }
    const ivl::detail::NameReader reader(config.gguf ? ivl::Dialect::gguf : ivl::dialect_of(config.facts.format),
                                         config.facts.family);
    if (config.gguf) {
      for (const auto& file : {config.gguf->model, config.gguf->mmproj}) {
        const ivl::Gguf tensors(file);
        for (const std::string_view name : tensors.names()) {
          const ivl::GgufTensor& tensor = *tensors.find(name);
          add(reader.read(name), std::string(ivl::name_of(tensor.type)), tensor.shape, tensor.bytes.size());
        }
      }
    } else {
      const ivl::FolderWeights tensors(path);
      for (const std::string& name : tensors.names()) {
        const ivl::TensorView& view = *tensors.find(name);
        add(reader.read(name), format_of(name, view), view.shape, view.bytes.size());
      }
    }
  }

  /// What one token behind `context` others reads, weights, keys and values.
  std::int64_t bytes_per_token(int context) const { return token_bytes + kv_bytes_per_token() * context; }
  std::int64_t kv_bytes_per_token() const { return ivl::kv_bytes_per_token(config.vlm.decoder); }

  nlohmann::ordered_json json() const {
    nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
    for (const auto& [key, count] : counts)
      tensors.push_back(
          {{"kind", key.first}, {"format", key.second}, {"tensors", count.tensors}, {"bytes", count.bytes}});
    return {{"type", type},
            {"family", std::string(ivl::name_of(config.facts.family))},
            {"layers", config.vlm.decoder.layers},
            {"context", config.facts.context_length},
            {"bytes", bytes},
            {"placed_bytes", placed_bytes},
            {"kv_bytes_per_token", kv_bytes_per_token()},
            {"tensors", tensors}};
  }

 private:
  /// Of planes that are words or bytes the format that they are part of.
  static std::string format_of(std::string_view name, const ivl::TensorView& view) {
    if (name.ends_with("_blocks") || name.ends_with("_scales")) return "mxfp4";
    if (name.ends_with(".qweight") || name.ends_with(".qzeros") || name.ends_with(".scales")) return "awq";
    std::string format(ivl::type_name(view));
    std::ranges::transform(format, format.begin(), [](unsigned char c) { return char(std::tolower(c)); });
    return format;
  }

  /// Weights in memory, of a tensor of `size` bytes: codes become panels.
  static std::int64_t placed_size(std::string_view format, std::string_view kind, const ivl::Shape& shape,
                                  std::int64_t size) {
    if (kind == "language.embedding" || shape.rank() < 2) return size;
    const std::int64_t in = shape[shape.rank() - 1],
                       out = ivl::elements_of(shape).value_or(0) / std::max<std::int64_t>(1, in);
    if (format == "f8_e4m3") return ivl::cpu::placed_bytes(ivl::Format::f8_rows, out, in);
    if (format == "i8") return ivl::cpu::placed_bytes(ivl::Format::i8_rows, out, in);
    if (format == "i32") return ivl::cpu::placed_bytes(ivl::Format::int4_by_128_f16, out, 8 * in);
    if (!format.starts_with("q") && !format.starts_with("iq")) return size;
    for (std::size_t i = 0; i < ivl::format_count; ++i) {
      if (ivl::name_of(ivl::Format(i)) == format) return ivl::cpu::placed_bytes(ivl::Format(i), out, in);
    }
    return size;
  }

  void add(const std::optional<ivl::detail::FileName>& name, const std::string& format, const ivl::Shape& shape,
           std::size_t size) {
    std::string kind = "others";
    if (name && (name->bias || shape.rank() < 2))
      kind = "vectors";
    else if (name)
      kind = std::string(name->row->where.canonical) + std::string(name->row->part);
    TensorCount& count = counts[{kind, format}];
    ++count.tensors;
    count.bytes += std::int64_t(size);
    bytes += std::int64_t(size);
    const std::int64_t placed = placed_size(format, kind, shape, std::int64_t(size));
    placed_bytes += placed;
    if (!name || !name->row->where.canonical.starts_with("language.")) return;
    if (name->row->part == "embedding" && !config.facts.tied_head) return;  // one row of it
    const ivl::MoeConfig& moe = config.vlm.decoder.moe;
    const bool chosen = name->row->part.starts_with("experts.");
    token_bytes += chosen ? placed * moe.active / std::max(1, moe.experts) : placed;
  }
};
