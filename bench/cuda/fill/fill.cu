#include "bench/cuda/fill.cuh"

#include <thrust/execution_policy.h>
#include <thrust/random.h>
#include <thrust/tabulate.h>

#include "ivl/cuda/prim/convert.cuh"

namespace ivl::bench {

namespace {

struct Word {
  Contents contents;
  __device__ std::uint32_t operator()(std::int64_t i) const {
    const std::uint32_t mixed = (std::uint32_t(i) ^ std::uint32_t(i >> 7)) * 2654435761u;
    return contents.fixed ^ ((mixed ^ mixed >> 15) & contents.varied);
  }
};

template <class Scalar>
struct Normal {
  float deviation;
  __device__ Scalar operator()(std::int64_t i) const {
    thrust::minstd_rand random(std::uint32_t(i) * 2654435761u + 1);
    random.discard(2);
    return ivl::cuda::prim::narrow<Scalar>(thrust::normal_distribution<float>(0, deviation)(random));
  }
};

struct Turn {
  int period;
  __device__ std::int32_t operator()(std::int64_t i) const { return std::int32_t(i % period); }
};

/// Scalar i of the memory becomes make(i).
template <class Scalar, class Make>
void tabulate(ivl::cuda::Context& ctx, const Memory& memory, const Make& make) {
  auto* const first = reinterpret_cast<Scalar*>(memory.data);
  thrust::tabulate(thrust::cuda::par_nosync.on(ctx.stream), first, first + memory.bytes / sizeof(Scalar), make);
}

}  // namespace

void fill(ivl::cuda::Context& ctx, const Memory& memory, Contents contents) {
  tabulate<std::uint32_t>(ctx, memory, Word{contents});
}

void fill_normal(ivl::cuda::Context& ctx, const Memory& memory, ScalarKind scalar, float deviation) {
  switch (scalar) {
    case ScalarKind::f32:
      return tabulate<float>(ctx, memory, Normal<float>{deviation});
    case ScalarKind::bf16:
      return tabulate<bf16>(ctx, memory, Normal<bf16>{deviation});
    case ScalarKind::f16:
      return tabulate<ivl::half>(ctx, memory, Normal<ivl::half>{deviation});
  }
}

void fill_in_turns(ivl::cuda::Context& ctx, const Memory& memory, int period) {
  tabulate<std::int32_t>(ctx, memory, Turn{period});
}

}  // namespace ivl::bench
