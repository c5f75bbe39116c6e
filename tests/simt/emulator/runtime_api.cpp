// The stream of the emulated run-time library: copies that wait, and graphs.
#include "tests/simt/emulator/runtime_api.hpp"

#include <deque>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

using Works = std::vector<simt::Work>;
struct CUgraph_st {
  Works works;
};
struct CUgraphExec_st {
  Works works;
};

namespace simt {

namespace {

std::deque<simt::Work> deferred;
std::int64_t deferred_ever = 0;
Works* captured = nullptr;
using Blocks = std::map<const std::byte*, std::size_t>;  // begin, bytes
Blocks pinned, device;

bool erase(Blocks& blocks, void* memory) {
  return memory == nullptr || blocks.erase(static_cast<std::byte*>(memory)) == 1;
}

}  // namespace

bool capturing() { return captured != nullptr; }
void capture(Work work) { captured->push_back(std::move(work)); }
void defer(Work work) {
  deferred.push_back(std::move(work));
  ++deferred_ever;
}
std::int64_t deferred_so_far() { return deferred_ever; }

void catch_up(std::int64_t upto) {
  while (!deferred.empty() && deferred_ever - std::int64_t(deferred.size()) < upto) {
    const Work work = std::move(deferred.front());
    deferred.pop_front();
    work();
  }
}
void catch_up() { catch_up(deferred_ever); }

int& open_streams() {
  static int number = 0;
  return number;
}

void check_stream(const void* stream, const char* what) {
  if (stream == nullptr && open_streams() > 0) {
    throw Error(Bug::stream, std::string("launch: ") + what +
                                 " on the default stream, for which the streams of contexts do not wait");
  }
}

int& dynamic_limit(const void* kernel) {
  static std::map<const void*, int> limits;
  return limits.try_emplace(kernel, max_static_shared_bytes).first->second;
}

void do_in_stream(Work work) {
  if (capturing()) return capture(std::move(work));
  catch_up();
  work();
}

bool is_pinned(const void* memory) {
  const auto* address = static_cast<const std::byte*>(memory);
  const auto behind = pinned.upper_bound(address);
  return behind != pinned.begin() && address < std::prev(behind)->first + std::prev(behind)->second;
}

std::size_t& free_bytes() {
  static std::size_t bytes = cudaDeviceProp{}.totalGlobalMem;
  return bytes;
}

void* allocate_device(std::size_t bytes) {
  void* memory = nullptr;
  if (bytes > free_bytes() || posix_memalign(&memory, 256, bytes) != 0) return nullptr;
  std::memset(memory, 0xff, bytes);
  free_bytes() -= bytes;
  ++stats().device_allocations;
  device[static_cast<std::byte*>(memory)] = bytes;
  return memory;
}

bool free_device(void* memory) {
  const auto block = device.find(static_cast<std::byte*>(memory));
  if (block != device.end()) free_bytes() += block->second;
  if (!erase(device, memory)) return false;
  std::free(memory);
  return true;
}

void* allocate_pinned(std::size_t bytes) {
  void* memory = std::malloc(bytes);
  std::memset(memory, 0xff, bytes);
  pinned[static_cast<std::byte*>(memory)] = bytes;
  return memory;
}

bool free_pinned(void* memory) {
  if (!erase(pinned, memory)) return false;
  std::free(memory);
  return true;
}

}  // namespace simt

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  simt::captured = new Works;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
  if (!simt::capturing()) return cudaErrorInvalidValue;
  const Works* works = std::exchange(simt::captured, nullptr);
  *graph = new CUgraph_st{*works};
  delete works;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->works};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
  if (simt::capturing()) return cudaErrorStreamCaptureUnsupported;
  ++simt::stats().graph_launches;
  simt::catch_up();
  for (const simt::Work& work : executable->works) work();
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return delete executable, cudaSuccess; }
