// The CUDA backend's context: a device, a stream and the working memory of ops. Ops find their CUDA body through it.
#pragma once
#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/cuda/runtime/error.cuh"
#include "ivl/cuda/runtime/order.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

struct DeviceFacts {
  int number = 0;  ///< as cudaSetDevice counts
  std::string name;
  int compute_capability = 0;  ///< 80 for sm_80
  int sms = 0;
  std::size_t memory_bytes = 0;  ///< all of it, free or not
};

namespace detail::runtime {

/// "13.0", as versions of CUDA are written; the library's number is 13000.
inline std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// What the runtime library said when it was asked for devices, as a sentence; throws unless there is device `number`.
inline void require_device(int number, int devices, cudaError_t code, int driver, int needed) {
  if (code == cudaErrorNoDevice || (code == cudaErrorInsufficientDriver && driver == 0))
    fail<DeviceError>("no CUDA device: ", driver == 0 ? "no NVIDIA driver is installed" : "the driver found none");
  if (code == cudaErrorInsufficientDriver)
    fail<DeviceError>("the NVIDIA driver is too old: expected one for CUDA ", version_text(needed),
                      " or newer, found one for CUDA ", version_text(driver));
  check(code);
  if (number < 0 || number >= devices)
    fail<DeviceError>("no CUDA device ", number, ": the driver found ", devices, ", counted from 0");
}

inline void require_compute_capability(const std::string& name, int found) {
  constexpr int needed = 80;  // mma.sync on bf16, cp.async
  if (found < needed)
    fail<DeviceError>(name, ": expected compute capability ", needed / 10, ".", needed % 10,
                      " (Ampere) or newer, found ", found / 10, ".", found % 10);
}

/// Is never launched. (Registers at most 8 a thread.)
template <class = void>
__global__ void probe_kernel() {}

/// Throws unless this program holds code for the device: it is compiled for some architectures only.
inline void require_code(const DeviceFacts& device) {
  cudaFuncAttributes attributes;
  const cudaError_t code = cudaFuncGetAttributes(&attributes, probe_kernel<>);
  if (code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidDeviceFunction) {
    (void)cudaGetLastError();
    fail<DeviceError>(device.name, ": this program holds no code for compute capability ",
                      device.compute_capability / 10, ".", device.compute_capability % 10,
                      "; build it with -D CMAKE_CUDA_ARCHITECTURES=", device.compute_capability);
  }
  check(code);
}

}  // namespace detail::runtime

/// Makes `number` the calling thread's device. Throws DeviceError, in one sentence, if it is missing, if its
/// driver is too old, where it is older than sm_80, and where this program was not compiled for it.
inline DeviceFacts open_device(int number) {
  int driver = 0, runtime = 0, devices = 0;
  check(cudaDriverGetVersion(&driver));
  check(cudaRuntimeGetVersion(&runtime));
  const cudaError_t code = cudaGetDeviceCount(&devices);
  (void)cudaGetLastError();
  detail::runtime::require_device(number, devices, code, driver, runtime);
  check(cudaSetDevice(number));
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, number));
  DeviceFacts facts{number, properties.name, 10 * properties.major + properties.minor, properties.multiProcessorCount,
                    properties.totalGlobalMem};
  detail::runtime::require_compute_capability(facts.name, facts.compute_capability);
  detail::runtime::require_code(facts);
  return facts;
}

/// Where a context's device memory comes from. Several threads may call at once.
class DeviceAllocator {
 public:
  virtual ~DeviceAllocator() = default;
  /// `bytes` (more than 0) of the context's device, aligned to 256; null if too few are free.
  virtual void* allocate(std::size_t bytes) = 0;
  /// What `allocate` gave. Work in the context's stream may still use it: who would give it to another stream must wait
  /// for that first.
  virtual void free(void* memory, std::size_t bytes) noexcept = 0;
  /// About how much `allocate` could give.
  virtual std::size_t free_bytes() = 0;
};

/// The run-time library's own.
class CudaAllocator final : public DeviceAllocator {
 public:
  void* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaErrorMemoryAllocation) return (void)cudaGetLastError(), nullptr;
    check(code);
    return memory;
  }
  void free(void* memory, std::size_t) noexcept override { (void)cudaFree(memory); }
  std::size_t free_bytes() override {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total));
    return free;
  }
};

