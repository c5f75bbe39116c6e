// The tensor types of GGUF files as tags, and their exact dequantisation.
//
// A type here is not yet a `Format`: that list demands panels and kernels of every backend for each of its members, and
// most of these have none. A type joins it with its kernels; until then its tensors can be read, but not placed.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/ggml_type.hpp"
#include "ivl/formats/gguf_mxfp4.hpp"
#include "ivl/formats/iq1_m.hpp"
#include "ivl/formats/iq1_s.hpp"
#include "ivl/formats/iq2_s.hpp"
#include "ivl/formats/iq2_xs.hpp"
#include "ivl/formats/iq2_xxs.hpp"
#include "ivl/formats/iq3_s.hpp"
#include "ivl/formats/iq3_xxs.hpp"
#include "ivl/formats/iq4_nl.hpp"
#include "ivl/formats/iq4_xs.hpp"
#include "ivl/formats/q2_k.hpp"
#include "ivl/formats/q3_k.hpp"
#include "ivl/formats/q4_0.hpp"
#include "ivl/formats/q4_1.hpp"
#include "ivl/formats/q4_k.hpp"
#include "ivl/formats/q5_0.hpp"
#include "ivl/formats/q5_1.hpp"
#include "ivl/formats/q5_k.hpp"
#include "ivl/formats/q6_k.hpp"
#include "ivl/formats/q8_0.hpp"
#include "ivl/formats/scalars.hpp"

namespace ivl {

/// visitor(tag). Throws FileError for a type of which this library knows the size only.
template <class Visitor>
decltype(auto) with_ggml_type(GgmlType type, Visitor&& visitor) {
  switch (type) {
    case GgmlType::f32:
      return visitor(F32{});
    case GgmlType::f16:
      return visitor(F16{});
    case GgmlType::bf16:
      return visitor(Bf16{});
    case GgmlType::q4_0:
      return visitor(Q4_0{});
    case GgmlType::q4_1:
      return visitor(Q4_1{});
    case GgmlType::q5_0:
      return visitor(Q5_0{});
    case GgmlType::q5_1:
      return visitor(Q5_1{});
    case GgmlType::q8_0:
      return visitor(Q8_0{});
    case GgmlType::q2_k:
      return visitor(Q2K{});
    case GgmlType::q3_k:
      return visitor(Q3K{});
    case GgmlType::q4_k:
      return visitor(Q4K{});
    case GgmlType::q5_k:
      return visitor(Q5K{});
    case GgmlType::q6_k:
      return visitor(Q6K{});
    case GgmlType::iq1_s:
      return visitor(Iq1S{});
    case GgmlType::iq1_m:
      return visitor(Iq1M{});
    case GgmlType::iq2_xxs:
      return visitor(Iq2Xxs{});
    case GgmlType::iq2_xs:
      return visitor(Iq2Xs{});
    case GgmlType::iq2_s:
      return visitor(Iq2S{});
    case GgmlType::iq3_xxs:
      return visitor(Iq3Xxs{});
    case GgmlType::iq3_s:
      return visitor(Iq3S{});
    case GgmlType::iq4_nl:
      return visitor(Iq4Nl{});
    case GgmlType::iq4_xs:
      return visitor(Iq4Xs{});
    case GgmlType::mxfp4:
      return visitor(GgufMxfp4{});
    default:
      fail<FileError>("the tensor type ", name_of(type),
                      " is not supported: expected a scalar, Q*_0, Q*_1, Q*_K, IQ* or MXFP4");
  }
}

/// Rows of whole blocks as floats, exactly: to [out][in]. Throws FileError where `rows` has another size, and for types
/// that with_ggml_type refuses.
void dequantise_rows(GgmlType type, std::span<const std::byte> rows, std::int64_t out, std::int64_t in, float* to);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/formats/ggml.ipp"
#endif
