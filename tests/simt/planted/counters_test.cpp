// What the emulator counts of a kernel, on kernels whose numbers are known.
#include "ivl/cuda/prim/async_copy.cuh"
#include "ivl/cuda/prim/matrix.cuh"
#include "ivl/cuda/runtime/shared_memory.cuh"
#include "tests/simt/planted/planted.hpp"

using namespace ivl;
using namespace ivl::cuda;

namespace {

/// Two warps; each reads a float a lane `stride` apart, and leaves and fetches it in shared memory `pitch` apart.
void move_kernel(const float* x, float* y, int stride, int pitch) {
  IVL_SHARED(float[64 * 33], box);
  box[int(threadIdx.x) * pitch] = x[int(threadIdx.x) * stride];
  __syncthreads();
  y[blockIdx.x * 64 + threadIdx.x] = __shfl_xor_sync(0xffffffffu, box[int(threadIdx.x) * pitch], 1);
}

/// One warp: 16 bytes a lane by cp.async, loaded as matrices from rows `pitch` bytes apart, and a product.
void multiply_kernel(const unsigned char* x, float* y, int pitch) {
  IVL_SHARED(unsigned char[4096], tile);
  const int lane = int(threadIdx.x);
  prim::cp_async<16>(&tile[lane * pitch], x + 16 * lane);
  prim::cp_async_wait_all();
  __syncwarp();
  std::uint32_t a[4], b[2] = {};
  prim::ldmatrix(a, &tile[lane * pitch]);
  float c[4] = {};
  prim::mma_m16n8k16<bf16>(c, a, b);
  y[lane] = c[0];
}

template <class Run>
simt::Counts counted(const void* kernel, const Run& run) {
  const simt::Counts before = simt::counts_of(kernel);
  simt::counting() = true;
  run();
  simt::counting() = false;
  simt::Counts c = simt::counts_of(kernel);
  c.launches -= before.launches, c.blocks -= before.blocks, c.barriers -= before.barriers;
  c.matrix_products -= before.matrix_products, c.matrix_loads -= before.matrix_loads, c.exchanges -= before.exchanges;
  c.shared_accesses -= before.shared_accesses, c.extra_passes -= before.extra_passes;
  c.device_accesses -= before.device_accesses, c.sectors -= before.sectors, c.least -= before.least;
  return c;
}

}  // namespace

TEST_CASE("accesses, passes over banks and sectors are counted, in every order of threads") {
  for_each_order([] {
    for (const int stride : {1, 8}) {
      for (const int pitch : {1, 2, 32, 33}) {
        CAPTURE(stride);
        CAPTURE(pitch);
        DeviceArray<float> x(std::vector<float>(64 * 8)), y(3 * 64);
        const simt::Counts c = counted(reinterpret_cast<const void*>(move_kernel), [&] {
          launch(move_kernel, {.grid = 3, .block = 64}, x.data(), y.data(), stride, pitch);
        });
        CHECK(c.launches == 1);
        CHECK(c.blocks == 3);
        CHECK(c.barriers == 3 * 2);
        CHECK(c.exchanges == 3 * 2);
        if (!simt::checks_races()) continue;
        CHECK(c.shared_accesses == 3 * 2 * 2);
        CHECK(c.extra_passes == 3 * 2 * 2 * (pitch == 2 ? 1 : pitch == 32 ? 31 : 0));
        CHECK(c.device_accesses == 3 * 2 * 2);
        CHECK(c.least == 3 * 2 * 2 * 4);
        CHECK(c.sectors == 3 * 2 * (4 + (stride == 1 ? 4 : 32)));
      }
    }
  });
}

TEST_CASE("copies, matrix loads and products are counted") {
  for (const int pitch : {16, 128}) {
    DeviceArray<unsigned char> x(std::vector<unsigned char>(512));
    DeviceArray<float> y(32);
    const simt::Counts c = counted(reinterpret_cast<const void*>(multiply_kernel), [&] {
      launch(multiply_kernel, {.grid = 1, .block = 32}, x.data(), y.data(), pitch);
    });
    CHECK(c.matrix_loads == 1);
    CHECK(c.matrix_products == 1);
    CHECK(c.exchanges == 1);
    if (!simt::checks_races()) continue;
    CHECK(c.shared_accesses == 2);                            // the copy's and the load's
    CHECK(c.extra_passes == (pitch == 128 ? 2 * 4 * 7 : 0));  // eight lanes at once, all in the same banks
    CHECK(c.device_accesses == 2);
    CHECK(c.sectors == 16 + 4);
    CHECK(c.least == 16 + 4);
  }
  const std::string table = simt::table_of_counts();
  CHECK(table.find("multiply_kernel") != std::string::npos);
}
