// expect: pixel_shuffle: the patch grid must be a whole number of blocks
#include "ivl/cpu/move.hpp"

#ifdef IVL_CONTROL
inline constexpr int side = 4;
#else
inline constexpr int side = 5;
#endif

void shuffle(ivl::cpu::Context& ctx, ivl::Rows<const float, 16> x, ivl::Rows<float, 64> y) {
  ivl::pixel_shuffle<side, 2>(ctx, ivl::ShuffleOrder::v2, x, y);
}
