// The CUDA backend: everything a model needs from it.
#pragma once
#include "ivl/cuda/attention.cuh"
#include "ivl/cuda/context.cuh"
#include "ivl/cuda/graph.cuh"
#include "ivl/cuda/kv_write.cuh"
#include "ivl/cuda/linear.cuh"
#include "ivl/cuda/memory.cuh"
#include "ivl/cuda/moe.cuh"
#include "ivl/cuda/move.cuh"
#include "ivl/cuda/norm.cuh"
#include "ivl/cuda/picture.cuh"
#include "ivl/cuda/place.cuh"
#include "ivl/cuda/rope.cuh"
#include "ivl/cuda/sample.cuh"

namespace ivl::cuda {

static_assert(AttentionOps<Context, bf16> && AttentionOps<Context, float>);  // attention.cuh and kv_write.cuh together

}  // namespace ivl::cuda
