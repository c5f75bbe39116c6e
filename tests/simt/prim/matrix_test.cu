// Conformance of ldmatrix and mma.sync: the same file runs in the emulator and on a GPU.
#include "ivl/cuda/prim/matrix.cuh"

#include <cmath>
#include <random>

#include "ivl/cuda/runtime/launch.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/support/device_test.hpp"

namespace {

using namespace ivl;

/// x [32][8] 16-bit scalars: four matrices of 8 rows; y [32 lanes][Matrices].
template <int Matrices, bool Transposed>
__global__ void ldmatrix_kernel(const std::uint16_t* x, std::uint32_t* y) {
  IVL_SHARED(uint4[32], rows);
  rows[threadIdx.x] = reinterpret_cast<const uint4*>(x)[threadIdx.x];
  __syncwarp();
  std::uint32_t fragment[Matrices];
  if constexpr (Transposed) {
    cuda::prim::ldmatrix_transposed(fragment, &rows[threadIdx.x]);
  } else {
    cuda::prim::ldmatrix(fragment, &rows[threadIdx.x]);
  }
  for (int m = 0; m < Matrices; ++m) y[threadIdx.x * Matrices + m] = fragment[m];
}

template <int Matrices, bool Transposed>
void test_ldmatrix() {
  CAPTURE(Matrices);
  CAPTURE(Transposed);
  std::vector<std::uint16_t> values;
  for (int i = 0; i < 256; ++i) values.push_back(std::uint16_t(257 * i + 3));
  for_each_order([&] {
    DeviceArray<std::uint16_t> x(values);
    DeviceArray<std::uint32_t> y(32 * Matrices);
    cuda::launch(ldmatrix_kernel<Matrices, Transposed>, {.grid = 1, .block = 32}, x.data(), y.data());
    const std::vector<std::uint32_t> result = y.download();
    for (int lane = 0; lane < 32; ++lane) {
      for (int m = 0; m < Matrices; ++m) {
        for (int half = 0; half < 2; ++half) {
          const int i = lane / 4, j = 2 * (lane % 4) + half;
          const int row = Transposed ? j : i, column = Transposed ? i : j;
          REQUIRE(std::uint16_t(result[std::size_t(lane * Matrices + m)] >> 16 * half) ==
                  values[std::size_t(64 * m + 8 * row + column)]);
        }
      }
    }
  });
}

// The fragment maps below are written from the PTX ISA once more, on purpose not from the code under test.

/// a [16][16], b [16][8] row-major; c [16][8] is added to.
template <class Scalar>
__global__ void mma_k16_kernel(const Scalar* a, const Scalar* b, float* c) {
  const int group = int(threadIdx.x) / 4, place = int(threadIdx.x) % 4;
  const auto pair = [](Scalar low, Scalar high) { return std::uint32_t(low.bits) | std::uint32_t(high.bits) << 16; };
  const auto a_pair = [&](int row, int column) { return pair(a[16 * row + column], a[16 * row + column + 1]); };
  const std::uint32_t a_fragment[4] = {a_pair(group, 2 * place), a_pair(group + 8, 2 * place),
                                       a_pair(group, 2 * place + 8), a_pair(group + 8, 2 * place + 8)};
  const auto b_pair = [&](int row, int column) { return pair(b[8 * row + column], b[8 * (row + 1) + column]); };
  const std::uint32_t b_fragment[2] = {b_pair(2 * place, group), b_pair(2 * place + 8, group)};
  float* const c_of[4] = {&c[8 * group + 2 * place], &c[8 * group + 2 * place + 1], &c[8 * (group + 8) + 2 * place],
                          &c[8 * (group + 8) + 2 * place + 1]};
  float c_fragment[4] = {*c_of[0], *c_of[1], *c_of[2], *c_of[3]};
  cuda::prim::mma_m16n8k16<Scalar>(c_fragment, a_fragment, b_fragment);
  for (int i = 0; i < 4; ++i) *c_of[i] = c_fragment[i];
}

/// a [16][32], b transposed [8][32]; c [16][8] is added to.
__global__ void mma_k32_kernel(const std::int8_t* a, const std::int8_t* b, std::int32_t* c) {
  const int group = int(threadIdx.x) / 4, place = int(threadIdx.x) % 4;
  const auto four = [](const std::int8_t* from) { return *reinterpret_cast<const std::uint32_t*>(from); };
  const std::uint32_t a_fragment[4] = {four(&a[32 * group + 4 * place]), four(&a[32 * (group + 8) + 4 * place]),
                                       four(&a[32 * group + 4 * place + 16]),
                                       four(&a[32 * (group + 8) + 4 * place + 16])};
  const std::uint32_t b_fragment[2] = {four(&b[32 * group + 4 * place]), four(&b[32 * group + 4 * place + 16])};
  std::int32_t* const c_of[4] = {&c[8 * group + 2 * place], &c[8 * group + 2 * place + 1],
                                 &c[8 * (group + 8) + 2 * place], &c[8 * (group + 8) + 2 * place + 1]};
  std::int32_t c_fragment[4] = {*c_of[0], *c_of[1], *c_of[2], *c_of[3]};
  cuda::prim::mma_m16n8k32(c_fragment, a_fragment, b_fragment);
  for (int i = 0; i < 4; ++i) *c_of[i] = c_fragment[i];
}

}  // namespace

