// expect: no matching function
// A gain is as wide as its rows.
#include "ivl/cpu/norm.hpp"

#ifdef IVL_CONTROL
inline constexpr int width = 64;
#else
inline constexpr int width = 32;
#endif

void normalise(ivl::cpu::Context& ctx, ivl::Rows<float, 64> x, const ivl::Vector<width>& gain) {
  ivl::rms_norm(ctx, x, gain, 1e-6f, x);
}
