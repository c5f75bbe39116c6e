// What lies inside a page of keys and values on CUDA, and where a position of a sequence lies.
//
//   page   keys [kv_heads, page_tokens, head_dim], then values the same, in the activations' scalar
//
// So the 16 tokens (kv_page_unit) from a multiple of 16 on are one run of memory for each head, keys and values alike:
// loads of 16 bytes that neighbouring threads make are neighbours, and a page is found once a run.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "ivl/core/error.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cuda/runtime/context.cuh"
#include "ivl/cuda/tag.hpp"
#include "ivl/ops/attention.hpp"

namespace ivl::IVL_CUDA {

/// Bytes of one page of one layer. Throws ConfigError for shapes that the ops on pages take no care of.
inline std::int64_t kv_page_bytes(Context&, const AttentionShape& shape, ScalarKind scalar, int page_tokens) {
  if (shape.head_dim < 16 || shape.head_dim % 16 != 0 || shape.head_dim > 256)
    fail<ConfigError>("attention: head_dim must be a multiple of 16 up to 256 on CUDA, found ", shape.head_dim);
  if (page_tokens < 1 || page_tokens % kv_page_unit != 0)
    fail<ConfigError>("attention: page_tokens must be a multiple of ", kv_page_unit, ", found ", page_tokens);
  return std::int64_t(2) * page_tokens * shape.kv_width() * bytes_of(scalar);
}

/// Where the keys and values of one sequence and one KV head lie.
template <class Scalar>
class KvHead {
 public:
  __device__ KvHead(const AttentionShape& shape, const KvView& kv, int sequence, int kv_head)
      : head_(reinterpret_cast<Scalar*>(kv.pages) + std::int64_t(kv_head) * kv.page_tokens * shape.head_dim),
        page_scalars_(int(kv.page_bytes / int(sizeof(Scalar)))),
        to_values_(shape.kv_heads * kv.page_tokens * shape.head_dim),
        table_(kv.page_table + std::int64_t(sequence) * kv.pages_per_sequence),
        page_tokens_(kv.page_tokens),
        head_dim_(shape.head_dim) {}

  /// The key of `position`, [head_dim]. Those up to the next multiple of kv_page_unit follow it.
  __device__ Scalar* key(int position) const {
    const unsigned index = unsigned(position) / unsigned(page_tokens_);
    const unsigned token = unsigned(position) - index * unsigned(page_tokens_);
    const int page = table_[index];
    return head_ + std::int64_t(page) * page_scalars_ + std::int64_t(token) * head_dim_;
  }

  /// From a key to the value of the same position, in scalars.
  __device__ int to_values() const { return to_values_; }

 private:
  Scalar* head_;
  int page_scalars_, to_values_;
  const std::int32_t* table_;
  int page_tokens_, head_dim_;
};

}  // namespace ivl::IVL_CUDA
