// y = epilogue(x W^T): every matrix product of the model.
//
//   x [rows, in]   W [out, in]   y [rows, out], or [rows, out / 2] after SwiGlu
//
// Sums are float and their order depends on `in` alone, so a row's result does not depend on the rows beside it.
// The epilogue works on the float sums; the result is rounded once.
#pragma once
#include <type_traits>

#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/ops/place.hpp"

namespace ivl {

enum class EpilogueKind : std::uint8_t {
  store,    ///< y = u
  gelu,     ///< y = 0.5 u (1 + erf(u / sqrt 2))
  add,      ///< y += u           (rounded once)
  swi_glu,  ///< y[j] = silu(u[2j]) u[2j + 1]: gate and up rows interleaved in W
};

/// What a backend sees: u = scale * (x W^T + bias), where a null pointer leaves its term out.
struct Epilogue {
  EpilogueKind kind = EpilogueKind::store;
  const float* bias = nullptr;   ///< [out]
  const float* scale = nullptr;  ///< [out], InternViT's layer scale
};

template <int Out>
struct Store {
  const float* bias = nullptr;
  Store() = default;
  explicit Store(const Vector<Out>& bias) : bias(bias.data()) {}
  Epilogue untyped() const { return {EpilogueKind::store, bias, nullptr}; }
};
template <int Out>
struct Gelu {
  const float* bias = nullptr;
  explicit Gelu(const Vector<Out>& bias) : bias(bias.data()) {}
  Epilogue untyped() const { return {EpilogueKind::gelu, bias, nullptr}; }
};
template <int Out>
struct Add {
  const float* bias = nullptr;
  Add() = default;
  explicit Add(const Vector<Out>& bias) : bias(bias.data()) {}
  Epilogue untyped() const { return {EpilogueKind::add, bias, nullptr}; }
};
/// y += scale * (x W^T + bias): InternViT's layer scale.
template <int Out>
struct ScaledAdd {
  const float* bias = nullptr;
  const float* scale = nullptr;
  ScaledAdd(const Vector<Out>& bias, const Vector<Out>& scale) : bias(bias.data()), scale(scale.data()) {}
  Epilogue untyped() const { return {EpilogueKind::add, bias, scale}; }
};
struct SwiGlu {
  Epilogue untyped() const { return {EpilogueKind::swi_glu, nullptr, nullptr}; }
};

/// What a backend offers: linear(ctx, x, w, epilogue, y) on rows of run-time width.
template <class Context, class Scalar, class Result = Scalar>
concept LinearOp = requires(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue,
                            Rows<Result> y) { linear(ctx, x, w, epilogue, y); };

namespace detail {
template <class TypedEpilogue>
inline constexpr bool is_swi_glu = std::is_same_v<TypedEpilogue, SwiGlu>;
}

template <class Context, class Scalar, class Result, int Out, int In, class TypedEpilogue, int Width>
  requires(Width != dynamic)
void linear(Context& ctx, Rows<Scalar, In> x, const Weight<Out, In>& w, const TypedEpilogue& epilogue,
            Rows<Result, Width> y) {
  static_assert(Width == (detail::is_swi_glu<TypedEpilogue> ? Out / 2 : Out),
                "linear: y must be as wide as the epilogue's result");
  linear(ctx, Rows<const std::remove_const_t<Scalar>>(x), w.placed, epilogue.untyped(), Rows<Result>(y));
}

/// The head: as many columns as the vocabulary has rows.
template <class Context, class Scalar, int In>
void linear(Context& ctx, Rows<Scalar, In> x, const Weight<dynamic, In>& w, Rows<float> y) {
  linear(ctx, Rows<const std::remove_const_t<Scalar>>(x), w.placed, Epilogue{}, y);
}

}  // namespace ivl
