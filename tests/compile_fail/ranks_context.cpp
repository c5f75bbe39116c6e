// expect: A rank.s part of a model runs on a context of ranks .ivl/parallel/ranked.hpp.: others have the rest
#include "ivl/cpu/cpu.hpp"
#include "ivl/language/dense_mlp.hpp"
#include "ivl/parallel/ranked.hpp"
#include "ivl/parallel/threads.hpp"

#ifdef IVL_CONTROL
using Context = ivl::Ranked<ivl::cpu::Context, ivl::ThreadRank>;
#else
using Context = ivl::cpu::Context;
#endif

using Mlp = ivl::DenseMlp<64, 32, 2>;  // of two ranks

void run(Context& ctx, const Mlp& mlp, const ivl::Vector<64>& gain, ivl::Rows<float, 64> h,
         const Mlp::Scratch<float>& scratch, ivl::Rows<float, 64> x) {
  mlp.forward(ctx, gain, 1e-6f, h, scratch, x);
}
