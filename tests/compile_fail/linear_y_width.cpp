// expect: linear: y must be as wide as the epilogue.s result
#include "ivl/cpu/linear.hpp"

#ifdef IVL_CONTROL
inline constexpr int width = 48;
#else
inline constexpr int width = 32;
#endif

void project(ivl::cpu::Context& ctx, ivl::Rows<float, 64> x, const ivl::Weight<48, 64>& w, ivl::Rows<float, width> y) {
  ivl::linear(ctx, x, w, ivl::Store<48>{}, y);
}
