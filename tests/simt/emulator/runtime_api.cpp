// The streams of the emulated run-time library: copies that wait, who waits for whom, and graphs.
#include "tests/simt/emulator/runtime_api.hpp"

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tests/simt/emulator/internal.hpp"

namespace simt {
namespace {

struct Stream {
  int number;
  StreamClock known;          // which work, its own too, is done before what comes next
  std::deque<Work> deferred;  // copies
  std::int64_t deferred_ever = 0;
};

std::shared_ptr<Stream> new_stream() {
  static int number = 0;
  return std::make_shared<Stream>(Stream{.number = number++, .known = {}, .deferred = {}});
}

}  // namespace
}  // namespace simt

struct CUstream_st {
  std::shared_ptr<simt::Stream> stream = simt::new_stream();
};
struct CUevent_st {
  std::shared_ptr<simt::Stream> stream;
  std::int64_t upto = 0;    // of the copies that were deferred
  simt::StreamClock known;  // when it was recorded
  bool captured = false;
};
struct CUgraph_st {
  std::vector<simt::Work> works;
};
struct CUgraphExec_st {
  std::vector<simt::Work> works;
};

namespace simt {
namespace {

const std::shared_ptr<Stream>& shared_stream_of(cudaStream_t stream) {
  static const std::shared_ptr<Stream> default_stream = new_stream();
  return stream == nullptr ? default_stream : stream->stream;
}
Stream& stream_of(cudaStream_t stream) { return *shared_stream_of(stream); }

std::vector<CUstream_st*>& all_streams() {
  static std::vector<CUstream_st*> streams;
  return streams;
}

StreamClock host_knows;

struct Capture {
  cudaStream_t stream = nullptr;  // null: none
  std::vector<Work> works;
  bool spoilt = false;
} capture;

bool is_captured(cudaStream_t stream) { return stream != nullptr && capture.stream == stream; }

/// For what no capture allows.
bool forbidden() {
  if (capture.stream != nullptr) capture.spoilt = true;
  return capture.stream != nullptr;
}

void catch_up(Stream& stream, std::int64_t upto) {
  while (!stream.deferred.empty() && stream.deferred_ever - std::int64_t(stream.deferred.size()) < upto) {
    const Work work = std::move(stream.deferred.front());
    stream.deferred.pop_front();
    work();
  }
}
void catch_up(Stream& stream) { catch_up(stream, stream.deferred_ever); }

void join(StreamClock& known, const StreamClock& more) {
  for (const auto& [stream, upto] : more) known[stream] = std::max(known[stream], upto);
}

void wait_for(Stream& stream) {
  catch_up(stream);
  join(host_knows, stream.known);
  host_waited(host_knows);
}
void wait_for_all() {
  wait_for(stream_of(nullptr));
  for (CUstream_st* stream : all_streams()) wait_for(*stream->stream);
}

/// The stream's next work, with what it knows of others now.
Work issued(Stream& stream, Work work) {
  static std::int64_t number = 0;
  join(stream.known, host_knows);
  const int place = stream.number;
  Work issued = [work = std::move(work), place, number = ++number, known = stream.known] {
    begin_work(place, number, known);
    work();
  };
  stream.known[place] = number;
  return issued;
}

void perform(Stream& stream, const Work& work) {
  catch_up(stream);
  issued(stream, work)();
}

void check_stream(cudaStream_t stream, const char* what) {
  if (stream == nullptr && open_streams() > 0) {
    throw Error(Bug::stream, std::string("launch: ") + what +
                                 " on the default stream, for which the streams of contexts do not wait");
  }
}

using Blocks = std::map<const std::byte*, std::size_t>;  // begin, bytes
Blocks pinned, device;

bool contains(const Blocks& blocks, const void* memory) {
  const auto* address = static_cast<const std::byte*>(memory);
  const auto behind = blocks.upper_bound(address);
  return behind != blocks.begin() && address < std::prev(behind)->first + std::prev(behind)->second;
}

}  // namespace

int& open_streams() {
  static int number = 0;
  return number;
}

cudaError_t& device_error() {
  static cudaError_t error = cudaSuccess;
  return error;
}

cudaError_t do_in_stream(cudaStream_t stream, const char* what, Work work) {
  check_stream(stream, what);
  if (device_error() != cudaSuccess) return device_error();
  if (is_captured(stream)) return capture.works.push_back(std::move(work)), cudaSuccess;
  perform(stream_of(stream), work);
  return cudaSuccess;
}

std::size_t& free_bytes() {
  static std::size_t bytes = cudaDeviceProp{}.totalGlobalMem;
  return bytes;
}

cudaError_t allocate_device(void** memory, std::size_t bytes) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *memory = bytes > free_bytes() ? nullptr : allocate_watched(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  free_bytes() -= bytes;
  ++stats().device_allocations;
  device[static_cast<std::byte*>(*memory)] = bytes;
  return cudaSuccess;
}

cudaError_t allocate_pinned(void** memory, std::size_t bytes) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  *memory = std::malloc(bytes);
  std::memset(*memory, 0xff, bytes);
  pinned[static_cast<std::byte*>(*memory)] = bytes;
  return cudaSuccess;
}

}  // namespace simt

