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
inline void require_memory(DryRun&, const char*, std::size_t) {}
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

// Sources need formats and sizes alone; their bytes are not read. `Memory::bytes` is what the planes have.
namespace detail {
inline PlacedMatrix placed_without_data(int experts, std::span<const SourceMatrix> parts, Fusion fusion) {
  PlacedMatrix w;
  w.fusion = fusion;
  w.in = parts[0].in;
  w.strip_count = 1;
  Strip& strip = w.strips[0];
  strip.format = parts[0].format;
  for (const SourceMatrix& part : parts) {
    w.out += part.out;
    strip.bytes += packed_planes(part.format, part.out, part.in).total;
  }
  strip.out = w.out;
  strip.memory.bytes = std::size_t(experts * strip.bytes);
  return w;
}
}  // namespace detail

inline PlacedMatrix place_matrix(DryRun&, std::span<const SourceMatrix> parts, Fusion fusion) {
  return detail::placed_without_data(1, parts, fusion);
}
inline PlacedVector place_vector(DryRun&, std::span<const TensorView> parts) {
  PlacedVector vector{vector_width(parts), {}};
  for (const TensorView& part : parts) vector.memory.bytes += part.bytes.size();
  return vector;
}
inline PlacedTable place_table(DryRun&, const SourceMatrix& source) {
  PlacedTable table{source.format, source.out, source.in, {}};
  table.memory.bytes = std::size_t(packed_planes(source.format, source.out, source.in).total);
  return table;
}
inline PlacedExperts place_experts(DryRun&, int experts, Fusion fusion, std::span<const SourceMatrix> parts) {
  return {experts, detail::placed_without_data(experts, parts.first(parts.size() / std::size_t(experts)), fusion)};
}

inline std::int64_t kv_page_bytes(DryRun&, const AttentionShape& shape, ScalarKind scalar, int page_tokens) {
  return std::int64_t(2) * page_tokens * shape.kv_width() * bytes_of(scalar);
}

static_assert(PlaceOps<DryRun>);

}  // namespace ivl
