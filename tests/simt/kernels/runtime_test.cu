#include <cuda_runtime.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <typeinfo>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/cuda/linear/place.cuh"
#include "ivl/cuda/moe/experts.cuh"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/graph.cuh"
#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/memory.cuh"
#include "tests/support/text.hpp"

namespace {

using namespace ivl;
using ivl_test::what_of;

__global__ void add_kernel(int* values, int count, const int* term) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) values[i] += *term;
}

void add(cuda::Context& ctx, int* values, int count, const int* term) {
  cuda::launch(add_kernel, {.grid = unsigned(ceil_div(count, 32)), .block = 32, .stream = ctx.stream}, values, count,
               term);
}

/// Several slots of pinned memory, and no whole number of them.
constexpr std::size_t many_bytes = 9 * cuda::detail::runtime::Staging::slot_bytes + 12345;

std::vector<std::byte> numbered_bytes(std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = std::byte((i * 2654435761u) >> 13);
  return bytes;
}

std::vector<std::byte> downloaded(cuda::Context& ctx, const Memory& memory) {
  std::vector<std::byte> bytes(memory.bytes);
  download(ctx, bytes.data(), memory.data, bytes.size());
  return bytes;
}

TensorView view_of(const Shape& shape, Dtype dtype, const std::vector<std::byte>& bytes) {
  return {dtype, shape, bytes};
}

/// Counts what it gives, and gives no more than `most_bytes` at once.
class CountingAllocator final : public cuda::DeviceAllocator {
 public:
  void* allocate(std::size_t bytes) override {
    if (bytes > most_bytes) return nullptr;
    void* const memory = cuda_.allocate(bytes);
    given[memory] = bytes;
    return memory;
  }
  void free(void* memory, std::size_t bytes) noexcept override {
    wrong_frees += given.count(memory) == 0 || given[memory] != bytes;
    given.erase(memory);
    cuda_.free(memory, bytes);
  }
  std::size_t free_bytes() override { return most_bytes; }

  std::map<void*, std::size_t> given;
  std::size_t most_bytes = std::size_t(1) << 30;
  int wrong_frees = 0;

 private:
  cuda::CudaAllocator cuda_;
};

}  // namespace

TEST_CASE("on CUDA everything lies in a namespace that names the architectures") {
#if defined(__CUDACC__)
  const char* const tag = "sm_";
#else
  const char* const tag = "on_host";
#endif
  CHECK(std::string(typeid(cuda::Context).name()).find(tag) != std::string::npos);
}

TEST_CASE("on CUDA a context works in its caller's stream, in order with his own work, and takes his memory") {
  cudaStream_t stream = nullptr;
  cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const auto allocator = std::make_shared<CountingAllocator>();
  std::optional<Memory> left;
  {
    cuda::Context ctx({.stream = stream, .allocator = allocator});
    CHECK(ctx.stream == stream);
    const Memory values = allocate(ctx, 100 * sizeof(int)), one = allocate(ctx, sizeof(int));
    left = allocate(ctx, 500);
    (void)ctx.scratch<float>(1000);
    (void)ctx.counters(10);
    CHECK(allocator->given.size() == 5);
    const int term = 1;
    upload(ctx, one.data, &term, sizeof term);
    cuda::check(cudaMemsetAsync(values.data, 0, values.bytes, stream));
    add(ctx, reinterpret_cast<int*>(values.data), 100, reinterpret_cast<const int*>(one.data));
    int found = 0, *pinned = nullptr;
    cuda::check(cudaMallocHost(&pinned, sizeof(int)));
    cuda::check(cudaMemcpyAsync(pinned, values.data, sizeof(int), cudaMemcpyDeviceToHost, stream));
    cuda::check(cudaStreamSynchronize(stream));
    found = *pinned;
    cuda::check(cudaFreeHost(pinned));
    CHECK(found == 1);
    allocator->most_bytes = std::size_t(3) << 20;
    const std::string message = what_of<Error>([&] { (void)allocate(ctx, std::size_t(5) << 20); });
    CHECK(message.starts_with(ctx.device.name + ": buffers need 5 MiB of device memory, and of "));
    CHECK(message.ends_with(" MiB 3 MiB are free"));
    CHECK(what_of<Error>([&] { require_memory(ctx, "weights", std::size_t(5) << 20); }).ends_with(" 3 MiB are free"));
  }
  left.reset();  // after its context
  CHECK(allocator->given.empty());
  CHECK(allocator->wrong_frees == 0);
  cuda::check(cudaStreamSynchronize(stream));
  cuda::check(cudaStreamDestroy(stream));
}