namespace detail::runtime {

[[noreturn]] inline void fail_for_memory(const DeviceFacts& device, const char* what, std::size_t wanted,
                                         std::size_t free) {
  const auto mib = [](std::size_t bytes) { return (bytes + (std::size_t(1) << 20) - 1) >> 20; };
  fail<DeviceError>(device.name, ": ", what, " need ", mib(wanted), " MiB of device memory, and of ",
                    mib(device.memory_bytes), " MiB ", mib(free), " MiB are free");
}

/// Throws DeviceError when there is not enough. `what` is a plural.
inline std::byte* allocate_bytes(DeviceAllocator& allocator, const DeviceFacts& device, const char* what,
                                 std::size_t bytes) {
  void* const data = allocator.allocate(bytes);
  if (data == nullptr) fail_for_memory(device, what, bytes, allocator.free_bytes());
  return static_cast<std::byte*>(data);
}

/// Blocks that were given back, kept for the next requests of about their size: allocating and freeing waits for the
/// device, and every picture asks for rows of its own. All of a context's work is in the order of its stream, so a
/// block may have a new owner before the old one's work is done.
class BlockCache {
 public:
  static constexpr std::size_t largest_block = std::size_t(64) << 20;  // weights and pages are not kept
  static constexpr std::size_t most_bytes = std::size_t(256) << 20;

  explicit BlockCache(std::shared_ptr<DeviceAllocator> allocator) : allocator_(std::move(allocator)) {}
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;
  ~BlockCache() { clear(); }

  struct Block {
    std::byte* data = nullptr;
    std::size_t bytes = 0;
  };

  /// One of at least `bytes`, and at most an eighth more; null if no block fits.
  Block take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.lower_bound(bytes);
    if (found == blocks_.end() || found->first > bytes + bytes / 8) return {};
    const Block block{found->second, found->first};
    blocks_.erase(found);
    bytes_ -= block.bytes;
    return block;
  }
  void give_back(Block block) {
    {
      const std::lock_guard lock(mutex_);
      if (block.bytes <= largest_block && bytes_ + block.bytes <= most_bytes) {
        blocks_.emplace(block.bytes, block.data);
        bytes_ += block.bytes;
        return;
      }
    }
    allocator_->free(block.data, block.bytes);
  }
  /// Frees them all.
  void clear() {
    const std::lock_guard lock(mutex_);
    for (const auto& [bytes, data] : blocks_) allocator_->free(data, bytes);
    blocks_.clear();
    bytes_ = 0;
  }

 private:
  const std::shared_ptr<DeviceAllocator> allocator_;
  std::mutex mutex_;  // what a block belongs to may die in any thread
  std::multimap<std::size_t, std::byte*> blocks_;
  std::size_t bytes_ = 0;
};

/// Device memory that only grows.
class DeviceBlock {
 public:
  explicit DeviceBlock(std::shared_ptr<DeviceAllocator> allocator) : allocator_(std::move(allocator)) {}
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;
  ~DeviceBlock() { free(); }

  /// Contents are lost when it grows.
  void grow(const DeviceFacts& device, std::size_t bytes) {
    free();
    data_ = allocate_bytes(*allocator_, device, "ops", bytes);
    bytes_ = bytes;
  }
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void free() {
    if (data_ != nullptr) allocator_->free(std::exchange(data_, nullptr), std::exchange(bytes_, 0));
  }

  const std::shared_ptr<DeviceAllocator> allocator_;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Pinned host memory in a few slots: the device copies from one of them while the host fills the next.
class Staging {
 public:
  static constexpr std::size_t slot_bytes = std::size_t(4) << 20;

  Staging() = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  ~Staging() {
    for (const Slot& slot : slots_) {
      if (slot.sent != nullptr) (void)cudaEventDestroy(slot.sent);
      (void)cudaFreeHost(slot.data);
    }
  }

  /// The next slot, once nothing reads it any more.
  std::byte* wait_for_slot() {
    next_ = (next_ + 1) % slots_.size();
    Slot& slot = slots_[next_];
    if (slot.data == nullptr) {
      check(cudaMallocHost(&slot.data, slot_bytes));
      check(cudaEventCreateWithFlags(&slot.sent, cudaEventDisableTiming));
    }
    check(cudaEventSynchronize(slot.sent));
    return slot.data;
  }

