// The peer of matrix products: cuBLASLt's first choice for a shape, without an epilogue.
#pragma once
#include <cublasLt.h>

#include <string>

#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/runtime/memory.cuh"

namespace ivl::bench {

inline void check(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) fail<Error>("cuBLASLt: status ", int(status));
}

/// y = x W^T in bf16 with float sums; x [rows, in], W [out, in], y [rows, out].
class CublasProduct {
 public:
  CublasProduct(cuda::Context& ctx, int rows, int out, int in) : ctx_(ctx), workspace_(allocate(ctx, workspace_bytes)) {
    check(cublasLtCreate(&handle_));
    check(cublasLtMatmulDescCreate(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check(cublasLtMatmulDescSetAttribute(product_, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    // Column-major: y^T [out, rows] = W [in, out]^T x^T [in, rows].
    check(cublasLtMatrixLayoutCreate(&w_, CUDA_R_16BF, std::uint64_t(in), std::uint64_t(out), in));
    check(cublasLtMatrixLayoutCreate(&x_, CUDA_R_16BF, std::uint64_t(in), std::uint64_t(rows), in));
    check(cublasLtMatrixLayoutCreate(&y_, CUDA_R_16BF, std::uint64_t(out), std::uint64_t(rows), out));
    cublasLtMatmulPreference_t preference;
    check(cublasLtMatmulPreferenceCreate(&preference));
    check(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes,
                                               sizeof workspace_bytes));
    int found = 0;
    check(cublasLtMatmulAlgoGetHeuristic(handle_, product_, w_, x_, y_, y_, preference, 1, &choice_, &found));
    check(cublasLtMatmulPreferenceDestroy(preference));
    if (found == 0) fail<Error>("cuBLASLt has no kernel for ", rows, " x ", out, " x ", in);
  }
  ~CublasProduct() {
    for (const cublasLtMatrixLayout_t layout : {w_, x_, y_}) (void)cublasLtMatrixLayoutDestroy(layout);
    (void)cublasLtMatmulDescDestroy(product_);
    (void)cublasLtDestroy(handle_);
  }
  CublasProduct(const CublasProduct&) = delete;
  CublasProduct& operator=(const CublasProduct&) = delete;

  void operator()(const void* x, const void* w, void* y) {
    const float one = 1, zero = 0;
    check(cublasLtMatmul(handle_, product_, &one, w, w_, x, x_, &zero, y, y_, y, y_, &choice_.algo, workspace_.data,
                         workspace_bytes, ctx_.stream));
  }

 private:
  static constexpr std::size_t workspace_bytes = std::size_t(32) << 20;

  cuda::Context& ctx_;
  Memory workspace_;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t product_ = nullptr;
  cublasLtMatrixLayout_t w_ = nullptr, x_ = nullptr, y_ = nullptr;
  cublasLtMatmulHeuristicResult_t choice_{};
};

}  // namespace ivl::bench
