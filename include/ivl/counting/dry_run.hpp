// A context that computes nothing. Weights placed in it have sizes and no memory, so that a model of any size can be
// walked through; activations and tables have the host's memory, which nobody touches but to write the tables.
// Its ops are those of `Counting<DryRun>` (counting.hpp).
#pragma once
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "ivl/core/buffer.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/facts/attention_shape.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/outline.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

struct DryRun {
  struct Recordings {};
  ThreadPool pool{1};
};

inline ThreadPool& host_pool(DryRun& ctx) { return ctx.pool; }
inline Memory allocate(DryRun&, std::size_t bytes) {
  auto buffer = std::make_shared<Buffer>(bytes);
  std::byte* data = buffer->data();
  return {std::move(buffer), data, bytes};
}
inline void copy(DryRun&, void*, const void*, std::size_t) {}
inline void upload(DryRun&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}
inline void download(DryRun&, void* to, const void* from, std::size_t bytes) {
  if (bytes != 0) std::memcpy(to, from, bytes);
}

namespace detail {
inline Memory without_data(std::span<const TensorView> parts) {
  Memory memory;
  for (const TensorView& part : parts) memory.bytes += part.bytes.size();
  return memory;
}
}  // namespace detail

// Views need shapes and sizes alone; their bytes are not read. `Memory::bytes` is what the views have.
inline PlacedMatrix place_matrix(DryRun&, std::span<const TensorView> parts, Fusion fusion) {
  PlacedMatrix w = outline_matrix(parts, fusion);
  w.memory = detail::without_data(parts);
  return w;
}
inline PlacedVector place_vector(DryRun&, std::span<const TensorView> parts) {
  return {vector_width(parts), detail::without_data(parts)};
}
inline PlacedTable place_table(DryRun&, const TensorView& view) {
  return {placeable(view), view.shape[0], view.shape[1], detail::without_data({&view, 1})};
}
inline PlacedExperts place_experts(DryRun&, ExpertLayout layout, int experts, Fusion fusion,
                                   std::span<const TensorView> parts) {
  PlacedExperts placed;
  if (layout == ExpertLayout::mxfp4) {  // outline_experts would look for scales that are no numbers
    placed.experts = experts;
    placed.all.format = Format::mxfp4;
    placed.all.fusion = fusion;
    placed.all.out = parts[0].shape[1];
    placed.all.in = parts[0].shape[2] * mxfp4_block;
  } else {
    placed = outline_experts(layout, experts, fusion, parts);
  }
  placed.all.memory = detail::without_data(parts);
  return placed;
}

inline std::int64_t kv_page_bytes(DryRun&, const AttentionShape& shape, ScalarKind scalar, int page_tokens) {
  return std::int64_t(2) * page_tokens * shape.kv_width() * bytes_of(scalar);
}

static_assert(PlaceOps<DryRun>);

}  // namespace ivl
