// The bodies of norm.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/norm.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

/// Scalars of one task: about two microseconds of work, and as much as a fork costs.
inline constexpr std::int64_t norm_task_scalars = 16384;

/// The sum of map(x) over a row. Four running sums, so that additions need not wait for each other: lane l of sum s
/// takes the scalars 64 i + 16 s + l.
template <class Scalar, class Map>
float sum_over(const Scalar* x, std::int64_t width, const Map& map) {
  Lanes total[4] = {Lanes::zero(), Lanes::zero(), Lanes::zero(), Lanes::zero()};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
#pragma GCC unroll 4
    for (int s = 0; s < 4; ++s) total[s] = total[s] + map(Lanes::load(x + i + s * lanes));
  }
  for (; i + lanes <= width; i += lanes) total[0] = total[0] + map(Lanes::load(x + i));
  if (i < width) {
    float last[lanes];
    map(load_first(x + i, width - i)).store(last);
    total[0] = total[0] + load_first(last, width - i);
  }
  return sum((total[0] + total[1]) + (total[2] + total[3]));
}

/// y[i] = map(x[i], i ...), sixteen at a time; `map` takes the lanes and a reader of vectors that are as long as the
/// row.
template <class Scalar, class Map>
void map_row(const Scalar* x, std::int64_t width, Scalar* y, const Map& map) {
  std::int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    map(Lanes::load(x + i), [i](const float* vector) { return Lanes::load(vector + i); }).store(y + i);
  }
  if (i < width) {
    const auto read = [=](const float* vector) { return load_first(vector + i, width - i); };
    store_first(map(load_first(x + i, width - i), read), y + i, width - i);
  }
}

template <class Body>
void for_each_row(Context& ctx, std::int64_t rows, std::int64_t width, const Body& body) {
  const std::int64_t task_rows = std::max<std::int64_t>(1, norm_task_scalars / width);
  ctx.pool.run(ceil_div(rows, task_rows), [&](std::int64_t task) {
    const std::int64_t last = std::min(rows, (task + 1) * task_rows);
    for (std::int64_t row = task * task_rows; row < last; ++row) body(row);
  });
}

}  // namespace detail

template <class Scalar>
void rms_norm(Context& ctx, Rows<const Scalar> x, const float* gain, float eps, Rows<Scalar> y) {
  const std::int64_t width = x.width();
  assert(width > 0 && y.width() == width && y.count == x.count);
  detail::for_each_row(ctx, x.count, width, [&](std::int64_t row) {
    const float squares = detail::sum_over(x[row], width, [](Lanes v) { return v * v; });
    const Lanes factor = Lanes::of(1 / std::sqrt(squares / float(width) + eps));
    detail::map_row(x[row], width, y[row], [&](Lanes v, const auto& read) { return v * factor * read(gain); });
  });
}

template <class Scalar>
void layer_norm(Context& ctx, Rows<const Scalar> x, const float* gain, const float* bias, float eps, Rows<Scalar> y) {
  const std::int64_t width = x.width();
  assert(width > 0 && y.width() == width && y.count == x.count);
  detail::for_each_row(ctx, x.count, width, [&](std::int64_t row) {
    const Lanes mean = Lanes::of(detail::sum_over(x[row], width, [](Lanes v) { return v; }) / float(width));
    const float squares = detail::sum_over(x[row], width, [mean](Lanes v) { return (v - mean) * (v - mean); });
    const Lanes factor = Lanes::of(1 / std::sqrt(squares / float(width) + eps));
    detail::map_row(x[row], width, y[row],
                    [&](Lanes v, const auto& read) { return fma((v - mean) * factor, read(gain), read(bias)); });
  });
}

#ifdef IVL_COMPILED
template void rms_norm(Context&, Rows<const float>, const float*, float, Rows<float>);
template void rms_norm(Context&, Rows<const bf16>, const float*, float, Rows<bf16>);
template void layer_norm(Context&, Rows<const float>, const float*, const float*, float, Rows<float>);
template void layer_norm(Context&, Rows<const bf16>, const float*, const float*, float, Rows<bf16>);
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
