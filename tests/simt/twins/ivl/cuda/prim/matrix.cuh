// The emulator's twin of kernels/ivl/cuda/prim/matrix.cuh.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

template <int Matrices>
void ldmatrix(std::uint32_t (&fragment)[Matrices], const void* row, simt::Site at = simt::Site::current()) {
  static_assert(Matrices == 1 || Matrices == 2 || Matrices == 4, "ldmatrix: Matrices must be 1, 2 or 4");
  simt::load_matrices(fragment, Matrices, false, row, at);
}

template <int Matrices>
void ldmatrix_transposed(std::uint32_t (&fragment)[Matrices], const void* row, simt::Site at = simt::Site::current()) {
  static_assert(Matrices == 1 || Matrices == 2 || Matrices == 4, "ldmatrix: Matrices must be 1, 2 or 4");
  simt::load_matrices(fragment, Matrices, true, row, at);
}

template <class Scalar>
void mma_m16n8k16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  simt::Site at = simt::Site::current()) {
  static_assert(std::is_same_v<Scalar, bf16> || std::is_same_v<Scalar, half>,
                "mma_m16n8k16: Scalar must be bf16 or half");
  simt::multiply_matrices(std::is_same_v<Scalar, bf16> ? simt::Operands::bf16 : simt::Operands::f16, c, a, b, at);
}

inline void mma_m16n8k32(std::int32_t (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                         simt::Site at = simt::Site::current()) {
  simt::multiply_matrices(simt::Operands::s8, c, a, b, at);
}

}  // namespace ivl::IVL_CUDA::prim
