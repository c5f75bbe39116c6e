// The sparse mixture of experts on panels (see ops/moe.hpp for the contract, panel_group.hpp for the products).
//
// The pairs (row, expert) that routes name are put in order of experts. A task is some rows of one expert against one
// group of its panels, so that all threads share each expert's weights, of which only the chosen ones are read; the
// weights meet as many rows as chose them. Each pair keeps its own result as floats, and a last pass adds up a row's.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/core/scalar.hpp"
#include "ivl/core/tensor.hpp"
#include "ivl/cpu/context.hpp"
#include "ivl/cpu/lanes.hpp"
#include "ivl/cpu/linear.hpp"
#include "ivl/cpu/memory.hpp"
#include "ivl/cpu/panel_group.hpp"
#include "ivl/cpu/place.hpp"
#include "ivl/formats/mxfp4.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/outline.hpp"

namespace ivl::cpu {
inline namespace IVL_CPU_LEVEL {
namespace detail {

// ---- placing -------------------------------------------------------------------------
/// Column c of panel `panel`, as an output of the expert whose gate and up outputs lie interleaved.
constexpr std::int64_t interleaved_output(Fusion fusion, std::int64_t panel, int c) {
  return fusion == Fusion::interleaved ? 2 * (panel / 2 * panel_columns + c) + panel % 2 : panel * panel_columns + c;
}

/// k in [first, first + number) of one expert, whose file holds [in, out], into all panels.
template <class Scalar>
void pack_columns(const std::byte* expert, std::int64_t out, Fusion fusion, std::int64_t first, std::int64_t number,
                  std::int64_t panel_stride, std::byte* to) {
  constexpr int unit = depth_unit(format_of(kind_of<Scalar>));
  for (std::int64_t panel = 0; panel < panels_of(out, fusion); ++panel, to += panel_stride) {
    auto* words = reinterpret_cast<Scalar*>(to + panel_bytes(format_of(kind_of<Scalar>), first));
    for (std::int64_t k = 0; k < round_up(number, unit); ++k) {
      for (int c = 0; c < panel_columns; ++c) {
        const std::int64_t column = interleaved_output(fusion, panel, c);
        Scalar scalar{};
        if (column < out && k < number)
          std::memcpy(&scalar, expert + ((first + k) * out + column) * std::int64_t(sizeof scalar), sizeof scalar);
        words[(k / unit * panel_columns + c) * unit + k % unit] = scalar;
      }
    }
  }
}

/// One panel of one expert in MXFP4: blocks [out, in / 32, 16], scales [out, in / 32].
inline void pack_codes(const std::byte* blocks, const std::byte* scales, std::int64_t out, std::int64_t in,
                       Fusion fusion, std::int64_t panel, std::byte* to) {
  std::memset(to, 0, std::size_t(panel_bytes(Format::mxfp4, in)));
  for (int c = 0; c < panel_columns; ++c) {
    const std::int64_t row = interleaved_output(fusion, panel, c);
    if (row >= out) continue;
    for (std::int64_t block = 0; block < in / mxfp4_block; ++block) {
      const std::byte scale = scales[row * (in / mxfp4_block) + block];
      std::uint32_t codes[mxfp4_block / codes_depth];
      std::memcpy(codes, blocks + (row * (in / mxfp4_block) + block) * mxfp4_block_bytes, sizeof codes);
      to[scales_at(block) + c] = scale;
      for (int g = 0; g < mxfp4_block / codes_depth; ++g) {
        // Each byte holds an even and an odd k; all even ones become the lower half of the word, all odd ones the
        // upper.
        const auto gather = [](std::uint32_t nibbles) {
          nibbles = (nibbles | nibbles >> 4) & 0x00ff00ffu;
          return (nibbles | nibbles >> 8) & 0x0000ffffu;
        };
        const std::uint32_t word = gather(codes[g] & 0x0f0f0f0fu) | gather(codes[g] >> 4 & 0x0f0f0f0fu) << 16;
        std::memcpy(to + codes_at(block) + g * codes_bytes + c * int(sizeof word), &word, sizeof word);
      }
    }
  }
}

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

/// `next`: [experts], working memory.
inline void order_pairs(const std::int32_t* experts, std::int64_t pairs, int expert_count, std::int64_t most_rows,
                        std::int32_t* next, Order& order) {
  std::fill_n(next, expert_count, 0);
  for (std::int64_t pair = 0; pair < pairs; ++pair) ++next[experts[pair]];
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
  for (std::int64_t pair = 0; pair < pairs; ++pair) order.pairs[next[experts[pair]]++] = std::int32_t(pair);
}

// ---- products ------------------------------------------------------------------------
inline Lanes activate(ExpertActivation activation, Lanes gate, Lanes up) {
  if (activation == ExpertActivation::swi_glu) return silu(gate) * up;
  const Lanes limit = Lanes::of(7);
  gate = min(limit, gate);
  up = max(Lanes::of(-7), min(limit, up));
  // As in silu: at -88 / 1.702, where this is -3e-37, it stays.
  gate = max(Lanes::of(-51.7f), gate);
  return gate / (Lanes::of(1) + exp(Lanes::of(-1.702f) * gate)) * (up + Lanes::of(1));
}

/// Products of one group of panels with the rows of one job: `sums` [number, group_columns] from panel `panel` on.
/// What becomes of them is the caller's: finish(job, panel, panels, sums).
template <Format format, class Scalar, class Finish>
void multiply_jobs(Context& ctx, const PlacedExperts& w, Rows<const Factor<format, Scalar>> x, const Order& order,
                   int pairs_per_row, const Finish& finish) {
  using Factor = cpu::Factor<format, Scalar>;
  const std::int64_t panels = panels_of(w.all.out, w.all.fusion), stride = panel_bytes(format, w.all.in);
  const std::int64_t groups = ceil_div(panels, group_panels);
  ctx.pool.run(order.job_count * groups, [&](std::int64_t task) {
    alignas(line_bytes) float sums[task_rows * group_columns];
    const Factor* rows[task_rows];
    const Job job = order.jobs[task / groups];
    for (int i = 0; i < job.number; ++i) rows[i] = x[order.pairs[job.first + i] / pairs_per_row];
    const std::int64_t panel = task % groups * group_panels;
    const std::int64_t number = std::min<std::int64_t>(group_panels, panels - panel);
    const std::byte* from = w.expert(job.expert) + panel * stride;
    const std::byte* ahead = panel + 2 * group_panels <= panels ? from + group_panels * stride : nullptr;
    multiply_group<format>(rows, job.number, x.width(), from, stride, number, ahead, sums);
    finish(job, panel, number, sums);
  });
}

}  // namespace detail

// ---- the ops -------------------------------------------------------------------------
/// Reads the parts once, with all threads. Memory beside the parts: the panels.
inline PlacedExperts place_experts(Context& ctx, ExpertLayout layout, int experts, Fusion fusion,
                                   std::span<const TensorView> parts) {
  PlacedExperts placed = outline_experts(layout, experts, fusion, parts);
  PlacedMatrix& all = placed.all;
  const std::size_t parts_of_each = parts_of_expert(fusion);
  const std::int64_t panels = panels_of(all.out, fusion), stride = panel_bytes(all.format, all.in);
  placed.expert_bytes = panels * stride;
  // A line more: codes are read from odd addresses, up to three bytes behind the last of them (see mxfp4_panels.hpp).
  all.memory = allocate(ctx, std::size_t(experts * placed.expert_bytes) + line_bytes);
  const auto at = [&](std::int64_t expert) { return all.memory.data + expert * placed.expert_bytes; };

  if (layout == ExpertLayout::fused) {
    constexpr std::int64_t block = 64;  // rows of a file, so that a panel gets whole lines
    const std::int64_t blocks = ceil_div(all.in, block);
    ctx.pool.run(experts * blocks, [&](std::int64_t task) {
      const std::int64_t expert = task / blocks, first = task % blocks * block;
      const auto pack = [&]<class Scalar>(Scalar) {
        detail::pack_columns<Scalar>(parts[0].bytes.data() + expert * all.in * all.out * std::int64_t(sizeof(Scalar)),
                                     all.out, fusion, first, std::min(block, all.in - first), stride, at(expert));
      };
      switch (placeable(parts[0])) {
        case ScalarKind::bf16:
          return pack(bf16{});
        case ScalarKind::f16:
          return pack(half{});
        case ScalarKind::f32:
          return pack(float{});
      }
    });
    return placed;
  }
  ctx.pool.run(experts * panels, [&](std::int64_t task) {
    const std::int64_t expert = task / panels, panel = task % panels;
    std::byte* to = at(expert) + panel * stride;
    if (layout == ExpertLayout::separate) {
      detail::pack_panel(parts.subspan(std::size_t(expert) * parts_of_each, parts_of_each), fusion, all.in, panel, to);
    } else {
      const std::int64_t scales = all.out * (all.in / mxfp4_block);
      detail::pack_codes(parts[0].bytes.data() + expert * scales * mxfp4_block_bytes,
                         parts[1].bytes.data() + expert * scales, all.out, all.in, fusion, panel, to);
    }
  });
  return placed;
}

inline void route(Context& ctx, Rows<const float> logits, const Routes& routes) {
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
template <Format format, class Scalar>
void gate_up(Context& ctx, const ExpertMlp& mlp, Rows<const Factor<format, Scalar>> x, const Order& order,
             int pairs_per_row, Rows<Scalar> inner) {
  multiply_jobs<format, Scalar>(
      ctx, *mlp.gate_up, x, order, pairs_per_row,
      [&](const Job& job, std::int64_t panel, std::int64_t panels, const float* sums) {
        alignas(line_bytes) float bias[group_columns] = {};
        if (mlp.gate_up_bias) {
          const float* from = mlp.gate_up_bias + job.expert * mlp.gate_up->all.out;
          for (std::int64_t p = 0; p < panels; ++p) {
            for (int c = 0; c < panel_columns; ++c) {
              const std::int64_t output = interleaved_output(Fusion::interleaved, panel + p, c);
              if (output < mlp.gate_up->all.out) bias[p * panel_columns + c] = from[output];
            }
          }
        }
        for (int i = 0; i < job.number; ++i) {
          Scalar* to = inner[order.pairs[job.first + i]];
          for (std::int64_t p = 0; p < panels; p += 2) {
            const float* from = sums + i * group_columns + p * panel_columns;
            const auto biased = [&](int offset) {
              return Lanes::load(from + offset) + Lanes::load(bias + p * panel_columns + offset);
            };
            const std::int64_t column = (panel + p) / 2 * panel_columns;
            finish(Epilogue{}, activate(mlp.activation, biased(0), biased(panel_columns)), column,
                   inner.width() - column, to);
          }
        }
      });
}

template <Format format, class Scalar>
void down(Context& ctx, const ExpertMlp& mlp, Rows<const Factor<format, Scalar>> inner, const Order& order,
          Rows<float> outer) {
  multiply_jobs<format, Scalar>(ctx, *mlp.down, inner, order, 1,
                                [&](const Job& job, std::int64_t panel, std::int64_t panels, const float* sums) {
                                  Epilogue epilogue;
                                  if (mlp.down_bias) epilogue.bias = mlp.down_bias + job.expert * mlp.down->all.out;
                                  for (int i = 0; i < job.number; ++i) {
                                    for (std::int64_t p = 0; p < panels; ++p) {
                                      const std::int64_t column = (panel + p) * panel_columns;
                                      finish(epilogue, Lanes::load(sums + i * group_columns + p * panel_columns),
                                             column, outer.width() - column, outer[order.pairs[job.first + i]]);
                                    }
                                  }
                                });
}

/// y += sum over a row's pairs of weight outer.
template <class Scalar>
void combine(Context& ctx, const Routes& routes, Rows<const float> outer, Rows<Scalar> y) {
  constexpr std::int64_t piece = 512;  // columns of a task
  const std::int64_t pieces = ceil_div(y.width(), piece);
  ctx.pool.run(y.count * pieces, [&](std::int64_t task) {
    const std::int64_t row = task / pieces, begin = task % pieces * piece, end = std::min(begin + piece, y.width());
    for (std::int64_t column = begin; column < end; column += lanes) {
      const std::int64_t number = std::min<std::int64_t>(lanes, end - column);
      Lanes total = Lanes::zero();
      for (std::int64_t pair = row * routes.active; pair < (row + 1) * routes.active; ++pair) {
        total = fma(Lanes::of(routes.weights[pair]), load_first(outer[pair] + column, number), total);
      }
      finish(Epilogue{EpilogueKind::add, nullptr, nullptr}, total, column, number, y[row]);
    }
  });
}

template <Format format, class Scalar>
void expert_mlp_in(Context& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes, Rows<Scalar> inner,
                   Rows<Scalar> y) {
  using Factor = cpu::Factor<format, Scalar>;
  const std::int64_t pairs = x.count * routes.active;
  const int experts = mlp.gate_up->experts;
  Readable<format, Scalar> readable_x(x, mlp.gate_up->all.in);
  Readable<format, Scalar> readable_inner(Rows<const Scalar>(inner.slice(0, pairs)), mlp.down->all.in);
  const std::int64_t most_rows =
      std::min(most_task_rows<Factor>(mlp.gate_up->all.in), most_task_rows<Factor>(mlp.down->all.in));

  Order order;
  std::int32_t* next = nullptr;
  Factor *x_memory = nullptr, *inner_memory = nullptr;
  float* outer_memory = nullptr;
  const auto carve = [&](Carver carver) {
    order.pairs = carver.take<std::int32_t>(pairs);
    order.jobs = carver.take<Job>(Order::most_jobs(pairs, experts, most_rows));
    next = carver.take<std::int32_t>(experts);
    x_memory = carver.take<Factor>(readable_x.room());
    inner_memory = carver.take<Factor>(readable_inner.room());
    outer_memory = carver.take<float>(pairs * y.width());
    return carver.used();
  };
  carve(Carver(ctx.template scratch<std::byte>(std::int64_t(carve(Carver())))));
  const Rows<float> outer(outer_memory, pairs, y.width());

  order_pairs(routes.experts, pairs, experts, most_rows, next, order);
  gate_up<format, Scalar>(ctx, mlp, readable_x.rows(ctx, x_memory), order, routes.active, inner);
  down<format, Scalar>(ctx, mlp, readable_inner.rows(ctx, inner_memory), order, outer);
  combine(ctx, routes, Rows<const float>(outer), y);
}

}  // namespace detail

/// The matrices of one layer have one format.
template <class Scalar>
void expert_mlp(Context& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes, Rows<Scalar> inner,
                Rows<Scalar> y) {
  assert(mlp.gate_up->all.fusion == Fusion::interleaved && mlp.down->all.fusion == Fusion::stacked);
  assert(mlp.gate_up->experts == mlp.down->experts);
  assert(x.width() == mlp.gate_up->all.in && inner.width() == mlp.down->all.in && y.width() == mlp.down->all.out);
  assert(mlp.gate_up->all.out == 2 * mlp.down->all.in && inner.count >= x.count * routes.active && y.count == x.count);
  if (x.count == 0) return;
  if (mlp.gate_up->all.format != mlp.down->all.format) {
    fail<FileError>("the matrices of one layer's experts must have one format, found ",
                    name_of(mlp.gate_up->all.format), " and ", name_of(mlp.down->all.format));
  }
  switch (mlp.gate_up->all.format) {
    case Format::bf16:
      return detail::expert_mlp_in<Format::bf16>(ctx, mlp, x, routes, inner, y);
    case Format::f16:
      return detail::expert_mlp_in<Format::f16>(ctx, mlp, x, routes, inner, y);
    case Format::f32:
      return detail::expert_mlp_in<Format::f32>(ctx, mlp, x, routes, inner, y);
    case Format::mxfp4:
      return detail::expert_mlp_in<Format::mxfp4>(ctx, mlp, x, routes, inner, y);
  }
}

static_assert(MoeOps<Context, float> && MoeOps<Context, bf16>);

}  // namespace IVL_CPU_LEVEL
}  // namespace ivl::cpu
