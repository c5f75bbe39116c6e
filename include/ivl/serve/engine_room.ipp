// The bodies of engine.hpp that give and take room: pages, rows of pictures, turns.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "ivl/core/constant.hpp"
#include "ivl/core/error.hpp"
#include "ivl/serve/engine.hpp"

namespace ivl {

// ---- room --------------------------------------------------------------------------------------------------------

IVL_INLINE const EngineOptions& Engine::checked(const EngineOptions& options) {
  if (options.draft_tokens < 0)
    fail<RequestError>("engine: expected draft_tokens of at least 0, found ", options.draft_tokens);
  if (options.max_sequences < 1 || options.max_rows < options.max_sequences || options.kv_tokens < 1)
    fail<RequestError>("engine: expected at least one sequence, a row for each and one token, found max_sequences ",
                       options.max_sequences, ", max_rows ", options.max_rows, ", kv_tokens ", options.kv_tokens);
  return options;
}

IVL_INLINE int Engine::window_pages(const AnyRunner& runner, const EngineOptions& options, int most) {
  if (runner.sizes().layers[KvGroup::window] == 0) return 0;
  const int tokens = runner.sizes().window - 1 + kv_page_tokens + options.max_rows;
  return std::min(most, int(ceil_div(tokens, kv_page_tokens)) + 1);
}

IVL_INLINE StepRoom Engine::room_of(const AnyRunner& runner, const EngineOptions& options) {
  StepRoom room;
  room.rows = options.max_rows;
  room.sequences = options.max_sequences;
  const int guessed = std::min(options.max_rows, options.max_sequences * (1 + options.draft_tokens));
  room.wanted = std::max(guessed, std::min(options.max_logit_rows, options.max_rows));
  // Each further sequence may leave a page partly filled.
  const int pages = int(ceil_div(options.kv_tokens, kv_page_tokens)) + options.max_sequences - 1;
  room.pages_per_sequence = pages;
  room.pages[KvGroup::full] = pages;
  // One more than run: the windows of conversations that have ended stay for the next turn.
  room.pages[KvGroup::window] = window_pages(runner, options, pages) * (options.max_sequences + 1);
  const int feature_tokens = options.feature_tokens > 0 ? options.feature_tokens : options.kv_tokens;
  room.feature_rows = int(round_up(feature_tokens, runner.sizes().tokens_per_tile));
  return room;
}

// ---- admission ---------------------------------------------------------------------------------------------------

IVL_INLINE void Engine::admit() {
  Sequence* without_room = nullptr;  // the first that found none
  for (std::size_t i = 0; i < waiting_.size();) {
    const bool has_place = running_.size() < std::size_t(options_.max_sequences);
    if (!has_place && !paused_victim()) return;  // before anything is looked up
    const std::shared_ptr<Sequence> sequence = waiting_[i];
    const bool waits_on =
        sequence->paused_ || is_being_computed(*sequence) || (without_room && !may_overtake(*without_room, *sequence));
    if (waits_on) {
      ++i;
      continue;
    }
    try {
      if (has_place && find_room(*sequence)) {
        if (without_room) ++without_room->overtaken_;
        let_run(sequence);
        continue;
      }
    } catch (...) {
      fail_with(*sequence, std::current_exception());
      remove_done();
      continue;
    }
    if (const auto victim = paused_victim()) {
      preempt(victim);  // it may now stand in front of the sequence
      continue;
    }
    if (!without_room) without_room = sequence.get();
    ++i;
  }
}

IVL_INLINE bool Engine::may_overtake(const Sequence& waiting, const Sequence& sequence) const {
  const int pages = int(ceil_div(sequence.prompt_tokens_ + sequence.max_new_tokens_, kv_page_tokens));
  return waiting.overtaken_ < 8 && sequence.spans_.empty() && pages <= pool_->free(KvGroup::full);
}

IVL_INLINE bool Engine::is_being_computed(Sequence& sequence) const {
  if (!sequence.uses_cache()) return false;
  int page = 0;
  const auto fits = [&](int tokens) { return (page + 1) * kv_page_tokens <= tokens; };
  while (fits(sequence.length() - 1) && pool_->find(KvGroup::full, sequence.page_key(page)) >= 0) ++page;
  if (!fits(sequence.length() - 1)) return false;
  return std::ranges::any_of(running_, [&](const std::shared_ptr<Sequence>& other) {
    return !other->paused_ && other->uses_cache() && other->kept_pages_ <= page && fits(other->prompt_tokens_) &&
           other->page_key(page) == sequence.page_key(page);
  });
}

IVL_INLINE void Engine::let_run(const std::shared_ptr<Sequence>& sequence) {
  sequence->finish_ = Finish::running;
  std::erase(waiting_, sequence);
  insert_in_order(running_, sequence);
  if (std::exchange(sequence->was_started_, true)) return;
  counts_.prompt_tokens += sequence->prompt_tokens_;
  counts_.cached_tokens += sequence->statistics_.cached_tokens;
  if (sequence->request_.on_start) sequence->request_.on_start(*sequence);
  report_tiles(*sequence);
}

IVL_INLINE bool Engine::find_room(Sequence& sequence) {
  find_cached(sequence);
  const int total = sequence.prompt_tokens_ + sequence.max_new_tokens_;
  const bool whole = !sequence.may_give_way();
  const int tokens = whole ? total : std::min(total, sequence.length() + 1);
  const int missing = int(ceil_div(tokens, kv_page_tokens)) - int(sequence.pages_.table(KvGroup::full).size());
  if (pool_->free(KvGroup::full) < missing) {
    give_back(sequence);
    return false;
  }
  if (!reserve_features(sequence)) {
    assert(!running_.empty());  // alone, every prompt that `start` takes has room
    give_back(sequence);
    return false;
  }
  sequence.statistics_.queue_s += sequence.lap_s();
  sequence.pages_.grow(KvGroup::full, tokens);
  if (penalises(sequence.sampling_) && sequence.uses_.data == nullptr) place_uses(sequence);
  if (!sequence.was_started_) sequence.statistics_.cached_tokens = sequence.cached_;
  sequence.cached_ = std::max(sequence.cached_, std::min(sequence.request_.assumed_tokens, sequence.length() - 1));
  return true;
}

namespace detail {

inline Digest salted(const Digest& key, std::string_view salt) {
  if (salt.empty()) return key;
  Sha256 hash;
  hash.add(std::as_bytes(std::span(key)));
  hash.add(salt);
  return hash.finish();
}

}  // namespace detail

IVL_INLINE void Engine::lay_out(Sequence& sequence) const {
  const Prompt& prompt = sequence.request_.prompt;
  sequence.tokens_.reserve(std::size_t(sequence.prompt_tokens_ + sequence.max_new_tokens_));
  sequence.text_.reserve(std::size_t(sequence.max_new_tokens_) * 8);
  std::size_t done = 0;
  const auto ids_to = [&](std::size_t end) {
    sequence.tokens_.insert(sequence.tokens_.end(), prompt.ids.begin() + std::ptrdiff_t(done),
                            prompt.ids.begin() + std::ptrdiff_t(end));
    done = end;
  };
  for (const Prompt::Place& place : prompt.pictures) {
    ids_to(place.at);
    const int rows = place.picture.tiles() * runner_.sizes().tokens_per_tile;
    sequence.spans_.push_back(
        {sequence.length(), rows, detail::salted(key_of(place.picture), sequence.request_.cache_salt)});
    sequence.tokens_.resize(sequence.tokens_.size() + std::size_t(rows), -1);
  }
  ids_to(prompt.ids.size());
  assert(sequence.length() == sequence.prompt_tokens_);
}

IVL_INLINE bool Engine::reserve_features(Sequence& sequence) {
  const std::vector<Prompt::Place>& places = sequence.request_.prompt.pictures;
  int known = 0, all = 0;
  for (std::size_t i = 0; i < places.size(); ++i) {
    PictureSpan& span = sequence.spans_[i];
    if (span.begin + span.rows <= sequence.cached_) continue;
    ++all;
    span.features = features_.find(span.key);
    if (span.features)
      ++known;
    else
      span.features = features_.reserve(span.key, places[i].picture.tiles());
    if (!span.features) return false;
  }
  counts_.pictures += all;
  counts_.known_pictures += known;
  return true;
}

IVL_INLINE void Engine::place_uses(Sequence& sequence) {
  std::vector<std::int32_t> uses(std::size_t(sequence.usable_ids_));
  for (const std::int32_t token : sequence.seen_by_rules()) {
    if (token >= 0 && token < sequence.usable_ids_) uses[std::size_t(token)] = 1;
  }
  sequence.uses_ = runner_.place_uses(uses);
}

// ---- pages -------------------------------------------------------------------------------------------------------

IVL_INLINE void Engine::find_cached(Sequence& sequence) {
  if (!sequence.uses_cache()) return;
  const bool has_window = room_.pages[KvGroup::window] > 0;
  const auto find = [&](KvGroup group, int page) { return pool_->find(group, sequence.page_key(page)); };
  const auto first_seen = [&](int tokens) { return std::max(0, tokens - runner_.sizes().window + 1) / kv_page_tokens; };
  const auto window_is_there = [&](int pages) {
    for (int page = first_seen(pages * kv_page_tokens); page < pages; ++page) {
      if (find(KvGroup::window, page) < 0) return false;
    }
    return true;
  };
  // The last token has to run: its logits are wanted.
  const int most = sequence.length() - 1;
  int pages = 0;
  while ((pages + 1) * kv_page_tokens <= most && find(KvGroup::full, pages) >= 0) ++pages;
  while (has_window && !window_is_there(pages)) --pages;
  for (int page = 0; page < pages; ++page) sequence.pages_.share(KvGroup::full, find(KvGroup::full, page));
  if (has_window) {
    sequence.pages_.skip(KvGroup::window, first_seen(pages * kv_page_tokens));
    for (int page = first_seen(pages * kv_page_tokens); page < pages; ++page)
      sequence.pages_.share(KvGroup::window, find(KvGroup::window, page));
  }
  sequence.kept_pages_ = pages;
  sequence.cached_ = pages * kv_page_tokens;

  find_tail(sequence, most);
}

IVL_INLINE void Engine::find_tail(Sequence& sequence, int end) {
  const int page_begin = sequence.cached_, page_end = std::min(end, page_begin + kv_page_tokens);
  const bool has_window = room_.pages[KvGroup::window] > 0;
  KvPool::Tail best, best_of_window;
  // A tail begins with its page or behind a picture.
  for (int begin = page_begin; begin < page_end; ++begin) {
    if (begin > page_begin && sequence.tokens_[std::size_t(begin - 1)] >= 0) continue;
    const auto ids = sequence.ids_of_page(begin, end);
    if (ids.empty()) continue;
    const Digest before = sequence.key_before_tail(begin, page_begin);
    const KvPool::Tail tail = pool_->find_tail(KvGroup::full, before, ids);
    if (tail.common == 0) continue;
    KvPool::Tail of_window;
    if (has_window) {
      of_window = pool_->find_tail(KvGroup::window, before, ids.first(std::size_t(tail.common)));
      if (of_window.common < tail.common) continue;
    }
    best = tail;
    best_of_window = of_window;
    sequence.cached_ = begin + tail.common;  // the last place is the best
  }
  if (best.common == 0) return;
  sequence.pages_.share(KvGroup::full, best.page);
  if (has_window) sequence.pages_.share(KvGroup::window, best_of_window.page);
}

IVL_INLINE void Engine::keep_pages(Sequence& sequence) {
  const int full = sequence.uses_cache() ? sequence.cached_ / kv_page_tokens : 0;
  for (int& page = sequence.kept_pages_; page < full; ++page) {
    const Digest& key = sequence.page_key(page);
    for (const KvGroup group : all_kv_groups) {
      if (room_.pages[group] > 0) pool_->keep(group, sequence.pages_.table(group)[std::size_t(page)], key);
    }
  }
  if (room_.pages[KvGroup::window] > 0)
    sequence.pages_.drop_before(KvGroup::window, std::max(0, sequence.cached_ - runner_.sizes().window + 1));
}

IVL_INLINE void Engine::give_back(Sequence& sequence) {
  const int page = sequence.cached_ / kv_page_tokens;
  for (const KvGroup group : all_kv_groups) {
    const auto& table = sequence.pages_.table(group);
    if (!sequence.uses_cache() || page >= int(table.size())) continue;
    const int begin = sequence.tail_begin(sequence.cached_);
    pool_->keep_tail(group, table[std::size_t(page)], sequence.key_before_tail(begin, sequence.cached_),
                     sequence.ids_of_page(begin, sequence.cached_));
  }
  sequence.pages_.clear();
  sequence.cached_ = sequence.kept_pages_ = 0;
  for (PictureSpan& span : sequence.spans_) span.features.reset();
}

IVL_INLINE void Engine::choose_step() {
  in_step_.clear();
  for (const auto& sequence : running_) {
    if (!sequence->paused_ && sequence->ready() > sequence->cached_) in_step_.push_back(sequence);
  }
  for (const auto& sequence : in_step_) find_next_page(*sequence);
  std::erase_if(in_step_, [](const std::shared_ptr<Sequence>& sequence) {
    const auto room = std::int64_t(sequence->pages_.table(KvGroup::full).size()) * kv_page_tokens;
    return sequence->finish_ != Finish::running || room <= sequence->cached_;
  });
}

IVL_INLINE void Engine::find_next_page(Sequence& sequence) {
  KvPages& pages = sequence.pages_;
  if (std::int64_t(pages.table(KvGroup::full).size()) * kv_page_tokens > sequence.cached_) return;
  while (pool_->free(KvGroup::full) == 0 && sequence.finish_ == Finish::running) {
    const std::shared_ptr<Sequence> victim = next_victim();
    if (!victim) return;
    preempt(victim);
  }
  if (sequence.finish_ == Finish::running && pool_->free(KvGroup::full) > 0)
    pages.grow(KvGroup::full, sequence.cached_ + 1);
}

IVL_INLINE std::shared_ptr<Sequence> Engine::paused_victim() const {
  const auto may = [](const std::shared_ptr<Sequence>& sequence) {
    return sequence->paused_ && sequence->uses_cache();
  };
  const auto last = std::find_if(running_.rbegin(), running_.rend(), may);
  return last == running_.rend() ? nullptr : *last;
}

IVL_INLINE std::shared_ptr<Sequence> Engine::next_victim() const {
  std::shared_ptr<Sequence> victim = paused_victim();
  if (victim) return victim;
  const std::size_t number = running_.size(),
                    late = std::max<std::size_t>(1, number - std::max<std::size_t>(1, number / 3));
  for (std::size_t i = late; i < number; ++i) {
    const auto& candidate = running_[i];
    if (candidate->may_give_way() && (!victim || candidate->cached_ < victim->cached_)) victim = candidate;
  }
  return victim;
}

IVL_INLINE void Engine::preempt(const std::shared_ptr<Sequence>& sequence) {
  give_back(*sequence);
  sequence->finish_ = Finish::waiting;
  if (!sequence->paused_) ++sequence->preemptions_;
  ++counts_.preemptions;
  std::erase(running_, sequence);
  insert_in_order(waiting_, sequence);
}

}  // namespace ivl
