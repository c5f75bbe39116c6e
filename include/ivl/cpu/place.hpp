// Placing on the CPU: matrices into panels (see panel_format.hpp), vectors as floats, tables as they are.
//
// A matrix keeps its file's format, so its values are the file's, bit for bit. `Fusion::interleaved` lies panel by
// panel, sixteen columns of gate and then the sixteen columns of up that go with them: a tile of two panels holds both.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "ivl/core/compiled.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/memory.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"
#include "ivl/ops/outline.hpp"
#include "ivl/ops/place.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

/// Reads the parts once, with all threads. Memory beside the parts: the panels.
PlacedMatrix place_matrix(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion);
/// The same where no context may round the numbers: of a router, whose least logits decide which experts a row meets.
PlacedMatrix place_exact_matrix(Context& ctx, std::span<const SourceMatrix> parts, Fusion fusion);
/// The formats that a context with Numbers::int8 placed and does not multiply so, such as "mxfp4, q3_k"; or nothing.
/// Matrices of place_exact_matrix do not count.
std::string exact_formats(const Context& ctx);
/// Bytes of the panels that a matrix [out, in] of a file becomes.
std::int64_t placed_bytes(Format format, std::int64_t out, std::int64_t in);
PlacedVector place_vector(Context& ctx, std::span<const TensorView> parts);
PlacedTable place_table(Context& ctx, const SourceMatrix& rows);

static_assert(PlaceOps<Context>);

namespace detail {
/// How a context places matrices of a file.
PlacedAs panels_in(const Context& ctx);
/// Keeps what exact_formats says.
void note_exact_formats(Context& ctx, const PlacedMatrix& w);
/// The panels of all strips of `experts` matrices, whose parts come matrix after matrix.
void place_strips(Context& ctx, MatrixOutline& outline, int experts, std::span<const SourceMatrix> parts);
}  // namespace detail

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu

#ifndef IVL_COMPILED
#include "ivl/cpu/place.ipp"
#endif
