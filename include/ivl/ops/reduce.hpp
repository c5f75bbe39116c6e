// What ranks that share a model do together: sums over ranks, and the vocabulary, which is divided among them.
//
//   linear_reduced      y = epilogue(sum over ranks r of x_r W_r^T)      W_r [out, in / ranks], x_r [rows, in / ranks]
//   expert_mlp_reduced  y += sum over ranks of what each rank's experts add (ops/moe.hpp)
//   gather_vocabulary   logits [rows, vocabulary]: the columns of each rank go to all
//   argmax_reduced      ids of the largest logits over the columns of all ranks
//
// Partial sums are float and are added in the order of the ranks. The epilogue (bias, scale, residual) works on the
// whole sum, and the result is rounded once, as it is by one rank alone. `Ranks` is a number of the type
// (DecoderConfig::ranks): where it is 1 these functions are `linear`, `expert_mlp`, nothing and `argmax`, whatever the
// context is.
#pragma once
#include <algorithm>
#include <cassert>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ivl/core/constant.hpp"
#include "ivl/core/rows.hpp"
#include "ivl/ops/linear.hpp"
#include "ivl/ops/moe.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl {

// ---- parts -----------------------------------------------------------------------------------------------------
/// Elements [first, first + count) of a dimension.
struct RankPart {
  std::int64_t first = 0, count = 0;
};

/// `whole` is a multiple of `ranks`.
constexpr RankPart equal_part(std::int64_t whole, int rank, int ranks) { return {whole / ranks * rank, whole / ranks}; }

/// Rows of the vocabulary come in sixteens, so that the columns of each rank begin on a line; the last ranks may have
/// fewer than the first, which has the most.
constexpr RankPart vocabulary_part(std::int64_t rows, int rank, int ranks) {
  const std::int64_t most = ranks == 1 ? rows : round_up(ceil_div(rows, ranks), 16);
  const std::int64_t first = std::min(rows, most * rank);
  return {first, std::min(most, rows - first)};
}

// ---- contexts of ranks -----------------------------------------------------------------------------------------
/// A backend's context that also knows who shares the model; parallel/ranked.hpp makes one. Memory is the context's.
///   all_reduce_sum(sums, number)   each rank's floats become their sum over ranks, with the same bits on all
///   all_gather(own, all, bytes)    all [ranks, bytes]: the blocks of all ranks in their order
///   shared_room(bytes)             working memory that no op touches; the next call may hand out the same
template <class Context>
concept HasRanks = requires(Context& ctx, float* sums, std::int64_t number, const std::byte* own, std::byte* all) {
  { ctx.rank() } -> std::same_as<int>;
  { ctx.ranks() } -> std::same_as<int>;
  ctx.all_reduce_sum(sums, number);
  ctx.all_gather(own, all, number);
  { ctx.shared_room(number) } -> std::same_as<std::byte*>;
};

/// 0 where nobody else shares the model.
template <class Context>
int rank_of(Context& ctx) {
  if constexpr (HasRanks<Context>) {
    return ctx.rank();
  } else {
    return 0;
  }
}

/// The largest logit of some columns, and its id; a NaN where there is one; id -1 where there are no columns.
struct BestLogit {
  float logit = 0;
  std::int32_t id = -1;
};

/// What a backend offers beside the ops, so that its contexts can be of ranks; all pointers are to its memory:
///   finish_sums(ctx, sums, epilogue, y)          y = epilogue(sums), as `linear` finishes its sums; not SwiGlu
///   best_of_part(ctx, logits, first, best)       best[r] of row r, whose columns are ids first, first + 1, ...
///   best_of_parts(ctx, best, parts, rows, ids)   best [parts, rows], parts in order of ids; ids[r]: the best of all
/// -1 as in ops/sample.hpp: where a logit is NaN, or none is above -infinity.
template <class Context, class Scalar>
concept ReduceOps =
    requires(Context& ctx, Rows<const float> sums, const Epilogue& epilogue, Rows<Scalar> y, Rows<float> logits,
             BestLogit* best, const BestLogit* all, std::int32_t* ids, std::int64_t rows) {
      finish_sums(ctx, sums, epilogue, y);
      finish_sums(ctx, sums, epilogue, logits);
      best_of_part(ctx, sums, 0, best);
      best_of_parts(ctx, all, 2, rows, ids);
    };

// ---- sums ------------------------------------------------------------------------------------------------------
namespace detail {

/// Calls make(sums) for this rank's summand, [y.count, y.width()].
template <class Context, class Result, class Make>
void reduce_then_finish(Context& ctx, const Make& make, const Epilogue& epilogue, Rows<Result> y) {
  static_assert(ReduceOps<Context, Result>, "linear_reduced: this backend has no ops for ranks (ops/reduce.hpp)");
  assert(epilogue.kind != EpilogueKind::swi_glu);  // gate and up have halves of their own on each rank
  const std::int64_t number = y.count * y.width();
  const Rows<float> sums(reinterpret_cast<float*>(ctx.shared_room(number * std::int64_t(sizeof(float)))), y.count,
                         y.width());
  make(sums);
  ctx.all_reduce_sum(sums.data, number);
  finish_sums(ctx, Rows<const float>(sums), epilogue, y);
}

template <int Ranks, class Context>
void check_ranks(Context& ctx) {
  static_assert(HasRanks<Context>,
                "A rank's part of a model runs on a context of ranks (ivl/parallel/ranked.hpp): others have the rest");
  assert(ctx.ranks() == Ranks);
  (void)ctx;
}

}  // namespace detail

