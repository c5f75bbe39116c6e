// What the emulated run-time library knows of kernels and of errors: limits and names.
#include <map>
#include <string>

#include "tests/simt/emulator/internal.hpp"
#include "tests/simt/emulator/runtime_api.hpp"

namespace simt {

int& dynamic_limit(const void* kernel) {
  static std::map<const void*, int> limits;
  return limits.try_emplace(kernel, max_static_shared_bytes).first->second;
}

void check_launch_bounds(const Shape& shape) {
#if defined(SIMT_KEEPS_LAUNCH_BOUNDS)
  // As many one-byte instructions that do nothing lie before the function, see built_ins.hpp. Up to 15 more may fill up
  // to its alignment, and bounds are whole warps.
  const auto* const code = static_cast<const unsigned char*>(shape.kernel);
  int bound = 0;
  while (bound < max_threads_per_block && code[-1 - bound] == 0x90) ++bound;
  bound = bound / 32 * 32;
  const unsigned threads = shape.block.x * shape.block.y * shape.block.z;
  if (bound > 0 && threads > unsigned(bound)) {
    throw Error(Bug::launch_limit, "launch: " + std::to_string(threads) +
                                       " threads per block, and the kernel was "
                                       "compiled for at most " +
                                       std::to_string(bound) + " (__launch_bounds__)");
  }
#else
  (void)shape;
#endif
}

}  // namespace simt

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    default:
      return "cudaError";
  }
}

cudaError_t cudaFuncGetName(const char** name, const void* kernel) {
  static std::map<const void*, std::string> names;
  const auto [known, is_new] = names.try_emplace(kernel);
  if (is_new) known->second = simt::function_at(kernel);
  return *name = known->second.c_str(), cudaSuccess;
}
