// Runs requests of one model together: prefill chunks and decode rows of all of them share a step.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/model/step.hpp"
#include "ivl/serve/feature_pool.hpp"
#include "ivl/serve/kv_pool.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/serve/scheduler.hpp"
#include "ivl/serve/sequence.hpp"

namespace ivl {

/// Owns the queue, the page and feature pools, and the runner's room. Serves one caller at a time. The bits of an
/// answer depend neither on the other requests nor on what is known from earlier ones: where a prompt begins as another
/// did, keys and values of both are the same pages for as long as they stay.
class Engine {
  using Clock = std::chrono::steady_clock;

 public:
  /// `runner` must outlive the engine, which takes its room. Throws RequestError for options that leave no room.
  explicit Engine(AnyRunner& runner, const EngineOptions& options = {});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  AnyRunner& runner() const { return runner_; }
  const EngineOptions& options() const { return options_; }
  const KvPool& pool() const { return *pool_; }
  EngineStatus status() const;

  /// Queues a request; `step` then runs it, together with others, as soon as there is room for it. Throws RequestError
  /// for one that could never run: a prompt that does not fit the context, the engine's room or the vocabulary.
  std::shared_ptr<Sequence> start(Request request);

  /// `start` in two parts. `prepare` checks a request and lays it out, which is most of the work and may be done in any
  /// thread; what cannot be read of its pictures it throws.
  std::shared_ptr<Sequence> prepare(Request request) const;
  void start(const std::shared_ptr<Sequence>& prepared);

  /// The rows that stand for a picture, as floats [rows, hidden]. A request about it does not see it again.
  std::vector<float> features(const Picture& picture);

  /// Takes a sequence out before it is done.
  void stop(Sequence& sequence);

  /// Leaves a sequence out of the steps until it is resumed: its reader is slow. It keeps its place and its pages only
  /// for as long as nobody else waits for them.
  void pause(Sequence& sequence) { sequence.paused_ = true; }
  void resume(Sequence& sequence) { sequence.paused_ = false; }

  /// One step of all running sequences. Returns whether there is more to do: any request is left that is not paused,
  /// nor waits for one that is. An error, a callback's among them, ends its own sequence; an error of the step itself
  /// ends all that ran in it.
  bool step();

  /// Steps until nothing is left to do.
  void run();

 private:
  // ---- room --------------------------------------------------------------------------------------------------------
  static const EngineOptions& checked(const EngineOptions& options);

  static int window_pages(const AnyRunner& runner, const EngineOptions& options, int most);
  static StepRoom room_of(const AnyRunner& runner, const EngineOptions& options);

  // ---- starting ----------------------------------------------------------------------------------------------------
  /// How many tokens the prompt has, its pictures' rows among them.
  int check_prompt(const Request& request) const;

  /// Tokens, and a span for each picture.
  void lay_out(Sequence& sequence) const;

  /// Ends the sequences whose callers ask for it.
  void end_cancelled();

  /// Lets waiting requests run, first come first served, while there is room for their prompts and the next token.
  void admit();
  void let_run(const std::shared_ptr<Sequence>& sequence);

  /// Whether it may run before one that finds no room: nothing has to be seen for it, and what is free is enough for
  /// its whole answer. Eight may overtake one, no more.
  bool may_overtake(const Sequence& waiting, const Sequence& sequence) const;
  /// Whether one that runs computes the next page of what it begins with: to wait for it is sooner than to do it too.
  bool is_being_computed(Sequence& sequence) const;

  /// What is known of its tokens already, rows for its pictures, and pages. Returns false, and holds nothing, where
  /// running requests have the room.
  bool find_room(Sequence& sequence);

  /// Rows for all pictures with tokens that are not cached: no picture has them twice. Returns false where there is no
  /// room for all.
  bool reserve_features(Sequence& sequence);

  /// Only penalties ask which ids a sequence holds. Pictures do not count, nor ids that are never drawn.
  void place_uses(Sequence& sequence);

  /// Shares the longest run of pages that hold what the sequence begins with, but for its last token, whose logits are
  /// wanted, and takes the tail of one that has ended.
  void find_cached(Sequence& sequence);

  /// Of the page behind the shared ones, the tail that has most of the sequence's tokens before `end`.
  void find_tail(Sequence& sequence, int end);