  /// Copies the slot that wait_for_slot gave last to the device.
  void send(void* to, std::size_t bytes, cudaStream_t stream) {
    const Slot& slot = slots_[next_];
    check(cudaMemcpyAsync(to, slot.data, bytes, cudaMemcpyHostToDevice, stream));
    check(cudaEventRecord(slot.sent, stream));
  }

 private:
  struct Slot {
    std::byte* data = nullptr;
    cudaEvent_t sent = nullptr;
  };
  std::array<Slot, 4> slots_;
  std::size_t next_ = 0;
};

}  // namespace detail::runtime

struct ContextOptions {
  int device = 0;                    ///< as cudaSetDevice counts
  int host_threads = usable_cpus();  ///< for what is left for the CPU, such as copying to pinned memory
  /// One of `device` that can be captured, and that outlives the context; null: the context makes its own. What the
  /// caller puts into it before and between calls is done in order with them.
  cudaStream_t stream = nullptr;
  std::shared_ptr<DeviceAllocator> allocator = std::make_shared<CudaAllocator>();
};

/// Serves one caller at a time, in a thread whose device is `device.number`. All work goes to `stream`; what waits for
/// it says so: `download`, and the few calls that allocate.
class Context {
 public:
  /// Host threads start when they are first needed. Throws DeviceError, see open_device.
  explicit Context(const ContextOptions& options)
      : device(open_device(options.device)),
        stream(options.stream),
        allocator_(options.allocator),
        owns_stream_(options.stream == nullptr),
        host_threads_(options.host_threads) {
    if (owns_stream_) check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  }
  explicit Context(int device_number = 0, int host_threads = usable_cpus())
      : Context(ContextOptions{.device = device_number, .host_threads = host_threads}) {}
  ~Context() {
    (void)cudaStreamSynchronize(stream);
    if (owns_stream_) (void)cudaStreamDestroy(stream);
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  class Recordings;  // graph.cuh

  const DeviceFacts device;
  cudaStream_t stream;
  Order order = Order::invariant;  ///< see linear/choose.hpp for what the other one gains

  /// Device memory for `number` scalars that one op works in; the next call may hand out the same. Grows to the largest
  /// request and stays there: growing allocates and waits for the device, so a graph can be captured only of work that
  /// has run before.
  template <class Scalar>
  Scalar* scratch(std::int64_t number) {
    return reinterpret_cast<Scalar*>(grown(scratch_, std::size_t(number) * sizeof(Scalar)));
  }

  /// `number` counters on the device, all zero: an op that uses them leaves them zero. Grows as scratch does.
  unsigned* counters(std::int64_t number) {
    const std::size_t bytes = std::size_t(number) * sizeof(unsigned), before = counters_.bytes();
    std::byte* data = grown(counters_, bytes);
    if (counters_.bytes() != before) check(cudaMemsetAsync(data, 0, counters_.bytes(), stream));
    return reinterpret_cast<unsigned*>(data);
  }

  ThreadPool& host_pool() {
    if (!host_pool_) host_pool_.emplace(host_threads_);
    return *host_pool_;
  }
  DeviceAllocator& allocator() { return *allocator_; }
  detail::runtime::Staging& staging() { return staging_; }
  const std::shared_ptr<detail::runtime::BlockCache>& block_cache() const { return block_cache_; }

  /// Changes whenever memory that ops work in has moved: what was captured before must not run again.
  int scratch_generation() const { return scratch_generation_; }
  bool capturing() const {
    cudaStreamCaptureStatus status;
    check(cudaStreamIsCapturing(stream, &status));
    return status != cudaStreamCaptureStatusNone;
  }

 private:
  std::byte* grown(detail::runtime::DeviceBlock& block, std::size_t bytes) {
    if (bytes > block.bytes()) {
      expect(!capturing(), "working memory cannot grow while a graph is captured: run the same work once before");
      check(cudaStreamSynchronize(stream));  // work under way may use the old block
      ++scratch_generation_;
      block.grow(device, bytes);
    }
    return block.data();
  }

  std::shared_ptr<DeviceAllocator> allocator_;
  bool owns_stream_;
  int host_threads_;
  std::optional<ThreadPool> host_pool_;
  detail::runtime::DeviceBlock scratch_{allocator_}, counters_{allocator_};
  detail::runtime::Staging staging_;
  std::shared_ptr<detail::runtime::BlockCache> block_cache_ = std::make_shared<detail::runtime::BlockCache>(allocator_);
  int scratch_generation_ = 0;
};

}  // namespace ivl::IVL_CUDA
