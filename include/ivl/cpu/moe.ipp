// The bodies of moe.hpp.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/epilogue.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/moe.hpp"
#include "ivl/cpu/panel_group.hpp"
#include "ivl/cpu/place.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

// ---- routes --------------------------------------------------------------------------
/// Some pairs of one expert: order[first] ... order[first + number - 1].
struct Job {
  std::int32_t expert, first, number;
};

/// The pairs (row, expert), numbered as in routes, in order of experts.
struct Order {
  std::int32_t* pairs;  ///< [rows active]
  Job* jobs;
  std::int64_t job_count;

  static std::int64_t most_jobs(std::int64_t pairs, int experts, std::int64_t most_rows) {
    return std::min<std::int64_t>(pairs, experts) + pairs / most_rows;
  }
};

/// Pairs of experts that `w` does not have are left out; jobs number experts by their place in it. `next`: [experts],
/// working memory.
inline void order_pairs(const std::int32_t* experts, std::int64_t pairs, const PlacedExperts& w, std::int64_t most_rows,
                        std::int32_t* next, Order& order) {
  const int expert_count = w.experts;
  std::fill_n(next, expert_count, 0);
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    if (const int place = w.place_of(experts[pair]); place >= 0) ++next[place];
  }
  order.job_count = 0;
  for (std::int32_t expert = 0, first = 0; expert < expert_count; ++expert) {
    const std::int32_t number = next[expert];
    next[expert] = first;
    for (std::int32_t left = number, chunks = std::int32_t(ceil_div(number, most_rows)); chunks > 0; --chunks) {
      const auto rows = std::min(left, std::int32_t(round_up(ceil_div(left, chunks), tile_rows)));
      order.jobs[order.job_count++] = {expert, first, rows};
      first += rows;
      left -= rows;
    }
  }
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    if (const int place = w.place_of(experts[pair]); place >= 0) order.pairs[next[place]++] = std::int32_t(pair);
  }
}

// ---- products ------------------------------------------------------------------------
/// Products of one group of columns with the rows of one job. What becomes of them is the caller's:
/// finish(job, tile, sums).
template <class Scalar, class Finish>
void multiply_jobs(Context& ctx, const PlacedExperts& w, const Readable<Scalar>& x, const Order& order,
                   int pairs_per_row, const Finish& finish) {
  const std::int64_t groups = groups_of(w.all);
  ctx.pool.run(order.job_count * groups, [&](std::int64_t task) {
    alignas(line_bytes) float sums[task_rows * group_columns];
    const Job job = order.jobs[task / groups];
    const ColumnTile tile = multiply_columns(
        x, w.all, job.expert, task % groups, job.number,
        [&](std::int64_t i) { return order.pairs[job.first + i] / pairs_per_row; }, sums);
    finish(job, tile, sums);
  });
}

}  // namespace detail

// ---- the ops -------------------------------------------------------------------------
IVL_INLINE PlacedExperts place_experts(Context& ctx, int experts, Fusion fusion, std::span<const SourceMatrix> parts) {
  MatrixOutline outline = outline_experts(experts, fusion, parts, detail::panels_in(ctx));
  detail::place_strips(ctx, outline, experts, parts);
  detail::note_exact_formats(ctx, outline.placed);
  return {experts, outline.placed};
}

IVL_INLINE void route(Context& ctx, Rows<const float> logits, const Routes& routes) {
  constexpr std::int64_t rows_per_task = 16;
  const int experts = int(logits.width()), active = routes.active;
  assert(active > 0 && active <= experts);
  ctx.pool.run(ceil_div(logits.count, rows_per_task), [&](std::int64_t task) {
    for (std::int64_t row = task * rows_per_task; row < std::min(logits.count, (task + 1) * rows_per_task); ++row) {
      std::int32_t* chosen = routes.experts + row * active;
      float* weights = routes.weights + row * active;  // logits for now, the largest first
      int count = 0;
      for (int expert = 0; expert < experts; ++expert) {
        const float logit = logits[row][expert];
        if (count == active && !(logit > weights[active - 1])) continue;
        int at = count < active ? count++ : active - 1;
        for (; at > 0 && logit > weights[at - 1]; --at) {
          weights[at] = weights[at - 1];
          chosen[at] = chosen[at - 1];
        }
        weights[at] = logit;
        chosen[at] = expert;
      }
      const float largest = weights[0];
      float total = 0;
      for (int i = 0; i < active; ++i) total += weights[i] = std::exp(weights[i] - largest);
      for (int i = 0; i < active; ++i) weights[i] /= total;
    }
  });
}

