// The CUDA backend's context. Ops find their CUDA body through it.
#pragma once
#include <cuda_runtime.h>

#include "ivl/cuda/error.cuh"

namespace ivl::cuda {

/// Serves one caller at a time. All work goes to `stream`, and nothing waits for it behind the caller's back.
class Context {
 public:
  Context() { check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  ~Context() { (void)cudaStreamDestroy(stream); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  cudaStream_t stream = nullptr;
};

}  // namespace ivl::cuda
