// Planted bugs: bounds, alignment and first values of shared, device and local memory.
#include "ivl/cuda/prim/memory.cuh"

#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;
using namespace planted;

TEST_CASE("planted: a read past a static shared array") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(32);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[32], box);
              box[threadIdx.x] = 1;
              __syncthreads();
              y[threadIdx.x] = box[threadIdx.x + (planted ? 1 : 0)];
            },
            {.grid = 1, .block = 32}, y.data(), planted);
        return y.download()[31] == 1;
      },
      {.wrong_values = true, .race_checker = {Bug::uninitialised}, .sanitizer = "index 32 out of bounds"});
}

TEST_CASE("planted: a write past one array of dynamic shared memory into the next") {
  struct Arrays {
    int *first, *second;
    __host__ __device__ explicit Arrays(SharedCarver& memory)
        : first(memory.take<int>(32)), second(memory.take<int>(32)) {}
  };
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(32);
        SharedCarver size;
        (void)Arrays(size);
        launch(
            +[](int* y, bool planted) {
              IVL_DYNAMIC_SHARED(memory);
              SharedCarver carver(memory);
              const Arrays arrays(carver);
              arrays.second[threadIdx.x] = 2;
              __syncthreads();
              arrays.first[threadIdx.x + (planted ? 1 : 0)] = 1;
              __syncthreads();
              y[threadIdx.x] = arrays.second[threadIdx.x];
            },
            {.grid = 1, .block = 32, .shared_bytes = size.bytes()}, y.data(), planted);
        return y.download()[0] == 2;
      },
      {.wrong_values = true, .sanitizer = "use-after-poison"});
}

TEST_CASE("planted: a read of shared memory that nobody wrote") {
  check_planted(
      [](bool planted) {
        DeviceArray<float> y(32);
        launch(
            +[](float* y, bool planted) {
              IVL_SHARED(float[33], box);
              box[threadIdx.x] = 1;
              if (!planted && threadIdx.x == 0) box[32] = 0;
              __syncthreads();
              y[threadIdx.x] = box[threadIdx.x] + box[32];
            },
            {.grid = 1, .block = 32}, y.data(), planted);
        return y.download()[3] == 1;
      },
      {.wrong_values = true, .race_checker = {Bug::uninitialised}, .says = "reads shared byte 128"});
}

TEST_CASE("planted: shared memory is taken for that of the block before") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(4);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[1], box);
              if (!planted || blockIdx.x == 0) *box = 5;
              y[blockIdx.x] = *box;
            },
            {.grid = 4, .block = 1}, y.data(), planted);
        return y.download()[2] == 5;
      },
      {.wrong_values = true, .race_checker = {Bug::uninitialised}});
}

TEST_CASE("planted: a read past device memory") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(std::vector<int>(32, 1)), y(32);
        launch(
            +[](const int* x, int* y, bool planted) { y[threadIdx.x] = x[threadIdx.x + (planted ? 1 : 0)]; },
            {.grid = 1, .block = 32}, x.data(), y.data(), planted);
        return y.download()[31] == 1;
      },
      {.wrong_values = true, .sanitizer = "use-after-poison"});
}

TEST_CASE("planted: a read past memory from cudaMalloc") {
  check_planted(
      [](bool planted) {
        int* x = nullptr;
        check(cudaMalloc(&x, 32 * sizeof(int)));
        launch(
            +[](int* x, bool planted) {
              volatile int sink = x[threadIdx.x + (planted ? 16 : 0)];
              (void)sink;
            },
            {.grid = 1, .block = simt::checks_addresses() ? 32 : 16}, x, planted);
        check(cudaFree(x));
        return true;
      },
      {.sanitizer = "heap-buffer-overflow"});
}

TEST_CASE("planted: an atomic past device memory") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> x(std::vector<int>(4, 0));
        launch(
            +[](int* x, bool planted) { atomicAdd(&x[planted ? 4 : 3], 0); }, {.grid = 1, .block = 32}, x.data(),
            planted);
        return true;
      },
      {.addresses = {Bug::memory}, .says = "outside every object"});
}

TEST_CASE("planted: a read past a local array") {
  check_planted(
      [](bool planted) {
        launch(
            +[](bool planted) {
              volatile int values[4] = {1, 2, 3, 4};
              volatile int index = planted && simt::checks_addresses() ? 4 : 3;
              volatile int sink = values[index];
              (void)sink;
            },
            {.grid = 1, .block = 1}, planted);
        return true;
      },
      {.sanitizer = "index 4 out of bounds"});
}

TEST_CASE("planted: a load of 16 bytes that is not aligned") {
  check_planted(
      [](bool planted) {
        DeviceArray<float> x(8), y(4);
        launch(
            +[](const float* x, float* y, bool planted) {
              const float4 v = *reinterpret_cast<const float4*>(x + (planted ? 1 : 0));
              y[0] = v.x;
            },
            {.grid = 1, .block = 1}, x.data(), y.data(), planted);
        return true;
      },
      {.sanitizer = "misaligned address"});
}

TEST_CASE("planted: an atomic and a plain access to one place of shared memory") {
  check_planted(
      [](bool planted) {
        DeviceArray<int> y(1);
        launch(
            +[](int* y, bool planted) {
              IVL_SHARED(int[1], sum);
              if (threadIdx.x == 0) *sum = 0;
              __syncthreads();
              atomicAdd(sum, 1);
              if (!planted) __syncthreads();
              if (threadIdx.x == 63) *y = *sum;
            },
            {.grid = 1, .block = 64}, y.data(), planted);
        return y.download()[0] == 64;
      },
      {.wrong_values = true, .race_checker = {Bug::race}, .says = "shared byte 0"});
}
