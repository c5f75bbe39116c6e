// expect: SparseMlp: include the backend.s header .such as ivl/cpu/cpu.hpp. before use
// The context alone is not the backend.
#include "ivl/language/sparse_mlp.hpp"
#ifdef IVL_CONTROL
#include "ivl/cpu/cpu.hpp"
#else
#include "ivl/cpu/context.hpp"
#endif

using Mlp = ivl::SparseMlp<64, ivl::MoeConfig{.experts = 4, .active = 2, .mlp_hidden = 32}>;

void run(ivl::cpu::Context& ctx, const Mlp& mlp, const ivl::Vector<64>& gain, ivl::Rows<float, 64> h,
         const Mlp::Scratch<float>& scratch, ivl::Rows<float, 64> x) {
  mlp.forward(ctx, gain, 1e-6f, h, scratch, x);
}