TEST_CASE("on CUDA working memory that would grow while a graph is captured is refused, with the way out") {
  cuda::Context ctx;
  cuda::Context::Recordings recordings;
  int calls = 0;
  const auto step = [&] { replay(ctx, recordings, 1, [&] { (void)ctx.scratch<int>(++calls == 1 ? 10 : 100000); }); };
  step();
  CHECK(what_of<Error>(step) == "working memory cannot grow while a graph is captured: run the same work once before");
  CHECK_FALSE(ctx.capturing());
}

TEST_CASE("on CUDA what is uploaded is what was there at the call, whatever the host does with it then") {
  cuda::Context ctx;
  const Memory memory = allocate(ctx, many_bytes), twin = allocate(ctx, many_bytes);
  const std::vector<std::byte> wanted = numbered_bytes(many_bytes);
  std::vector<std::byte> source = wanted;
  upload(ctx, memory.data, source.data(), source.size());
  std::fill(source.begin(), source.end(), std::byte{1});
  copy(ctx, twin.data, memory.data, many_bytes);
  CHECK(downloaded(ctx, twin) == wanted);
}

TEST_CASE("on CUDA many small uploads arrive in order") {
  cuda::Context ctx;
  const Memory memory = allocate(ctx, 100 * sizeof(int));
  for (int i = 0; i < 100; ++i) upload(ctx, memory.data + std::size_t(i) * sizeof(int), &i, sizeof i);
  std::vector<int> found(100), wanted(100);
  std::iota(wanted.begin(), wanted.end(), 0);
  download(ctx, found.data(), memory.data, memory.bytes);
  CHECK(found == wanted);
}

TEST_CASE("on CUDA no bytes are no memory, and copying them is nothing") {
  cuda::Context ctx;
  const Memory nothing = allocate(ctx, 0);
  CHECK(nothing.data == nullptr);
  copy(ctx, nothing.data, nothing.data, 0);
  upload(ctx, nothing.data, nullptr, 0);
  download(ctx, nullptr, nothing.data, 0);
}

#if !defined(__CUDACC__)
TEST_CASE("on CUDA a block that was given back serves the next request of about its size, and frees itself in need") {
  std::optional<cuda::Context> ctx(std::in_place);
  const auto allocations = [] { return simt::stats().device_allocations; };
  std::optional<Memory> memory = allocate(*ctx, 8000);
  const std::byte* const data = memory->data;
  memory.reset();
  const auto before = allocations();
  memory = allocate(*ctx, 7900);
  CHECK(memory->data == data);
  CHECK(memory->bytes == 7900);
  CHECK(allocations() == before);
  const Memory other = allocate(*ctx, 7900);  // the block has an owner
  CHECK(allocations() == before + 1);
  memory.reset();
  CHECK(allocate(*ctx, 100).data != data);  // far too large for that
  // Nothing else is free: what was kept is freed first.
  const std::size_t free = simt::free_bytes();
  simt::free_bytes() = 0;
  CHECK(allocate(*ctx, 8050).bytes == 8050);
  simt::free_bytes() += free;
  memory = allocate(*ctx, 500);
  ctx.reset();
  memory.reset();  // after its context
}
#endif

TEST_CASE("on CUDA too much memory is refused with what was wanted and what is free") {
  cuda::Context ctx;
  const std::size_t too_much = std::size_t(1) << 50;
  const std::string message = what_of<Error>([&] { (void)allocate(ctx, too_much); });
  CHECK(message.starts_with(ctx.device.name + ": buffers need 1073741824 MiB of device memory, and of "));
  CHECK(message.ends_with(" MiB are free"));
  CHECK(what_of<Error>([&] {
          require_memory(ctx, "weights", too_much);
        }).starts_with(ctx.device.name + ": weights need "));
  require_memory(ctx, "weights", 1);
  (void)allocate(ctx, 1);  // the error left nothing behind
  // Working memory too; what was captured with the old block must not run again.
  (void)ctx.scratch<std::byte>(100);
  const int generation = ctx.scratch_generation();
  const std::string scratch_message = what_of<Error>([&] { (void)ctx.scratch<std::byte>(std::int64_t(too_much)); });
  CHECK(scratch_message.starts_with(ctx.device.name + ": ops need 1073741824 MiB of device memory, and of "));
  CHECK(ctx.scratch_generation() != generation);
  CHECK(ctx.scratch<std::byte>(1) != nullptr);
}