using namespace simt;

// ---- streams and events ---------------------------------------------------------------------------
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  ++open_streams();
  *stream = new CUstream_st;
  all_streams().push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  --open_streams();
  catch_up(*stream->stream);
  std::erase(all_streams(), stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream == nullptr || is_captured(stream)) {
    if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  }
  ++stats().waits;
  wait_for(stream_of(stream));
  return device_error();
}

cudaError_t cudaDeviceSynchronize() {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  ++stats().waits;
  wait_for_all();
  return device_error();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) { return *event = new CUevent_st, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  event->captured = is_captured(stream);
  if (event->captured) return cudaSuccess;
  event->stream = shared_stream_of(stream);
  event->upto = event->stream->deferred_ever;
  event->known = event->stream->known;
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->captured) return forbidden(), cudaErrorCapturedEvent;
  if (event->stream == nullptr) return device_error();
  catch_up(*event->stream, event->upto);
  join(host_knows, event->known);
  host_waited(host_knows);
  return device_error();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  // A graph that several streams make, or that waits for one outside, is more than this one knows.
  if (is_captured(stream) || event->captured) return forbidden(), cudaErrorStreamCaptureUnsupported;
  if (event->stream == nullptr) return cudaSuccess;
  catch_up(*event->stream, event->upto);
  join(stream_of(stream).known, event->known);
  return cudaSuccess;
}

// ---- memory ---------------------------------------------------------------------------------------
cudaError_t cudaFree(void* memory) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (memory == nullptr) return cudaSuccess;
  wait_for_all();
  const auto block = device.find(static_cast<std::byte*>(memory));
  if (block == device.end()) return cudaErrorInvalidValue;
  free_bytes() += block->second;
  free_watched(memory, block->second);
  device.erase(block);
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  if (memory == nullptr) return cudaSuccess;
  wait_for_all();
  if (pinned.erase(static_cast<std::byte*>(memory)) == 0) return cudaErrorInvalidValue;
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = free_bytes();
  *total = cudaDeviceProp{}.totalGlobalMem;
  return cudaSuccess;
}

namespace {

Work copying(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return [=] {
    if (bytes == 0) return;
    if (kind != cudaMemcpyHostToDevice) read_by_stream(from, bytes);
    if (kind != cudaMemcpyDeviceToHost) written_by_stream(to, bytes);
    std::memmove(to, from, bytes);
  };
}

}  // namespace

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  perform(stream_of(nullptr), copying(to, from, bytes, kind));
  wait_for(stream_of(nullptr));
  return device_error();
}

cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  if (forbidden()) return cudaErrorStreamCaptureUnsupported;
  perform(stream_of(nullptr), [=] {
    written_by_stream(to, bytes);
    std::memset(to, value, bytes);
  });
  wait_for(stream_of(nullptr));
  return device_error();
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool to_host = kind == cudaMemcpyDeviceToHost, from_host = kind == cudaMemcpyHostToDevice;
  const bool is_pinned = (to_host && contains(pinned, to)) || (from_host && contains(pinned, from));
  const bool is_pageable = (to_host || from_host) && !is_pinned;
  if (is_pageable && is_captured(stream)) return forbidden(), cudaErrorStreamCaptureUnsupported;
  if (!is_pinned || is_captured(stream)) return do_in_stream(stream, "a copy", copying(to, from, bytes, kind));
  check_stream(stream, "a copy");
  Stream& later = stream_of(stream);
  later.deferred.push_back(issued(later, copying(to, from, bytes, kind)));
  ++later.deferred_ever;
  return device_error();
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return do_in_stream(stream, "a fill", [=] {
    written_by_stream(to, bytes);
    std::memset(to, value, bytes);
  });
}

// ---- graphs ---------------------------------------------------------------------------------------
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream == nullptr || capture.stream != nullptr) return cudaErrorStreamCaptureUnsupported;
  capture = {.stream = stream, .works = {}};
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!is_captured(stream)) return capture.stream == nullptr ? cudaErrorInvalidValue : cudaErrorStreamCaptureUnmatched;
  const Capture done = std::exchange(capture, Capture());
  if (done.spoilt) return cudaErrorStreamCaptureInvalidated;
  *graph = new CUgraph_st{done.works};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = !is_captured(stream) ? cudaStreamCaptureStatusNone
            : capture.spoilt     ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->works};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (is_captured(stream)) return forbidden(), cudaErrorStreamCaptureUnsupported;
  ++stats().graph_launches;
  for (const Work& work : executable->works) perform(stream_of(stream), work);
  return device_error();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return delete executable, cudaSuccess; }
