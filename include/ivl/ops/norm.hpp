// rms_norm:   y = gain * x / sqrt(mean(x^2) + eps)
// layer_norm: y = gain * (x - mean(x)) / sqrt(variance(x) + eps) + bias     (population variance)
//
//   x, y [rows, width]; y may be x itself. Sums and factors are float; the result is rounded once.
#pragma once
#include <type_traits>

#include "ivl/core/rows.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

/// What a backend offers, on rows of run-time width.
template <class Context, class Scalar>
concept NormOps = requires(Context& ctx, Rows<const Scalar> x, const float* p, float eps, Rows<Scalar> y) {
  rms_norm(ctx, x, p, eps, y);
  layer_norm(ctx, x, p, p, eps, y);
};

template <class Context, class Scalar, int Width>
  requires(Width != dynamic)
void rms_norm(Context& ctx, std::type_identity_t<Rows<const Scalar, Width>> x, const Vector<Width>& gain, float eps,
              Rows<Scalar, Width> y) {
  rms_norm(ctx, Rows<const Scalar>(x), gain.data(), eps, Rows<Scalar>(y));
}

template <class Context, class Scalar, int Width>
  requires(Width != dynamic)
void layer_norm(Context& ctx, std::type_identity_t<Rows<const Scalar, Width>> x, const Vector<Width>& gain,
                const Vector<Width>& bias, float eps, Rows<Scalar, Width> y) {
  layer_norm(ctx, Rows<const Scalar>(x), gain.data(), bias.data(), eps, Rows<Scalar>(y));
}

}  // namespace ivl
