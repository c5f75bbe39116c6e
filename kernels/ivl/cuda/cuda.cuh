// The CUDA backend: everything a model needs from it.
#pragma once
#include "ivl/cuda/attention/attention.cuh"
#include "ivl/cuda/attention/kv_write.cuh"
#include "ivl/cuda/linear/linear.cuh"
#include "ivl/cuda/linear/place.cuh"
#include "ivl/cuda/moe/moe.cuh"
#include "ivl/cuda/picture/picture.cuh"
#include "ivl/cuda/rows/move.cuh"
#include "ivl/cuda/rows/norm.cuh"
#include "ivl/cuda/rows/rope.cuh"
#include "ivl/cuda/rows/sample.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/graph.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

static_assert(AttentionOps<Context, bf16> && AttentionOps<Context, float>);  // attention.cuh and kv_write.cuh together

}  // namespace ivl::IVL_CUDA
