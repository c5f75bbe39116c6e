// In place of any_chat_cuda.cu where there is no nvcc or no GPU.
#include "any_chat.hpp"
#include "ivl/core/error.hpp"

std::unique_ptr<AnyChat> open_cuda_chat(const std::filesystem::path&, int, const ivl::ChatOptions&,
                                        const ivl::ProgressCallback&) {
  ivl::fail<ivl::Error>(
      "--device cuda: this program was built without CUDA, since there was no nvcc, or no GPU, when CMake configured "
      "it (IVL_GPU_PROGRAMS)");
}