TEST_CASE("without a device that can run it a context says what is wrong in one sentence") {
  using cuda::detail::runtime::require_compute_capability;
  using cuda::detail::runtime::require_device;
  const auto says = [](int number, int devices, cudaError_t code, int driver) {
    return what_of<Error>([&] { require_device(number, devices, code, driver, 13000); });
  };
  CHECK(says(0, 0, cudaErrorNoDevice, 13000) == "no CUDA device: the driver found none");
  CHECK(says(0, 0, cudaErrorInsufficientDriver, 0) == "no CUDA device: no NVIDIA driver is installed");
  CHECK(says(0, 0, cudaErrorInsufficientDriver, 12080) ==
        "the NVIDIA driver is too old: expected one for CUDA 13.0 or newer, found one for CUDA 12.8");
  CHECK(says(2, 2, cudaSuccess, 13000) == "no CUDA device 2: the driver found 2, counted from 0");
  CHECK(says(-1, 2, cudaSuccess, 13000) == "no CUDA device -1: the driver found 2, counted from 0");
  CHECK(says(1, 2, cudaSuccess, 13000) == "");
  CHECK(what_of<Error>([] { require_compute_capability("Tesla T4", 75); }) ==
        "Tesla T4: expected compute capability 8.0 (Ampere) or newer, found 7.5");
  CHECK(what_of<Error>([] { require_compute_capability("A100", 80); }) == "");
}

TEST_CASE("on CUDA scratch is one block that grows, and counters are zero") {
  cuda::Context ctx;
  const float* small = ctx.scratch<float>(100);
  const int generation = ctx.scratch_generation();
  CHECK(ctx.scratch<char>(400) == static_cast<const void*>(small));
  CHECK(ctx.scratch_generation() == generation);
  CHECK(ctx.scratch<float>(1000) != nullptr);
  CHECK(ctx.scratch_generation() == generation + 1);
  for (const int number : {10, 7, 50}) {
    std::vector<unsigned> found(std::size_t(number), 1u);
    download(ctx, found.data(), ctx.counters(number), found.size() * sizeof(unsigned));
    CHECK(found == std::vector<unsigned>(std::size_t(number)));
  }
}

TEST_CASE("on CUDA what is replayed reads what is in memory then") {
  cuda::Context ctx;
  cuda::Context::Recordings recordings;
  constexpr int count = 70;
  const Memory values = allocate(ctx, count * sizeof(int)), term = allocate(ctx, sizeof(int));
  const std::vector<int> zeros(count);
  upload(ctx, values.data, zeros.data(), values.bytes);
  int asked = 0, sum = 0;
  const auto step = [&](std::uint64_t key) {
    const int now = ++sum;  // 1, 2, 3, ...
    upload(ctx, term.data, &now, sizeof now);
    replay(ctx, recordings, key, [&] {
      ++asked;
      // Twice, through working memory of the op.
      int* twice = ctx.scratch<int>(count);
      cuda::check(cudaMemcpyAsync(twice, values.data, values.bytes, cudaMemcpyDeviceToDevice, ctx.stream));
      add(ctx, twice, count, reinterpret_cast<const int*>(term.data));
      cuda::check(cudaMemcpyAsync(values.data, twice, values.bytes, cudaMemcpyDeviceToDevice, ctx.stream));
    });
  };
  const auto check_sum = [&] {
    std::vector<int> found(count);
    download(ctx, found.data(), values.data, values.bytes);
    CHECK(found == std::vector<int>(count, sum * (sum + 1) / 2));
  };
  for (int i = 0; i < 5; ++i) step(1);
  CHECK(asked == 2);  // once to do it, once to capture it
  check_sum();
  step(2);
  CHECK(asked == 3);
  (void)ctx.scratch<int>(100 * count);  // it moves: what was captured must not run again
  step(1);
  CHECK(asked == 4);
  step(1);
  CHECK(asked == 4);
  check_sum();
}

TEST_CASE("on CUDA a step that runs in another order is another step: it runs once before it is captured") {
  cuda::Context ctx;
  cuda::Context::Recordings recordings;
  const Memory values = allocate(ctx, sizeof(int)), one = allocate(ctx, sizeof(int));
  cuda::check(cudaMemsetAsync(values.data, 0, values.bytes, ctx.stream));
  const int term = 1;
  upload(ctx, one.data, &term, sizeof term);
  int asked = 0;
  const auto step = [&](cuda::Order order) {
    ctx.order = order;
    replay(ctx, recordings, 1, [&] {
      ++asked;
      // An order has its own kernels, and they their own need of working memory, which cannot grow in a capture.
      (void)ctx.scratch<int>(ctx.order == cuda::Order::fastest ? 10 : 100000);
      add(ctx, reinterpret_cast<int*>(values.data), 1, reinterpret_cast<const int*>(one.data));
    });
  };
  using enum cuda::Order;
  for (const cuda::Order order : {fastest, fastest, fastest, invariant, invariant, invariant}) step(order);
  CHECK(asked == 4);  // in each order once to do it, once to capture it
  step(fastest);
  CHECK(asked == 5);  // scratch has moved since
  for (const cuda::Order order : {invariant, fastest}) step(order);
  CHECK(asked == 5);
  int found = 0;
  download(ctx, &found, values.data, sizeof found);
  CHECK(found == 9);
}

