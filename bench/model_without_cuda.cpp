// In place of model_cuda/ where there is no nvcc or no GPU.
#include <string>

#include "ivl/core/error.hpp"

namespace ivl::bench {

struct Options;

void run_on_cuda(const std::string&, const Options&) {
  fail<Error>(
      "--device cuda: this program was built without CUDA, since there was no nvcc, or no GPU, when CMake configured "
      "it (IVL_GPU_PROGRAMS)");
}

}  // namespace ivl::bench
