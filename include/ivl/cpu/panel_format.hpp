// Panels: the layout of every matrix that rows are multiplied with on the CPU. Sixteen columns of w [columns, depth]
// are a panel, one after the other in memory and the same at every level of instructions. `PanelFormat<F>` says how
// those of a weight format lie and how they are read; the products over them are panels.hpp and panel_group.hpp.
//
// PanelFormat<F> offers:
//   unit               k that lie together: a row of x that meets such panels is zero up to the next multiple
//   group              k that share a place for scales: pieces of a panel begin at multiples of it
//   Factor<Scalar>     what activations must become to meet them
//   bytes(depth)       of a panel, or of the part before k = depth; inside a group, about so many
//   read_behind        bytes that loads may touch behind the last panel
//   pack(columns, first, number, panel)   k in [first, first + number) of a panel, from its source
//
// and for the products:
//   step               k of one Chunk
//   words              k of one word: 1, or 2 or 4 that lie side by side
//   chunk_at(k)        bytes from a panel to the Chunk of k
//   Chunk::load(from)  and of its word i: weights(i, block, Lanes (&w)[words]); with bf16 factors, pairs(i)
//   block              k that share scales; 0 without scales
//   Group::load(panel, k)                 what is made ready once for all blocks of a group
//   Block::load(of_group, panel, k)       what the weights of a block share
//   scaled_sums        whether a block's products are added up first, and then multiplied with block.scale
//   ahead(panels)      bytes behind a Chunk that memory is asked for before they are needed, where so many panels are
//   read at once
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/simd.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/formats/format.hpp"
#include "ivl/formats/source_matrix.hpp"

namespace ivl::cpu {

inline constexpr int panel_columns = 16;

/// Where the columns of a panel come from: rows of matrices. No source: a column of zeros.
struct PanelColumns {
  std::array<const SourceMatrix*, panel_columns> sources{};
  std::array<std::int64_t, panel_columns> rows{};
};

/// Panels are asked for so many bytes before they are needed: the hardware's own prefetch stops at each page. One row
/// of 1024 x 4096 bf16 out of memory, one Sapphire Rapids core that reads 16.9 GB/s: 13.4 GB/s without, 14.7 at 256
/// bytes, 15.7 from 1024 to 4096, 15.2 at 8192.
inline constexpr std::int64_t prefetch_bytes = 1024;

inline namespace IVL_CPU_LEVEL {

template <class F>
struct PanelFormat;

/// Formats that are multiplied as they are. The others become panels of the floats that they mean.
template <class F>
concept HasPanels = requires { PanelFormat<F>::unit; };

/// The format whose products these panels take: another one's where only `pack` differs, so that they are compiled
/// once.
template <class F>
struct Products {
  using Format = F;
};

/// The factors that activations become: bf16 only for panels that `vdpbf16ps` takes.
template <class F, class Scalar>
using Factor = typename PanelFormat<F>::template Factor<Scalar>;

namespace detail {
/// bf16 activations meet weights that bf16 holds exactly in `vdpbf16ps` (which takes subnormals as zero).
template <class Scalar>
using PairFactor =
    std::conditional_t<compiled_level == CpuLevel::avx512_bf16 && std::is_same_v<Scalar, bf16>, bf16, float>;

struct NoGroup {
  static NoGroup load(const std::byte*, std::int64_t = 0) { return {}; }
};
struct NoBlock {
  static NoBlock load(NoGroup, const std::byte*, std::int64_t) { return {}; }
};
}  // namespace detail

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
