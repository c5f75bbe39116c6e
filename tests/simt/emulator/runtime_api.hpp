// The part of CUDA's run-time library that our host code and tests call. Device memory is host memory, 0xFF at first,
// so that the address sanitizer sees its ends. All streams are one: launches run at once, and asynchronous copies from
// pinned memory as late as they may, so that a host which reuses pinned memory too early is seen: at the end of a wait
// for the stream or for an event that was recorded behind them, and before what needs them. Asynchronous work on the
// default stream is a bug while there are others, since those do not wait for it. What is captured into a graph runs
// when the graph is launched, not before.
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
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901
};
inline const char* cudaGetErrorName(cudaError_t error) { return error == cudaSuccess ? "cudaSuccess" : "cudaError"; }
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

namespace simt {

/// Work of the stream that is yet to be done, or that is being captured.
using Work = std::function<void()>;
bool capturing();
void capture(Work work);
void defer(Work work);
/// How much was ever deferred; `catch_up` does what is left of the first `upto` of it.
std::int64_t deferred_so_far();
void catch_up(std::int64_t upto);
void catch_up();  // all of it
/// What a library would do in the stream: now, or where a capture is under way, when its graph is launched.
void do_in_stream(Work work);
/// Reports work on the default stream while there are others.
void check_stream(const void* stream, const char* what);
int& open_streams();
/// Bytes of dynamic shared memory that a kernel may be launched with, see cudaFuncSetAttribute.
int& dynamic_limit(const void* kernel);
/// Whether this lies in memory of cudaMallocHost.
bool is_pinned(const void* memory);
/// Bytes of device memory that are free to allocate: tests lower it.
std::size_t& free_bytes();
void* allocate_device(std::size_t bytes);  // null: too few are free
bool free_device(void* memory);            // whether it was allocated
void* allocate_pinned(std::size_t bytes);
bool free_pinned(void* memory);

}  // namespace simt

inline cudaError_t cudaDeviceSynchronize() {
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  ++simt::stats().waits;
  return simt::catch_up(), cudaSuccess;
}

// ---- streams and events ---------------------------------------------------------------------------
using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
inline constexpr unsigned cudaStreamNonBlocking = 1;
inline constexpr unsigned cudaEventDisableTiming = 2;
struct CUstream_st {};
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  ++simt::open_streams();
  return *stream = new CUstream_st, cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  --simt::open_streams();
  return delete stream, cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaDeviceSynchronize(); }
struct CUevent_st {
  std::int64_t upto = 0;  // of what was deferred; an event that was never recorded waits for nothing
};
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return *event = new CUevent_st, cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  return event->upto = simt::deferred_so_far(), cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  return simt::catch_up(event->upto), cudaSuccess;
}

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
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  *pointer = static_cast<T*>(simt::allocate_device(bytes));
  return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer) {
  simt::catch_up();
  return simt::free_device(pointer) ? cudaSuccess : cudaErrorInvalidValue;
}
template <class T>
cudaError_t cudaMallocHost(T** pointer, std::size_t bytes) {
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  return *pointer = static_cast<T*>(simt::allocate_pinned(bytes)), cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* pointer) {
  simt::catch_up();
  return simt::free_pinned(pointer) ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = simt::free_bytes();
  *total = cudaDeviceProp{}.totalGlobalMem;
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  simt::catch_up();
  if (bytes > 0) std::memmove(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t stream) {
  simt::check_stream(stream, "a copy");
  const auto work = [=] {
    if (bytes > 0) std::memmove(to, from, bytes);
  };
  if (simt::capturing()) return simt::capture(work), cudaSuccess;
  if (kind == cudaMemcpyHostToDevice && simt::is_pinned(from)) return simt::defer(work), cudaSuccess;
  simt::catch_up();
  return work(), cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  simt::check_stream(stream, "a fill");
  const auto work = [=] { std::memset(to, value, bytes); };
  if (simt::capturing()) return simt::capture(work), cudaSuccess;
  simt::catch_up();
  return work(), cudaSuccess;
}
inline cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  simt::catch_up();
  return std::memset(to, value, bytes), cudaSuccess;
}

// ---- graphs ---------------------------------------------------------------------------------------
using cudaGraph_t = struct CUgraph_st*;
using cudaGraphExec_t = struct CUgraphExec_st*;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
inline cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = simt::capturing() ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
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
      simt::run_grid(
          shape,
          [](void* call) {
            auto& unpacked = *static_cast<Call*>(call);
            std::apply(unpacked.kernel, unpacked.parameters);
          },
          this);
    }
  } call{kernel,
         {static_cast<Arguments&&>(arguments)...},
         {config->gridDim, config->blockDim, int(config->dynamicSmemBytes), false}};
  for (unsigned i = 0; i < config->numAttrs; ++i) call.shape.cooperative |= config->attrs[i].val.cooperative != 0;
  simt::check_stream(config->stream, "a kernel");
  const int limit = simt::dynamic_limit(reinterpret_cast<const void*>(kernel));
  if (int(config->dynamicSmemBytes) > limit) {
    throw simt::Error(simt::Bug::launch_limit, "launch: " + std::to_string(config->dynamicSmemBytes) +
                                                   " bytes of dynamic shared memory, and the kernel was allowed " +
                                                   std::to_string(limit));
  }
  if (simt::capturing()) return simt::capture(call), cudaSuccess;
  simt::catch_up();
  return call(), cudaSuccess;
}
