// The bodies of write_gguf.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "ivl/checkpoint/convert_tensors.hpp"
#include "ivl/checkpoint/gguf_weights.hpp"
#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/checkpoint/weight_parts.hpp"
#include "ivl/checkpoint/write_gguf.hpp"
#include "ivl/core/error.hpp"
#include "ivl/formats/gguf_mxfp4.hpp"
#include "ivl/formats/quantise.hpp"

namespace ivl {

namespace detail {

// ---- rows ----------------------------------------------------------------------------------------------------------
/// Rows of a file, from those of a matrix: of Llama's q and k the rows of a head take turns from its halves.
struct RowsToWrite {
  SourceMatrix matrix;
  std::int64_t half_head = 0;  ///< 0: the rows stay in order

  std::int64_t stored_row(std::int64_t row) const {
    if (half_head == 0) return row;
    const std::int64_t in_head = row % (2 * half_head);
    return row - in_head + in_head % 2 * half_head + in_head / 2;
  }
};

/// The codes of a folder's MXFP4 in the order of GGUF.
inline GgufMxfp4::Block repacked(const BlockCells& cells) {
  GgufMxfp4::Block block{};
  block.scale = std::to_integer<std::uint8_t>(*cells.at[1]);
  for (int k = 0; k < mxfp4_block; ++k) {
    const auto pair = std::to_integer<unsigned>(cells.at[0][k / 2]);
    block.codes[k % 16] |= std::uint8_t((pair >> k % 2 * 4 & 15) << k / 16 * 4);
  }
  return block;
}

inline std::vector<std::byte> rows_in(GgmlType type, const RowsToWrite& rows, std::int64_t first, std::int64_t count) {
  const SourceMatrix& matrix = rows.matrix;
  if (type == GgmlType::mxfp4 && matrix.format == Format::mxfp4) {
    std::vector<std::byte> bytes;
    for (std::int64_t row = first; row < first + count; ++row) {
      for (std::int64_t k = 0; k < matrix.in; k += mxfp4_block) {
        const GgufMxfp4::Block block = repacked(matrix.cells<Mxfp4>(rows.stored_row(row), k));
        const auto* begin = reinterpret_cast<const std::byte*>(&block);
        bytes.insert(bytes.end(), begin, begin + sizeof block);
      }
    }
    return bytes;
  }
  std::vector<float> floats(std::size_t(count * matrix.in));
  for (std::int64_t row = 0; row < count; ++row)
    dequantise_row(matrix, rows.stored_row(first + row), floats.data() + row * matrix.in);
  return quantise_rows(type, floats);
}

/// Some rows at a time, a few tasks for each thread.
inline void write_rows(ThreadPool& pool, GgmlType type, const RowsToWrite& rows, const ByteSink& write) {
  constexpr std::int64_t numbers_a_task = 1 << 18;
  const std::int64_t out = rows.matrix.out, at_once = std::max<std::int64_t>(1, numbers_a_task / rows.matrix.in);
  const auto tasks = std::size_t(4 * pool.threads());
  std::vector<std::vector<std::byte>> pieces;
  for (std::int64_t begin = 0; begin < out; begin += at_once * std::int64_t(tasks)) {
    pieces.assign(std::size_t(std::min<std::int64_t>(std::int64_t(tasks), ceil_div(out - begin, at_once))), {});
    pool.run(std::int64_t(pieces.size()), [&](std::int64_t task) {
      const std::int64_t first = begin + task * at_once;
      pieces[std::size_t(task)] = rows_in(type, rows, first, std::min(at_once, out - first));
    });
    for (const std::vector<std::byte>& piece : pieces) write(piece);
  }
}

// ---- what the tensors are made of ----------------------------------------------------------------------------------
/// Of a file's tensors those that mixtures are about; all others are F32.
inline bool is_mixture_matrix(std::string_view name, const Shape& shape) {
  if (shape.rank() < 2 || shape.rank() > 3 || !name.ends_with(".weight")) return false;
  return !name.ends_with("ffn_gate_inp.weight") && !name.ends_with("position_embd.weight");
}

}  // namespace detail

// ---- a folder ------------------------------------------------------------------------------------------------------
IVL_INLINE GgufTensors::GgufTensors(const std::filesystem::path& from, const CheckpointConfig& config,
                                    GgufMixture mixture, const LoadOptions& options)
    : config_(config), mixture_(mixture) {
  if (mixture == GgufMixture::mxfp4 && !config.vlm.decoder.sparse())
    fail<ConfigError>(config.where(from),
                      ": mxfp4 is for experts, and this model has none: expected another type, such as q4_k_m");
  if (config.gguf) {
    for (const auto& path : {config.gguf->model, config.gguf->mmproj}) files_.push_back(std::make_unique<Gguf>(path));
    tied_head_ = files_[0]->find("output.weight") == nullptr;
    for (const auto& file : files_) add_file(*file, options);
  } else {
    add_folder(from, options);
  }
}

IVL_INLINE std::vector<GgufTensorToWrite>& GgufTensors::file_of(const std::string& name) {
  return name.starts_with("v.") || name.starts_with("mm.") ? mmproj_ : model_;
}

IVL_INLINE GgmlType GgufTensors::type_of(const std::string& name, const Shape& shape, int layer) const {
  if (!detail::is_mixture_matrix(name, shape)) return GgmlType::f32;
  return type_in(mixture_, {.name = name,
                            .layer = layer,
                            .layers = config_.vlm.decoder.layers,
                            .in = shape[shape.rank() - 1],
                            .experts = shape.rank() == 3,
                            .tied_head = tied_head_,
                            .vision = name.starts_with("v.") || name.starts_with("mm.")});
}

IVL_INLINE void GgufTensors::add_folder(const std::filesystem::path& from, const LoadOptions& options) {
  folder_ = std::make_unique<FolderWeights>(from);
  const TensorSource source(*folder_);
  const Dialect dialect = dialect_of(config_.facts.format);
  const auto bind = [&](const std::vector<WeightSlot>& slots, const auto& note) {
    binding_ = bind_weights(slots, config_.facts, source);
    if (options.ignore_extra_tensors) leave_out_extra(binding_, note);
    if (const std::string differences = binding_differences(binding_); !differences.empty())
      fail<FileError>(from.string(), ": tensors cannot be written:", first_lines(differences));
  };
  bind(detail::slots_in(source, config_.facts, dialect, from.string(), options.ignore_extra_tensors), options.note);
  naming(from.string(),
         [&] { bind(detail::sized_slots(std::move(binding_), config_.vlm.decoder.moe.experts), nullptr); });
  tied_head_ = std::ranges::none_of(
      binding_.weights, [](const BoundWeight& weight) { return weight.slot.canonical == "language.head.weight"; });
  naming(from.string(), [&] {
    for (BoundWeight& weight : binding_.weights) add_weight(weight);
  });
}

IVL_INLINE void GgufTensors::add_weight(BoundWeight& weight) {
  const Family family = config_.facts.family;
  const WeightName target = find_weight(weight.slot.canonical, family, Dialect::gguf);
  const std::string suffix = target.part->naming == Naming::bare ? "" : target.bias ? ".bias" : ".weight";
  const auto parts = std::size_t(std::max(1, number_of_parts(*target.part)));
  for (std::size_t part = 0; part < parts; ++part) {
    const PartName& row = parts > 1 ? *find_part(*target.part, part, family, Dialect::gguf) : *target.part;
    const std::string name = with_numbers(name_pattern(row, Dialect::gguf), weight.slot.layer, 0) + suffix;
    const std::vector<SourceMatrix> matrices = detail::matrices_of_part(weight, part, parts);
    const Shape shape = detail::shape_of_part(weight, matrices);
    const bool stays = !detail::is_column(weight) && matrices[0].format == Format::mxfp4;
    const GgmlType type = stays ? GgmlType::mxfp4 : type_of(name, shape, weight.slot.layer);
    const bool turned = family == Family::internlm3 &&
                        (name.ends_with(".attn_q.weight") || name.ends_with(".attn_k.weight")) &&
                        name.starts_with("blk.");
    const std::int64_t half_head = turned ? config_.vlm.decoder.attention.head_dim / 2 : 0;
    const BoundWeight* source = &weight;
    file_of(name).push_back({name, type, shape, [=, this](const ByteSink& write) {
                               for (const SourceMatrix& matrix : detail::matrices_of_part(*source, part, parts))
                                 detail::write_rows(pool_, type, {matrix, half_head}, write);
                               for (const BoundPiece& piece : source->pieces) {
                                 for (const BoundTensor& plane : piece.planes) folder_->release(*plane.found);
                               }
                             }});
  }
}

// ---- a GGUF pair ---------------------------------------------------------------------------------------------------
IVL_INLINE void GgufTensors::add_file(const Gguf& file, const LoadOptions& options) {
  int again = 0;
  for (const std::string_view view : file.names()) {
    const std::string name(view);
    const GgufTensor& tensor = *file.find(name);
    const auto numbers = detail::match_name("blk.#.", name.substr(0, name.find('.', name.find('.') + 1) + 1));
    const bool stays = !detail::is_mixture_matrix(name, tensor.shape) || tensor.type == GgmlType::mxfp4;
    const GgmlType type = stays ? tensor.type : type_of(name, tensor.shape, numbers ? numbers->layer : -1);
    if (type == tensor.type) {
      file_of(name).push_back({name, type, tensor.shape, [&file, &tensor](const ByteSink& write) {
                                 write(tensor.bytes);
                                 file.release(tensor.bytes);
                               }});
      continue;
    }
    if (block_elements(tensor.type) > 1) ++again;
    TensorView rows = detail::view_of(tensor);
    const std::int64_t in = tensor.shape[tensor.shape.rank() - 1];
    rows.shape = {*elements_of(tensor.shape) / std::max<std::int64_t>(1, in), in};
    file_of(name).push_back({name, type, tensor.shape, [=, this, &file](const ByteSink& write) {
                               detail::write_rows(pool_, type, {source_matrix(rows)}, write);
                               file.release(rows.bytes);
                             }});
  }
  if (again > 0 && options.note)
    options.note(file.where() + ": " + std::to_string(again) +
                 " tensors were quantised before, and lose more by being quantised again");
}

}  // namespace ivl
