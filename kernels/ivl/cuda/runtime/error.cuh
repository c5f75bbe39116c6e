// Errors of the CUDA run-time library as exceptions.
#pragma once
#include <cuda_runtime.h>

#include <source_location>
#include <sstream>
#include <string>

#include "ivl/core/error.hpp"

namespace ivl::cuda {

/// There is no GPU that can run this, or it has too little memory.
struct DeviceError : Error {
  using Error::Error;
};

/// A CUDA call failed. `code` is kept so that a caller can tell out-of-memory from the rest.
struct CudaError : Error {
  CudaError(cudaError_t code, const std::string& what) : Error(what), code(code) {}
  cudaError_t code;
};

inline void check(cudaError_t code, std::source_location at = std::source_location::current()) {
  if (code == cudaSuccess) return;
  (void)cudaGetLastError();  // clear it, or the next launch is blamed
  std::ostringstream text;
  text << cudaGetErrorName(code) << " (" << cudaGetErrorString(code) << ") at " << at.file_name() << ":" << at.line();
  throw CudaError(code, text.str());
}

}  // namespace ivl::cuda