TEST_CASE("on CUDA what throws while it is captured leaves the context usable") {
  cuda::Context ctx;
  cuda::Context::Recordings recordings;
  const Memory values = allocate(ctx, sizeof(int));
  replay(ctx, recordings, 1, [&] { cuda::check(cudaMemsetAsync(values.data, 0, sizeof(int), ctx.stream)); });
  CHECK_THROWS_AS(replay(ctx, recordings, 1, [&] { fail<RequestError>("no"); }), RequestError);
  CHECK_FALSE(ctx.capturing());
  replay(ctx, recordings, 1, [&] { cuda::check(cudaMemsetAsync(values.data, 1, sizeof(int), ctx.stream)); });
  int found = 0;
  download(ctx, &found, values.data, sizeof found);
  CHECK(found == 0x01010101);
}

TEST_CASE("on CUDA parts of a matrix lie row by row, stacked or gate and up in turns") {
  cuda::Context ctx;
  const auto a = numbered_bytes(3 * 16 * 2), b = numbered_bytes(5 * 16 * 2);
  const SourceMatrix stacked[] = {source_matrix(Format::bf16, 3, 16, {a}), source_matrix(Format::bf16, 5, 16, {b})};
  const PlacedMatrix w = place_matrix(ctx, stacked, Fusion::stacked);
  CHECK(w.format() == Format::bf16);
  CHECK(w.out == 8);
  CHECK(w.in == 16);
  auto wanted = a;
  wanted.insert(wanted.end(), b.begin(), b.end());
  CHECK(downloaded(ctx, w.memory()) == wanted);

  // So many rows that no whole number of slots holds them.
  const std::size_t row = 48 * 4, rows = cuda::detail::runtime::Staging::slot_bytes / row + 5;
  const auto gate = numbered_bytes(rows * row);
  auto up = gate;
  std::reverse(up.begin(), up.end());
  const SourceMatrix both[] = {source_matrix(Format::f32, std::int64_t(rows), 48, {gate}),
                               source_matrix(Format::f32, std::int64_t(rows), 48, {up})};
  const PlacedMatrix fused = place_matrix(ctx, both, Fusion::interleaved);
  CHECK(fused.out == 2 * std::int64_t(rows));
  const auto found = downloaded(ctx, fused.memory());
  REQUIRE(found.size() == 2 * rows * row);
  for (std::size_t r = 0; r < rows; ++r) {
    REQUIRE(std::memcmp(&found[2 * r * row], &gate[r * row], row) == 0);
    REQUIRE(std::memcmp(&found[(2 * r + 1) * row], &up[r * row], row) == 0);
  }
}

TEST_CASE("on CUDA vectors are floats, tables as they are, and other dtypes are refused") {
  cuda::Context ctx;
  const std::vector<std::byte> one_bf16{std::byte{0x80}, std::byte{0x3f}, std::byte{0}, std::byte{0xc0}};  // 1, -2
  const std::vector<std::byte> one_f16{std::byte{0}, std::byte{0x38}};                                     // 0.5
  const TensorView parts[] = {view_of({2}, Dtype::bf16, one_bf16), view_of({1, 1}, Dtype::f16, one_f16)};
  const PlacedVector vector = place_vector(ctx, parts);
  std::vector<float> found(3);
  REQUIRE(vector.width == 3);
  download(ctx, found.data(), vector.data(), sizeof(float) * 3);
  CHECK(found == std::vector<float>{1, -2, 0.5f});

  const auto bytes = numbered_bytes(3 * 4 * 2);
  const PlacedTable table = place_table(ctx, source_matrix(Format::f16, 3, 4, {bytes}));
  CHECK(table.format == Format::f16);
  CHECK(table.rows == 3);
  CHECK(table.width == 4);
  CHECK(downloaded(ctx, table.memory) == bytes);

  const auto eight = numbered_bytes(8);
  const TensorView ints[] = {view_of({2}, Dtype::i32, eight)};
  CHECK(what_of<Error>([&] { (void)place_vector(ctx, ints); }) ==
        "cannot place a tensor of type I32: expected F32, BF16 or F16");
}
