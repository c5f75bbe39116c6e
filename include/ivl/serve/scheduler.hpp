// Which sequences run how many rows in a step.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/model/step.hpp"
#include "ivl/serve/sequence.hpp"

namespace ivl {

/// Every running sequence gets one row at least; what is left of a step goes to prefill, oldest first.
class Scheduler {
 public:
  /// A sequence's share of a step.
  struct Part {
    Sequence* sequence;
    int first, rows;
    int first_wanted, wanted;
  };

  explicit Scheduler(const StepRoom& room);

  /// Writes a step of all of `running`, of which there are no more than the room's sequences. Pages for the rows are
  /// there already in the full group; those of windows are taken here.
  void plan(std::span<const std::shared_ptr<Sequence>> running, KvPool& pool, Step& step);

  std::span<const Part> parts() const { return parts_; }

 private:
  void add(Sequence& sequence, int rows, bool reaches_end, KvPool& pool, Step& step);

  static void want(Step& step, Want want, const Draw& draw);

  /// The engine's pool has room for the windows of all that run, at the cost of those that have ended.
  static void grow_window(Sequence& sequence, int length, KvPool& pool, const StepRoom& room);

  std::vector<Part> parts_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/scheduler.ipp"
#endif
