// Panels of ggml's formats of four to six bits ... (see block_panels.hpp).
#pragma once
#include "ivl/cpu/block_panels.hpp"
#include "ivl/cpu/code_chunks.hpp"
#include "ivl/cpu/nibbles.hpp"
#include "ivl/cpu/panel_format.hpp"
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

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {

template <>
struct PanelFormat<Q4K>
    : detail::BlockPanels<Q4K, detail::NibbleChunk<unsigned_values>, detail::ByteScalesAndMinimums<Q4K>> {};
template <>
struct PanelFormat<Q5K> : detail::BlockPanels<Q5K, detail::BitChunk<5>, detail::ByteScalesAndMinimums<Q5K>> {};
template <>
struct PanelFormat<Q6K> : detail::BlockPanels<Q6K, detail::BitChunk<6>, detail::ByteScales<Q6K, 16, 32>> {};

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
