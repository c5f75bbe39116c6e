// The one way to launch a kernel, on a GPU and in the emulator.
#pragma once
#include <cuda_runtime.h>

#include <source_location>
#include <utility>

#include "ivl/cuda/runtime/error.cuh"

namespace ivl::cuda {

struct LaunchConfig {
  dim3 grid;             // blocks
  dim3 block;            // threads
  int shared_bytes = 0;  // dynamic
  cudaStream_t stream = nullptr;
  bool cooperative = false;                                   // all blocks at once, so that prim::grid_sync works
  std::source_location at = std::source_location::current();  // the caller's, for errors
};

/// Arguments are converted to the kernel's parameters. Throws CudaError, with the caller's place.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, Arguments&&... arguments) {
  if (config.shared_bytes > 0) {  // unasked, a block gets 48 KiB together with its static arrays
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, config.shared_bytes), config.at);
  }
  cudaLaunchAttribute cooperative;
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  cudaLaunchConfig_t cuda_config = {};
  cuda_config.gridDim = config.grid;
  cuda_config.blockDim = config.block;
  cuda_config.dynamicSmemBytes = std::size_t(config.shared_bytes);
  cuda_config.stream = config.stream;
  cuda_config.attrs = &cooperative;
  cuda_config.numAttrs = config.cooperative ? 1 : 0;
  check(cudaLaunchKernelEx(&cuda_config, kernel, std::forward<Arguments>(arguments)...), config.at);
}

}  // namespace ivl::cuda
