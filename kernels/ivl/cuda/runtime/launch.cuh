// The one way to launch a kernel, on a GPU and in the emulator.
#pragma once
#include <cuda_runtime.h>
#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/cuda/runtime/error.cuh"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

struct LaunchConfig {
  dim3 grid;             // blocks
  dim3 block;            // threads
  int shared_bytes = 0;  // dynamic
  cudaStream_t stream = nullptr;
  bool cooperative = false;                                   // all blocks at once, so that prim::grid_sync works
  std::source_location at = std::source_location::current();  // the caller's, for errors
};

namespace detail::runtime {

/// What IVL_CUDA_SYNC says; throws RequestError unless that is 0, 1 or nothing.
inline bool asked_for_synchronous_launches() {
  const char* const text = std::getenv("IVL_CUDA_SYNC");
  const std::string_view value = text == nullptr ? "" : text;
  expect(value.empty() || value == "0" || value == "1", "IVL_CUDA_SYNC: expected 0 or 1, found ", value);
  return value == "1";
}

}  // namespace detail::runtime

/// Whether every launch waits for its kernel, so that an error of the device names the kernel that made it. It is slow,
/// and meant for looking for a bug. Off at first, and on where the environment says IVL_CUDA_SYNC=1.
inline bool& synchronous_launches() {
  static bool on = detail::runtime::asked_for_synchronous_launches();
  return on;
}

namespace detail::runtime {

/// The kernel as its source has it, with its template arguments.
inline std::string name_of(const void* kernel) {
  const char* name = nullptr;
  if (cudaFuncGetName(&name, kernel) != cudaSuccess || name == nullptr) return "a kernel without a name";
  const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(name, nullptr, nullptr, nullptr),
                                                        &std::free);
  return readable ? readable.get() : name;
}

[[noreturn]] inline void fail_in_kernel(cudaError_t code, const char* when, const void* kernel,
                                        const LaunchConfig& config) {
  (void)cudaGetLastError();
  const auto text = [](dim3 extent) {
    return std::to_string(extent.x) + " x " + std::to_string(extent.y) + " x " + std::to_string(extent.z);
  };
  throw CudaError(code, text_of(code, config.at) + ", " + when + " " + name_of(kernel) + " on " + text(config.grid) +
                            " blocks of " + text(config.block) + " threads and " + std::to_string(config.shared_bytes) +
                            " bytes of dynamic shared memory" + (synchronous_launches() ? "" : hint_for(code)));
}

}  // namespace detail::runtime

/// Arguments are converted to the kernel's parameters. Throws CudaError, with the kernel's name and the caller's place.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const LaunchConfig& config, Arguments&&... arguments) {
  const auto* const address = reinterpret_cast<const void*>(kernel);
  const auto require = [&](cudaError_t code, const char* when) {
    if (code != cudaSuccess) detail::runtime::fail_in_kernel(code, when, address, config);
  };
  if (config.shared_bytes > 0) {  // unasked, a block gets 48 KiB together with its static arrays
    require(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, config.shared_bytes),
            "asking for shared memory of");
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
  require(cudaLaunchKernelEx(&cuda_config, kernel, std::forward<Arguments>(arguments)...), "launching");
  if (synchronous_launches()) require(cudaStreamSynchronize(config.stream), "running");
}

}  // namespace ivl::IVL_CUDA