  /// Pages that are full by now can be found by others, and those in front of the window are nobody's.
  void keep_pages(Sequence& sequence);

  /// Pages and picture rows stay where they are until somebody needs the room.
  void give_back(Sequence& sequence);

  // ---- pictures ----------------------------------------------------------------------------------------------------
  /// Sees pictures of those that run, in the order of their turns, until all are seen or the step's time for it is
  /// over. Returns whether there were any.
  bool see_pictures(Clock::time_point step_begin);
  void see_on(Sequence& sequence, PictureSpan& span);
  /// One piece of work. Returns how many tiles are seen by it.
  int see_on(const Picture& picture, PictureRows& rows, const Digest& key);
  static void report_tiles(const Sequence& sequence);

  // ---- a step ------------------------------------------------------------------------------------------------------
  bool somebody_reads() const;
  int most_prefill_rows(Clock::time_point step_begin) const;
  void learn_speed(double step_s);
  /// Those of the running sequences that have a page for their next token. Where pages are short, late sequences give
  /// up theirs and wait again; one that may not (Sequence::may_give_way) has waited for all pages that it may ever
  /// need.
  void choose_step();
  void find_next_page(Sequence& sequence);

  /// One that is paused; else of the latest third of those that run, never the first, the one that has least to compute
  /// again; null if none may.
  std::shared_ptr<Sequence> next_victim() const;
  std::shared_ptr<Sequence> paused_victim() const;
  void preempt(const std::shared_ptr<Sequence>& sequence);

  template <class Sequences>
  static void insert_in_order(Sequences& sequences, const std::shared_ptr<Sequence>& sequence) {
    const auto later = std::ranges::find_if(
        sequences, [&](const std::shared_ptr<Sequence>& other) { return sequence->comes_before(*other); });
    sequences.insert(later, sequence);
  }

  bool is_left() const;

  // ---- after a step ------------------------------------------------------------------------------------------------
  void take_results(const Scheduler::Part& part);
  void take_tokens(const Scheduler::Part& part);
  std::span<float> logits_of(int wanted);
  /// The id, or -1 where the model has gone wrong (ops/sample.hpp).
  int choose(Sequence& sequence, std::span<float> logits);

  /// The sequence has its token, and knows whether it is done, before its callback may throw.
  void take_token(Sequence& sequence, int id);
  static void give(Sequence& sequence, std::string_view text);

  /// Its pages stay until others need them; its pictures' rows may go.
  void end(Sequence& sequence, Finish finish);
  void fail_with(Sequence& sequence, std::exception_ptr error);
  void remove_done();

  AnyRunner& runner_;
  EngineOptions options_;
  StepRoom room_;
  std::shared_ptr<KvPool> pool_;
  FeaturePool features_;
  std::optional<Digest> cut_;                ///< the picture that the runner sees
  double piece_s_ = 0;                       ///< of seeing, lately
  double decode_s_ = 0, prefill_row_s_ = 0;  ///< a step without prefill, and each row of prefill in it, lately
  Step step_;
  StepResults results_;
  std::vector<float> own_logits_;  ///< the model's, where logprobs are wanted
  Scheduler scheduler_;
  std::uint64_t arrivals_ = 0;
  EngineStatus counts_;                            ///< only what is counted from the start on
  std::deque<std::shared_ptr<Sequence>> waiting_;  ///< in the order of their turns, as those that run
  std::vector<std::shared_ptr<Sequence>> running_;
  std::vector<std::shared_ptr<Sequence>> in_step_;
};

/// The longest answer that a request may get behind its prompt: what its caller says, else what the checkpoint
/// proposes, else 1024 tokens; never more than the context leaves. Throws RequestError for less than one token.
int longest_answer(const GenerationOptions& generation, const ModelFacts& facts, int prompt_tokens);

/// Starts all requests and steps until the last one has ended: what finds no room waits until others are done. An error
/// of one alone is that sequence's `error`. Throws RequestError as `start` does, before any of them runs.
std::vector<std::shared_ptr<Sequence>> run_all(Engine& engine, std::vector<Request> requests);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/engine.ipp"
#include "ivl/serve/engine_pace.ipp"
#include "ivl/serve/engine_room.ipp"
#endif
