// The part of CUDA's run-time library that our host code and tests call. Device memory is host memory, 0xFF at first,
// so that the address sanitizer sees its ends.
//
// Launches run at once. Asynchronous copies between device and pinned memory run as late as they may, so that a host
// which looks or refills too early is seen: before other work of their stream, and at the end of a wait for it or for
// an event that was recorded behind them. Each stream knows which work of others is done before its own; what a kernel
// reads or writes of a stream that it does not wait for is a bug, which the race checker sees. Asynchronous work on the
// default stream is one while there are other streams, since those do not wait for it.
//
// What is captured into a graph runs when the graph is launched, not before. One stream captures at a time, and what a
// capture forbids is refused and spoils it.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>

#include "tests/simt/emulator/core.hpp"

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInsufficientDriver = 35,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorNoDevice = 100,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorIllegalAddress = 700,
  cudaErrorMisalignedAddress = 716,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorCapturedEvent = 907
};
const char* cudaGetErrorName(cudaError_t error);
inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "an error of the emulator";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }

// ---- device ---------------------------------------------------------------------------------------
struct cudaDeviceProp {
  char name[256] = "SIMT emulator";
  int major = 8, minor = 0;
  int multiProcessorCount = 4;
  std::size_t totalGlobalMem = std::size_t(1) << 40;
};
inline cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
inline cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  return *properties = cudaDeviceProp{}, cudaSuccess;
}

using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;

namespace simt {

using Work = std::function<void()>;
/// Work of a stream: captured, or done after what is left of the stream's copies. Gives what the call returns.
cudaError_t do_in_stream(cudaStream_t stream, const char* what, Work work);
int& open_streams();
/// Bytes of dynamic shared memory that a kernel may be launched with, see cudaFuncSetAttribute.
int& dynamic_limit(const void* kernel);
/// Reports a launch of more threads than the kernel's __launch_bounds__, where the compiler kept them.
void check_launch_bounds(const Shape& shape);
/// Bytes of device memory that are free to allocate: tests lower it.
std::size_t& free_bytes();
/// What __trap left: every call gives it from then on, until a test clears it.
cudaError_t& device_error();
cudaError_t allocate_device(void** memory, std::size_t bytes);
cudaError_t allocate_pinned(void** memory, std::size_t bytes);

}  // namespace simt

// ---- streams and events ---------------------------------------------------------------------------
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
/// An event that was never recorded waits for nothing.
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);

// ---- memory ---------------------------------------------------------------------------------------
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};

template <class T>
cudaError_t cudaMalloc(T** pointer, std::size_t bytes) {
  return simt::allocate_device(reinterpret_cast<void**>(pointer), bytes);
}
cudaError_t cudaFree(void* memory);
template <class T>
cudaError_t cudaMallocHost(T** pointer, std::size_t bytes) {
  return simt::allocate_pinned(reinterpret_cast<void**>(pointer), bytes);
}
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total);
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemset(void* to, int value, std::size_t bytes);
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream);

// ---- graphs ---------------------------------------------------------------------------------------
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum cudaStreamCaptureStatus {
  cudaStreamCaptureStatusNone,
  cudaStreamCaptureStatusActive,
  cudaStreamCaptureStatusInvalidated
};
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags);
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);

// ---- launch ---------------------------------------------------------------------------------------
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
  return simt::dynamic_limit(reinterpret_cast<const void*>(kernel)) = bytes, cudaSuccess;
}
cudaError_t cudaFuncGetName(const char** name, const void* kernel);
struct cudaFuncAttributes {};
template <class Kernel>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, Kernel*) {
  return cudaSuccess;
}

enum cudaLaunchAttributeID { cudaLaunchAttributeCooperative };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int cooperative;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> parameters;
    simt::Shape shape;

    void operator()() {
      const bool ran = simt::run_grid(
          shape,
          [](void* call) {
            auto& unpacked = *static_cast<Call*>(call);
            std::apply(unpacked.kernel, unpacked.parameters);
          },
          this);
      if (!ran) simt::device_error() = cudaErrorLaunchFailure;
    }
  } call{
      kernel,
      {static_cast<Arguments&&>(arguments)...},
      {config->gridDim, config->blockDim, int(config->dynamicSmemBytes), false, reinterpret_cast<const void*>(kernel)}};
  for (unsigned i = 0; i < config->numAttrs; ++i) call.shape.cooperative |= config->attrs[i].val.cooperative != 0;
  simt::check_launch_bounds(call.shape);
  const int limit = simt::dynamic_limit(call.shape.kernel);
  if (int(config->dynamicSmemBytes) > limit) {
    throw simt::Error(simt::Bug::launch_limit, "launch: " + std::to_string(config->dynamicSmemBytes) +
                                                   " bytes of dynamic shared memory, and the kernel was allowed " +
                                                   std::to_string(limit));
  }
  return simt::do_in_stream(config->stream, "a kernel", call);
}
