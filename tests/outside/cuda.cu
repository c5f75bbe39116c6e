// A user's program with kernels; where there is no GPU it says so, which is as right.
#include <cstdio>

#include "ivl/cuda/rows/norm.cuh"
#include "ivl/cuda/runtime/context.cuh"

int main() {
  try {
    ivl::cuda::Context ctx;
    const ivl::Rows<float> none(nullptr, 0, 48);
    rms_norm(ctx, ivl::Rows<const float>(none), nullptr, 1e-6f, none);
    std::printf("%s\n", ctx.device.name.c_str());
  } catch (const ivl::cuda::DeviceError& error) {
    std::printf("%s\n", error.what());
  }
}
