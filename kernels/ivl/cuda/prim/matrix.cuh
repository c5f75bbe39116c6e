// Tensor-core fragments of one warp: ldmatrix and mma.sync (sm_80). All 32 lanes call together, from the same line.
//
// Of a fragment, lane l holds (g = l / 4, p = l % 4; PTX ISA, "Matrix Fragments for mma.m16n8k16"):
//   A 16x16  a[r]  = A[g + 8 * (r % 2)][2p + 8 * (r / 2) + {0, 1}]         low half first
//   B 16x8   b[r]  = B[2p + 8 * r + {0, 1}][g]
//   C 16x8   c[i]  = C[g + 8 * (i / 2)][2p + i % 2]
// and of 8-bit ones four to a register:
//   A 16x32  a[r]  = A[g + 8 * (r % 2)][4p + 16 * (r / 2) + {0, 1, 2, 3}]
//   B 32x8   b[r]  = B[4p + 16 * r + {0, 1, 2, 3}][g]
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ivl/core/scalar.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA::prim {

/// Loads `Matrices` (1, 2 or 4) 8x8 matrices of 16-bit scalars. Lane 8m + r gives row r of matrix m, 16 bytes aligned
/// to 16; fragment[m] is row l / 4, columns 2 (l % 4) and the next.
template <int Matrices>
__device__ inline void ldmatrix(std::uint32_t (&fragment)[Matrices], const void* row) {
  static_assert(Matrices == 1 || Matrices == 2 || Matrices == 4, "ldmatrix: Matrices must be 1, 2 or 4");
  const auto from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Matrices == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(fragment[0]) : "r"(from) : "memory");
  } else if constexpr (Matrices == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragment[0]), "=r"(fragment[1])
                 : "r"(from)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(from)
                 : "memory");
  }
}

/// As ldmatrix, each matrix transposed: fragment[m] is column l / 4, rows 2 (l % 4) and the next.
template <int Matrices>
__device__ inline void ldmatrix_transposed(std::uint32_t (&fragment)[Matrices], const void* row) {
  static_assert(Matrices == 1 || Matrices == 2 || Matrices == 4, "ldmatrix: Matrices must be 1, 2 or 4");
  const auto from = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Matrices == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(fragment[0])
                 : "r"(from)
                 : "memory");
  } else if constexpr (Matrices == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(fragment[0]), "=r"(fragment[1])
                 : "r"(from)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(from)
                 : "memory");
  }
}

/// c += A B for bf16 or half A and B; float c.
template <class Scalar>
__device__ inline void mma_m16n8k16(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  static_assert(std::is_same_v<Scalar, bf16> || std::is_same_v<Scalar, half>,
                "mma_m16n8k16: Scalar must be bf16 or half");
  if constexpr (std::is_same_v<Scalar, bf16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

/// c += A B for signed 8-bit A and B; 32-bit c, exact.
__device__ inline void mma_m16n8k32(std::int32_t (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

}  // namespace ivl::IVL_CUDA::prim