/// On rows of run-time width, over all ranks of the context.
template <HasRanks Context, class Scalar, class Result>
void linear_reduced(Context& ctx, Rows<const Scalar> x, const PlacedMatrix& w, const Epilogue& epilogue,
                    Rows<Result> y) {
  detail::reduce_then_finish(
      ctx, [&](Rows<float> sums) { linear(ctx, x, w, Epilogue{}, sums); }, epilogue, y);
}

template <HasRanks Context, class Scalar, class Result>
void expert_mlp_reduced(Context& ctx, ExpertMlp mlp, Rows<const Scalar> x, const Routes& routes, Rows<Scalar> inner,
                        Rows<Result> y) {
  mlp.result = EpilogueKind::store;
  detail::reduce_then_finish(
      ctx, [&](Rows<float> sums) { expert_mlp(ctx, mlp, x, routes, inner, sums); },
      Epilogue{EpilogueKind::add, nullptr, nullptr}, y);
}

template <int Ranks, class Context, class Scalar, class Result, int Out, int In, class TypedEpilogue>
void linear_reduced(Context& ctx, Rows<Scalar, In> x, const Weight<Out, In>& w, const TypedEpilogue& epilogue,
                    Rows<Result, Out> y) {
  if constexpr (Ranks == 1) {
    linear(ctx, x, w, epilogue, y);
  } else {
    detail::check_ranks<Ranks>(ctx);
    linear_reduced(ctx, Rows<const std::remove_const_t<Scalar>>(x), w.placed, epilogue.untyped(), Rows<Result>(y));
  }
}

template <int Ranks, class Context, class Scalar>
void expert_mlp_reduced(Context& ctx, const ExpertMlp& mlp, Rows<const Scalar> x, const Routes& routes,
                        Rows<Scalar> inner, Rows<Scalar> y) {
  if constexpr (Ranks == 1) {
    expert_mlp(ctx, mlp, x, routes, inner, y);
  } else {
    detail::check_ranks<Ranks>(ctx);
    expert_mlp_reduced(ctx, mlp, x, routes, inner, y);
  }
}

// ---- the vocabulary --------------------------------------------------------------------------------------------
/// The columns that this rank's head makes, in place; all of them where there are no other ranks.
template <int Ranks, class Context, class Logit>
Rows<Logit> own_columns(Context& ctx, Rows<Logit> logits) {
  if constexpr (Ranks == 1) {
    return logits;
  } else {
    detail::check_ranks<Ranks>(ctx);
    const RankPart own = vocabulary_part(logits.width(), ctx.rank(), Ranks);
    return {logits.data + own.first, logits.count, own.count, logits.stride};
  }
}

/// Every rank's own columns become those of all ranks.
template <int Ranks, class Context>
void gather_vocabulary(Context& ctx, Rows<float> logits) {
  if constexpr (Ranks > 1) {
    detail::check_ranks<Ranks>(ctx);
    const std::int64_t most = vocabulary_part(logits.width(), 0, Ranks).count * std::int64_t(sizeof(float));
    const std::int64_t block = logits.count * most;  // bytes: rows of as many columns as the first rank has
    std::byte* const room = ctx.shared_room((1 + Ranks) * block);
    const auto each_row = [&](int rank, std::byte* at, const auto& move) {
      const RankPart part = vocabulary_part(logits.width(), rank, Ranks);
      for (std::int64_t row = 0; row < logits.count; ++row)
        move(logits[row] + part.first, at + row * most, std::size_t(part.count) * sizeof(float));
    };
    each_row(ctx.rank(), room, [&](float* row, std::byte* at, std::size_t bytes) { copy(ctx, at, row, bytes); });
    ctx.all_gather(room, room + block, block);
    for (int rank = 0; rank < Ranks; ++rank) {
      if (rank != ctx.rank())
        each_row(rank, room + (1 + rank) * block,
                 [&](float* row, std::byte* at, std::size_t bytes) { copy(ctx, row, at, bytes); });
    }
  }
}

/// ids[r] = the id of the largest logit of row r among the first `among` columns, of which each rank has its own:
/// what `argmax` finds in all of them. A number and an id of each row travel.
template <int Ranks, class Context>
void argmax_reduced(Context& ctx, Rows<const float> logits, int among, std::int32_t* ids) {
  if constexpr (Ranks == 1) {
    argmax(ctx, Rows<const float>(logits.data, logits.count, among, logits.stride), ids);
  } else {
    const Rows<const float> own = own_columns<Ranks>(ctx, logits);
    const std::int64_t first = own.data - logits.data;
    const std::int64_t block = logits.count * std::int64_t(sizeof(BestLogit));
    std::byte* const room = ctx.shared_room((1 + Ranks) * block);
    const Rows<const float> columns(own.data, own.count, std::clamp<std::int64_t>(among - first, 0, own.width()),
                                    own.stride);
    best_of_part(ctx, columns, std::int32_t(first), reinterpret_cast<BestLogit*>(room));
    ctx.all_gather(room, room + block, block);
    best_of_parts(ctx, reinterpret_cast<const BestLogit*>(room + block), Ranks, logits.count, ids);
  }
}

}  // namespace ivl
