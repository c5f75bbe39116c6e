// Which sequences run how many rows in a step.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/model/step.hpp"
#include "ivl/serve/sequence.hpp"

namespace ivl {

/// Every running sequence gets one row at least; what is left of a step goes to prefill, oldest first, and what is left
/// then to guesses.
class Scheduler {
 public:
  /// A sequence's share of a step.
  struct Part {
    Sequence* sequence;
    int first, rows;
    int first_wanted, wanted;
    int drafts;  ///< of the rows, the last ones: guesses
  };

  Scheduler(const StepRoom& room, int draft_tokens);

  /// Writes a step of all of `running`, no more than the room's sequences, with no more than `most_rows` rows beside
  /// the one of each. In the full group they have pages for the rows already; those of windows are taken here, and
  /// always free.
  void plan(std::span<const std::shared_ptr<Sequence>> running, int most_rows, Step& step);

  std::span<const Part> parts() const { return parts_; }

 private:
  void add(Sequence& sequence, int rows, int drafts, Step& step);

  static void want(Step& step, Want want, const Draw& draw);

  int draft_tokens_;
  std::vector<int> rows_;  ///< of each sequence
  std::vector<Part> parts_;
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/scheduler.ipp"
#endif
