// Errors of the CUDA run-time library as exceptions.
#pragma once
#include <cuda_runtime.h>

#include <source_location>
#include <sstream>
#include <string>

#include "ivl/core/error.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

/// There is no GPU that can run this, or it has too little memory.
struct DeviceError : Error {
  using Error::Error;
};

/// A CUDA call failed. `code` is kept so that a caller can tell out-of-memory from the rest.
struct CudaError : Error {
  CudaError(cudaError_t code, const std::string& what) : Error(what), code(code) {}
  cudaError_t code;
};

/// Throws RequestError of these parts unless `holds`, in Release too: on a device what does not fit together writes
/// past the end of somebody else's memory.
template <class... Parts>
void expect(bool holds, const Parts&... parts) {
  if (!holds) fail<RequestError>(parts...);
}

namespace detail::runtime {

/// What finds the kernel that made this error, which any later call may report; nothing, where it was no kernel.
inline const char* hint_for(cudaError_t code) {
  const bool of_a_kernel =
      code == cudaErrorIllegalAddress || code == cudaErrorMisalignedAddress || code == cudaErrorLaunchFailure;
  return of_a_kernel ? "; a kernel made it, and IVL_CUDA_SYNC=1 in the environment names which" : "";
}

inline std::string text_of(cudaError_t code, std::source_location at) {
  std::ostringstream text;
  text << cudaGetErrorName(code) << " (" << cudaGetErrorString(code) << ") at " << at.file_name() << ":" << at.line();
  return text.str();
}

}  // namespace detail::runtime

inline void check(cudaError_t code, std::source_location at = std::source_location::current()) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // clear it, or the next launch is blamed
  throw CudaError(code, detail::runtime::text_of(code, at) + detail::runtime::hint_for(code));
}

}  // namespace ivl::IVL_CUDA