namespace detail {

/// `inner`: a row a pair; then `outer`, too.
template <class Scalar>
void gate_up(Context& ctx, const ExpertMlp& mlp, const Readable<Scalar>& x, const Order& order, int pairs_per_row,
             Rows<Scalar> inner) {
  multiply_jobs(
      ctx, *mlp.gate_up, x, order, pairs_per_row, [&](const Job& job, const ColumnTile& tile, const float* sums) {
        alignas(line_bytes) float bias[2][group_columns / 2] = {};  // of gates, of ups
        for (std::int64_t column = tile.column; mlp.gate_up_bias && column < tile.end; ++column) {
          const float* from = mlp.gate_up_bias + job.expert * mlp.gate_up->all.out + 2 * column;
          for (int i = 0; i < 2; ++i) bias[i][column - tile.column] = from[i];
        }
        for (int i = 0; i < job.number; ++i) {
          Scalar* to = inner[order.pairs[job.first + i]];
          const float* from = sums + i * group_columns;
          for (std::int64_t column = tile.column; column < tile.end; column += panel_columns, from += tile.step) {
            const std::int64_t at = column - tile.column;
            const Lanes gate = Lanes::load(from) + Lanes::load(bias[0] + at);
            const Lanes up = Lanes::load(from + tile.up) + Lanes::load(bias[1] + at);
            finish(Epilogue{}, activate(mlp.activation, gate, up), column, tile.end - column, to);
          }
        }
      });
}

template <class Scalar>
void down(Context& ctx, const ExpertMlp& mlp, const Readable<Scalar>& inner, const Order& order, Rows<float> outer) {
  multiply_jobs(ctx, *mlp.down, inner, order, 1, [&](const Job& job, const ColumnTile& tile, const float* sums) {
    Epilogue epilogue;
    if (mlp.down_bias) epilogue.bias = mlp.down_bias + job.expert * mlp.down->all.out;
    for (int i = 0; i < job.number; ++i) {
      const float* from = sums + i * group_columns;
      for (std::int64_t column = tile.column; column < tile.end; column += panel_columns, from += tile.step)
        finish(epilogue, Lanes::load(from), column, tile.end - column, outer[order.pairs[job.first + i]]);
    }
  });
}

/// y += sum over a row's pairs of weight outer; or y = the sum.
template <class Result>
void combine(Context& ctx, const ExpertMlp& mlp, const Routes& routes, Rows<const float> outer, Rows<Result> y) {
  constexpr std::int64_t piece = 512;  // columns of a task
  const std::int64_t pieces = ceil_div(y.width(), piece);
  ctx.pool.run(y.count * pieces, [&](std::int64_t task) {
    const std::int64_t row = task / pieces, begin = task % pieces * piece, end = std::min(begin + piece, y.width());
    for (std::int64_t column = begin; column < end; column += lanes) {
      const std::int64_t number = std::min<std::int64_t>(lanes, end - column);
      Lanes total = Lanes::zero();
      for (std::int64_t pair = row * routes.active; pair < (row + 1) * routes.active; ++pair) {
        if (mlp.down->place_of(routes.experts[pair]) < 0) continue;
        total = fma(Lanes::of(routes.weights[pair]), load_first(outer[pair] + column, number), total);
      }
      finish(Epilogue{mlp.result, nullptr, nullptr}, total, column, number, y[row]);
    }
  });
}

}  // namespace detail

template <class Scalar, class Result>
void expert_mlp(Context& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes, Rows<Scalar> inner,
                Rows<Result> y) {
  const PlacedMatrix &gate_up = mlp.gate_up->all, &down = mlp.down->all;
  assert(gate_up.fusion == Fusion::interleaved && down.fusion == Fusion::stacked);
  assert(mlp.gate_up->experts == mlp.down->experts && mlp.gate_up->first == mlp.down->first);
  assert(x.width() == gate_up.in && inner.width() == down.in && y.width() == down.out);
  assert(gate_up.out == 2 * down.in && inner.count >= x.count * routes.active && y.count == x.count);
  if (x.count == 0) return;
  const std::int64_t pairs = x.count * routes.active;
  const int experts = mlp.gate_up->experts;
  detail::Readable<Scalar> readable_x(x, gate_up, ctx.numbers());
  detail::Readable<Scalar> readable_inner(Rows<const Scalar>(inner.slice(0, pairs)), down, ctx.numbers());
  const std::int64_t most_rows =
      std::min(detail::most_task_rows<Scalar>(gate_up), detail::most_task_rows<Scalar>(down));

  detail::Order order;
  std::int32_t* next = nullptr;
  std::byte *x_memory = nullptr, *inner_memory = nullptr;
  float* outer_memory = nullptr;
  const auto carve = [&](Carver carver) {
    order.pairs = carver.take<std::int32_t>(pairs);
    order.jobs = carver.take<detail::Job>(detail::Order::most_jobs(pairs, experts, most_rows));
    next = carver.take<std::int32_t>(experts);
    x_memory = carver.take<std::byte>(readable_x.room());
    inner_memory = carver.take<std::byte>(readable_inner.room());
    outer_memory = carver.take<float>(pairs * y.width());
    return carver.used();
  };
  carve(Carver(ctx.template scratch<std::byte>(std::int64_t(carve(Carver())))));
  const Rows<float> outer(outer_memory, pairs, y.width());

  detail::order_pairs(routes.experts, pairs, *mlp.gate_up, most_rows, next, order);
  readable_x.prepare(ctx, x_memory);
  detail::gate_up(ctx, mlp, readable_x, order, routes.active, inner);
  readable_inner.prepare(ctx, inner_memory);
  detail::down(ctx, mlp, readable_inner, order, outer);
  detail::combine(ctx, mlp, routes, Rows<const float>(outer), y);
}

#ifdef IVL_COMPILED
template void expert_mlp(Context&, const ExpertMlp&, Rows<const float>, const Routes&, Rows<float>, Rows<float>);
template void expert_mlp(Context&, const ExpertMlp&, Rows<const bf16>, const Routes&, Rows<bf16>, Rows<bf16>);
template void expert_mlp(Context&, const ExpertMlp&, Rows<const bf16>, const Routes&, Rows<bf16>, Rows<float>);
#endif

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
