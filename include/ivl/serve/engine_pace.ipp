// The bodies of engine.hpp that share a step's time between answers, prefill and pictures.
#pragma once
#include <algorithm>
#include <cstdint>
#include <exception>
#include <utility>

#include "ivl/core/seconds.hpp"
#include "ivl/serve/engine.hpp"

namespace ivl {

// ---- pictures ----------------------------------------------------------------------------------------------------

IVL_INLINE bool Engine::see_pictures(Clock::time_point step_begin) {
  const bool prefill_waits = std::ranges::any_of(running_, [](const std::shared_ptr<Sequence>& sequence) {
    return !sequence->paused_ && sequence->ready() > sequence->cached_ + 1;
  });
  const double time_s = std::max(0.0, options_.step_ms / 1e3 - decode_s_) / (prefill_waits ? 2 : 1);
  bool saw = false;
  for (;;) {
    Sequence* sequence = nullptr;
    PictureSpan* span = nullptr;
    for (auto next = running_.begin(); next != running_.end() && !span; ++next) {
      sequence = next->get();
      if (!sequence->paused_ && !sequence->cancelled()) span = sequence->unseen();
    }
    const bool time_is_over = saw && options_.step_ms > 0 && seconds_since(step_begin) + piece_s_ > time_s;
    if (!span || time_is_over) return saw;
    saw = true;
    try {
      see_on(*sequence, *span);
    } catch (...) {
      cut_.reset();
      fail_with(*sequence, std::current_exception());
      remove_done();
    }
  }
}

IVL_INLINE void Engine::see_on(Sequence& sequence, PictureSpan& span) {
  const auto number = std::size_t(&span - sequence.spans_.data());
  const auto begin = Clock::now();
  const int tiles = see_on(sequence.request_.prompt.pictures[number].picture, *span.features, span.key);
  const double seconds = seconds_since(begin);
  piece_s_ = seconds;
  sequence.statistics_.tiles += tiles;
  sequence.statistics_.vision_s += seconds;
  sequence.last_ += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  if (tiles > 0) report_tiles(sequence);
}

IVL_INLINE int Engine::see_on(const Picture& picture, PictureRows& rows, const Digest& key) {
  if (cut_ != key) {
    runner_.cut(picture, rows.seen);
    cut_ = key;
  }
  const int tiles = runner_.see_on(rows.first_rows);
  rows.seen += tiles;
  if (rows.whole()) cut_.reset();
  return tiles;
}

IVL_INLINE void Engine::report_tiles(const Sequence& sequence) {
  const GenerationOptions& generation = sequence.request_.generation;
  if (!generation.on_progress || sequence.spans_.empty()) return;
  AnswerProgress progress{.prompt_tokens = sequence.prompt_tokens_};
  for (std::size_t i = 0; i < sequence.spans_.size(); ++i) {
    const int tiles = sequence.request_.prompt.pictures[i].picture.tiles();
    const auto& features = sequence.spans_[i].features;
    progress.tiles += tiles;
    progress.tiles_done += features ? features->seen : tiles;
  }
  generation.on_progress(progress);
}

// ---- time --------------------------------------------------------------------------------------------------------

IVL_INLINE bool Engine::somebody_reads() const {
  return std::ranges::any_of(running_, [](const std::shared_ptr<Sequence>& sequence) {
    return !sequence->paused_ && sequence->length() > sequence->prompt_tokens_;
  });
}

IVL_INLINE int Engine::most_prefill_rows(Clock::time_point step_begin) const {
  if (options_.step_ms <= 0 || !somebody_reads()) return room_.rows;
  constexpr int least = 16;  // in a step, however slow the machine
  const double left_s = options_.step_ms / 1e3 - seconds_since(step_begin) - decode_s_;
  if (prefill_row_s_ <= 0) return least;
  return std::clamp(int(std::min(left_s / prefill_row_s_, 1e6)), least, room_.rows);
}

IVL_INLINE void Engine::learn_speed(double step_s) {
  int prefill_rows = 0;
  for (const Scheduler::Part& part : scheduler_.parts()) prefill_rows += part.rows - part.drafts - 1;
  if (prefill_rows == 0)
    decode_s_ = step_s;
  else
    prefill_row_s_ = std::max(0.0, step_s - decode_s_) / prefill_rows;
}

}  // namespace ivl
