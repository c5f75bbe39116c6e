// expect: Projector: include the backend.s header .such as ivl/cpu/cpu.hpp. before use
// The context alone is not the backend.
#include "ivl/projector/projector.hpp"
#ifdef IVL_CONTROL
#include "ivl/cpu/cpu.hpp"
#else
#include "ivl/cpu/context.hpp"
#endif

using Projection =
    ivl::Projector<ivl::VitConfig{.layers = 1, .hidden = 64, .heads = 2, .mlp_hidden = 64, .tile_px = 28},
                   ivl::ProjectorConfig{}, 64>;

void run(ivl::cpu::Context& ctx, const Projection& projector, ivl::Rows<float, 64> features,
         const Projection::Scratch<float>& scratch, ivl::Rows<float, 64> y) {
  projector.forward(ctx, features, scratch, y);
}
