// y = epilogue(rms_norm(x) W^T): what begins both halves of a decoder layer, and the head.
//
//   x [rows, in]   gain [in]   W [out, in]   y [rows, out], or [rows, out / 2] after SwiGlu
//   room [rows, in]: where a backend may put the normed rows; holds anything afterwards. It may be x.
//
// The bits are those of the two ops (ops/norm.hpp, ops/linear.hpp), one after the other: normed rows are rounded to
// their scalar.
#pragma once
#include <type_traits>

#include "ivl/core/rows.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/norm.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// What a backend may offer, on rows of run-time width: the normed rows need not pass through memory. For others, both
/// ops are called.
template <class Context, class Scalar, class Result = Scalar>
concept NormLinearOp = requires(Context& ctx, Rows<const Scalar> x, const float* gain, float eps, const PlacedMatrix& w,
                                const Epilogue& epilogue, Rows<Scalar> room,
                                Rows<Result> y) { norm_linear(ctx, x, gain, eps, w, epilogue, room, y); };

namespace detail {
template <class Context, class Scalar, class Result>
void norm_linear_of_backend(Context& ctx, Rows<const Scalar> x, const float* gain, float eps, const PlacedMatrix& w,
                            const Epilogue& epilogue, Rows<Scalar> room, Rows<Result> y) {
  if constexpr (NormLinearOp<Context, Scalar, Result>) {
    norm_linear(ctx, x, gain, eps, w, epilogue, room, y);
  } else {
    rms_norm(ctx, x, gain, eps, room);
    linear(ctx, Rows<const Scalar>(room), w, epilogue, y);
  }
}
}  // namespace detail

template <class Context, class Scalar, class Result, int Out, int In, class TypedEpilogue, int Width>
  requires(Width != dynamic)
void norm_linear(Context& ctx, std::type_identity_t<Rows<const Scalar, In>> x, const Vector<In>& gain, float eps,
                 const Weight<Out, In>& w, const TypedEpilogue& epilogue, Rows<Scalar, In> room,
                 Rows<Result, Width> y) {
  static_assert(Width == (detail::is_swi_glu<TypedEpilogue> ? Out / 2 : Out),
                "norm_linear: y must be as wide as the epilogue's result");
  detail::norm_linear_of_backend(ctx, Rows<const Scalar>(x), gain.data(), eps, w.placed, epilogue.untyped(),
                                 Rows<Scalar>(room), Rows<Result>(y));
}

/// The head: as many columns as the vocabulary has rows.
template <class Context, class Scalar, int In>
void norm_linear(Context& ctx, std::type_identity_t<Rows<const Scalar, In>> x, const Vector<In>& gain, float eps,
                 const Weight<dynamic, In>& w, Rows<Scalar, In> room, Rows<float> y) {
  detail::norm_linear_of_backend(ctx, Rows<const Scalar>(x), gain.data(), eps, w.placed, Epilogue{}, Rows<Scalar>(room),
                                 y);
}

}  // namespace ivl
