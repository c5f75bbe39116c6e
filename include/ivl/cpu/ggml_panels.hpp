// Panels of ggml's formats: which chunks and which scales each has (see code_chunks.hpp and block_panels.hpp), and
// MXFP4 as GGUF has it.
//
// IQ1, IQ2 and IQ3 number rows of a grid in a file. A look-up of rows costs more than the bytes that it saves, so a
// panel has a code for each weight: of the few letters of the grid, and its sign.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "ivl/core/simd.hpp"
#include "ivl/cpu/block_panels.hpp"
#include "ivl/cpu/code_chunks.hpp"
#include "ivl/cpu/mxfp4_panels.hpp"
#include "ivl/cpu/nibbles.hpp"
#include "ivl/cpu/panel_format.hpp"
#include "ivl/formats/gguf_mxfp4.hpp"
#include "ivl/formats/iq1_m.hpp"
#include "ivl/formats/iq1_s.hpp"
#include "ivl/formats/iq2_s.hpp"
#include "ivl/formats/iq2_xs.hpp"
#include "ivl/formats/iq2_xxs.hpp"
#include "ivl/formats/iq3_s.hpp"
#include "ivl/formats/iq3_xxs.hpp"
#include "ivl/formats/iq4_nl.hpp"
#include "ivl/formats/iq4_xs.hpp"
#include "ivl/formats/q2_k.hpp"
#include "ivl/formats/q3_k.hpp"
#include "ivl/formats/q4_0.hpp"
#include "ivl/formats/q4_1.hpp"
#include "ivl/formats/q4_k.hpp"
#include "ivl/formats/q5_0.hpp"
#include "ivl/formats/q5_1.hpp"
#include "ivl/formats/q5_k.hpp"
#include "ivl/formats/q6_k.hpp"
#include "ivl/formats/q8_0.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {
using UnsignedNibbles = NibbleChunk<unsigned_values>;
using Iq4Nibbles = NibbleChunk<iq4_values>;
}  // namespace detail

template <>
struct PanelFormat<Q4_0> : detail::BlockPanels<Q4_0, detail::UnsignedNibbles, detail::HalfScales<Q4_0, 8>> {};
template <>
struct PanelFormat<Q4_1> : detail::BlockPanels<Q4_1, detail::UnsignedNibbles, detail::HalfScalesAndMinimums<Q4_1>> {};
template <>
struct PanelFormat<Q4K> : detail::BlockPanels<Q4K, detail::UnsignedNibbles, detail::ByteScalesAndMinimums<Q4K>> {};
template <>
struct PanelFormat<Iq4Nl> : detail::BlockPanels<Iq4Nl, detail::Iq4Nibbles, detail::HalfScales<Iq4Nl, 0>> {};
template <>
struct PanelFormat<Iq4Xs> : detail::BlockPanels<Iq4Xs, detail::Iq4Nibbles, detail::ByteScales<Iq4Xs, 32, 0>> {};

template <>
struct PanelFormat<Q5_0> : detail::BlockPanels<Q5_0, detail::ByteChunk<5>, detail::HalfScales<Q5_0, 16>> {};
template <>
struct PanelFormat<Q5_1> : detail::BlockPanels<Q5_1, detail::ByteChunk<5>, detail::HalfScalesAndMinimums<Q5_1>> {};
template <>
struct PanelFormat<Q5K> : detail::BlockPanels<Q5K, detail::ByteChunk<5>, detail::ByteScalesAndMinimums<Q5K>> {};

template <>
struct PanelFormat<Q6K>
    : detail::BlockPanels<Q6K, detail::ByteChunk<6>, detail::ByteScales<Q6K, 16, 32 + detail::ByteChunk<6>::base>> {};

template <>
struct PanelFormat<Q8_0>
    : detail::BlockPanels<Q8_0, detail::WholeByteChunk, detail::HalfScales<Q8_0, 128 + detail::WholeByteChunk::base>> {
};

template <>
struct PanelFormat<Q3K>
    : detail::BlockPanels<Q3K, detail::ThreeBitChunk<detail::values_of_bits>, detail::ByteScales<Q3K, 16, 4>> {};
template <>
struct PanelFormat<Q2K> : detail::BlockPanels<Q2K, detail::TwoBitChunk, detail::NibbleScalesAndMinimums<Q2K>> {};

template <>
struct PanelFormat<Iq3Xxs>
    : detail::BlockPanels<Iq3Xxs, detail::NibbleChunk<iq3_xxs_values>, detail::ByteScales<Iq3Xxs, 32, 0>> {};
template <>
struct PanelFormat<Iq3S>
    : detail::BlockPanels<Iq3S, detail::NibbleChunk<iq3_s_values>, detail::ByteScales<Iq3S, 32, 0>> {};

namespace detail {
template <class F>
using Iq2Panels = BlockPanels<F, ThreeBitChunk<iq2_values>, ByteScales<F, 16, 0>>;
template <class F>
using Iq1Panels = BlockPanels<F, TwoBitChunk, ShiftedScales<F>>;
}  // namespace detail

template <>
struct PanelFormat<Iq2Xxs> : detail::Iq2Panels<Iq2Xxs> {};
template <>
struct PanelFormat<Iq2Xs> : detail::Iq2Panels<Iq2Xs> {};
template <>
struct PanelFormat<Iq2S> : detail::Iq2Panels<Iq2S> {};
template <>
struct Products<Iq2Xxs> : Products<Iq2S> {};
template <>
struct Products<Iq2Xs> : Products<Iq2S> {};

template <>
struct PanelFormat<Iq1S> : detail::Iq1Panels<Iq1S> {};
template <>
struct PanelFormat<Iq1M> : detail::Iq1Panels<Iq1M> {};
template <>
struct Products<Iq1S> : Products<Iq1M> {};

/// The panels that the same numbers have in safetensors.
template <>
struct Products<GgufMxfp4> : Products<Mxfp4> {};
template <>
struct PanelFormat<GgufMxfp4> : PanelFormat<Mxfp4> {
  static void pack(const PanelColumns& columns, std::int64_t first, std::int64_t number, std::byte* panel) {
    std::memset(panel + bytes(first), 0, std::size_t(bytes(first + number) - bytes(first)));
    for (std::size_t c = 0; c < panel_columns; ++c) {
      if (!columns.sources[c]) continue;
      BlockCells cells = columns.sources[c]->cells<GgufMxfp4>(columns.rows[c], first);
      for (std::int64_t k = first; k < first + number; k += block, cells.at[0] += cells.to_next_input[0]) {
        const auto from = ivl::detail::block_at<GgufMxfp4>(cells);
        panel[scales_at(k) + std::int64_t(c)] = std::byte(from.scale);
        std::uint8_t codes[block];
        GgufMxfp4::codes(from, codes);
        for (int i = 0; i < block; i += step)
          detail::NibbleChunk<e2m1_values>::put(codes + i, c, panel + chunk_at(k + i));
      }
    }
  }
};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
