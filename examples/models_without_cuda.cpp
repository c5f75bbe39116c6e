// In place of models_cuda.cu where there is no nvcc or no GPU.
#include "ivl/core/error.hpp"
#include "models.hpp"

ivl::AnyModel open_on_cuda(const ModelChoice&, const ivl::LoadOptions&, std::string&) {
  ivl::fail<ivl::Error>(
      "--device cuda: this program was built without CUDA, since there was no nvcc, or no GPU, when CMake configured "
      "it (IVL_GPU_PROGRAMS)");
}