TEST_CASE("ldmatrix hands lane l the pair l % 4 of row l / 4, or of column l / 4") {
  test_ldmatrix<1, false>();
  test_ldmatrix<2, false>();
  test_ldmatrix<4, false>();
  test_ldmatrix<1, true>();
  test_ldmatrix<2, true>();
  test_ldmatrix<4, true>();
}

TEST_CASE_TEMPLATE("mma_m16n8k16 adds a product of 16-bit scalars", Scalar, bf16, half) {
  std::mt19937 random{7};
  std::normal_distribution<float> normal;
  std::vector<Scalar> a_values, b_values;
  std::vector<float> c_values;
  for (int i = 0; i < 16 * 16; ++i) a_values.push_back(round_to<Scalar>(normal(random)));
  for (int i = 0; i < 16 * 8; ++i) b_values.push_back(round_to<Scalar>(normal(random)));
  for (int i = 0; i < 16 * 8; ++i) c_values.push_back(normal(random));
  for_each_order([&] {
    DeviceArray<Scalar> a(a_values), b(b_values);
    DeviceArray<float> c(c_values);
    cuda::launch(mma_k16_kernel<Scalar>, {.grid = 1, .block = 32}, a.data(), b.data(), c.data());
    const std::vector<float> result = c.download();
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        double want = double(c_values[std::size_t(8 * i + j)]), size = std::abs(want);
        for (int k = 0; k < 16; ++k) {
          const double product =
              double(to_float(a_values[std::size_t(16 * i + k)])) * double(to_float(b_values[std::size_t(8 * k + j)]));
          want += product;
          size += std::abs(product);
        }
        // Products are exact; tensor cores may truncate where they align 17 terms, so 2^-22 of the sizes for each.
        REQUIRE(std::abs(double(result[std::size_t(8 * i + j)]) - want) <= 17 * 0x1p-22 * size);
      }
    }
  });
}

TEST_CASE("mma_m16n8k32 adds a product of 8-bit integers exactly") {
  std::mt19937 random{8};
  std::uniform_int_distribution<int> any(-128, 127);
  std::vector<std::int8_t> a_values, b_values;
  std::vector<std::int32_t> c_values;
  for (int i = 0; i < 16 * 32; ++i) a_values.push_back(std::int8_t(any(random)));
  for (int i = 0; i < 8 * 32; ++i) b_values.push_back(std::int8_t(any(random)));
  for (int i = 0; i < 16 * 8; ++i) c_values.push_back(1000000 * any(random));
  for_each_order([&] {
    DeviceArray<std::int8_t> a(a_values), b(b_values);
    DeviceArray<std::int32_t> c(c_values);
    cuda::launch(mma_k32_kernel, {.grid = 1, .block = 32}, a.data(), b.data(), c.data());
    const std::vector<std::int32_t> result = c.download();
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 8; ++j) {
        std::int32_t want = c_values[std::size_t(8 * i + j)];
        for (int k = 0; k < 32; ++k) want += a_values[std::size_t(32 * i + k)] * b_values[std::size_t(32 * j + k)];
        REQUIRE(result[std::size_t(8 * i + j)] == want);
      }
    }
  });
}
