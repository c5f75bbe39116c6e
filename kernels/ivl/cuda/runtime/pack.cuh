// Several scalars that are loaded and stored at once.
#pragma once
#include <cstdint>

#include "ivl/core/rows.hpp"
#include "ivl/cuda/tag.hpp"

namespace ivl::IVL_CUDA {

/// `Number` scalars at an address that is a multiple of all their bytes.
template <class Scalar, int Number>
struct alignas(Number * sizeof(Scalar)) Pack {
  Scalar values[Number];
};

/// Whether `data` is a multiple of `bytes`.
inline bool aligned(const void* data, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}

/// Whether every row is whole packs of `Number` scalars.
template <int Number, class Scalar>
bool in_packs(const Rows<Scalar>& rows) {
  return rows.width() % Number == 0 && rows.stride % Number == 0 && aligned(rows.data, Number * sizeof(Scalar));
}

}  // namespace ivl::IVL_CUDA
