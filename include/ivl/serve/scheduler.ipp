// The bodies of scheduler.hpp.
#pragma once
#include <algorithm>
#include <cstdint>

#include "ivl/core/constant.hpp"
#include "ivl/serve/scheduler.hpp"

namespace ivl {

IVL_INLINE Scheduler::Scheduler(const StepRoom& room, int draft_tokens) : draft_tokens_(draft_tokens) {
  rows_.reserve(std::size_t(room.sequences));
  parts_.reserve(std::size_t(room.sequences));
}

IVL_INLINE void Scheduler::plan(std::span<const std::shared_ptr<Sequence>> running, int most_rows, Step& step) {
  const StepRoom& room = step.room();
  rows_.clear();
  parts_.clear();
  step.rows = step.sequences = step.wanted = step.longest = 0;
  step.pictures = false;
  int spare_rows = std::min(most_rows, room.rows - int(running.size())),
      spare_wanted = room.wanted - int(running.size());
  for (const auto& sequence : running) {
    const int waiting = sequence->ready() - sequence->cached_;
    int rows = 1 + std::min(waiting - 1, spare_rows);
    if (sequence->wants_prompt_logits()) {
      rows = std::min(rows, 1 + spare_wanted);
      spare_wanted -= rows - 1;
    }
    spare_rows -= rows - 1;
    rows_.push_back(rows);
  }
  for (std::size_t i = 0; i < running.size(); ++i) {
    Sequence& sequence = *running[i];
    // Behind the newest token alone, in pages that it has, and no more than the answer may have.
    const int known = sequence.length();
    const int most = known == sequence.cached_ + 1 ? draft_tokens_ : 0;
    const int room_tokens = int(sequence.pages_.table(KvGroup::full).size()) * kv_page_tokens - known;
    const int left = sequence.prompt_tokens_ + sequence.max_new_tokens_ - known - 1;
    sequence.guess(std::min({most, spare_rows, spare_wanted, room_tokens, left}));
    const int drafts = int(sequence.drafts_.size());
    spare_rows -= drafts;
    spare_wanted -= drafts;
    add(sequence, rows_[i] + drafts, drafts, step);
  }
  step.row_begin[step.sequences] = step.rows;
}

IVL_INLINE void Scheduler::add(Sequence& sequence, int rows, int drafts, Step& step) {
  const int index = step.sequences++, first = step.rows, first_wanted = step.wanted;
  const int length = sequence.cached_ + rows;
  const bool prompt_logits = sequence.wants_prompt_logits();
  step.row_begin[index] = first;
  step.kv_length[index] = length;
  step.longest = std::max(step.longest, length);
  for (int position = sequence.cached_; position < length; ++position, ++step.rows) {
    step.sequence_of[step.rows] = index;
    step.positions[step.rows] = position;
    step.rope_lengths[step.rows] = std::max(sequence.prompt_tokens_, position + 1);
    step.sources[step.rows] = sequence.source(position);
    step.pictures |= step.sources[step.rows] < 0;
    const int ahead = position + 1 - sequence.length();  // of the last token that is known
    if (ahead >= 0 && !prompt_logits && !sequence.chooses_on_host())
      want(step, Want::token, sequence.next_draw(ahead));
    else if (ahead >= 0 || prompt_logits)
      want(step, Want::logits, {});
  }
  if (step.room().pages[KvGroup::window] > 0) sequence.pages_.grow(KvGroup::window, length);
  for (const KvGroup group : all_kv_groups) {
    const auto& table = sequence.pages_.table(group);
    std::copy(table.begin(), table.end(),
              step.page_table[group] + std::int64_t(index) * step.room().pages_per_sequence);
  }
  parts_.push_back({&sequence, first, rows, first_wanted, step.wanted - first_wanted, drafts});
}

IVL_INLINE void Scheduler::want(Step& step, Want want, const Draw& draw) {
  step.wanted_rows[step.wanted] = step.rows;
  step.wants[std::size_t(step.wanted)] = want;
  step.draws[std::size_t(step.wanted)] = draw;
  ++step.wanted;
}

}  // namespace ivl
