// Runs requests of one model together: prefill chunks and decode rows of all of them share a step.
#pragma once
#include <deque>
#include <exception>
#include <functional>
#include <memory>
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
/// answer depend neither on the other requests nor on what was taken over from earlier ones.
class Engine {
 public:
  /// `runner` must outlive the engine, which takes its room. Throws RequestError for options that leave no room.
  explicit Engine(AnyRunner& runner, const EngineOptions& options = {});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  AnyRunner& runner() const { return runner_; }
  const EngineOptions& options() const { return options_; }
  const KvPool& pool() const { return *pool_; }

  /// Queues a request; `step` then runs it, together with others, as soon as there is room for it. Throws RequestError
  /// for one that could never run: a prompt that does not fit the context, the engine's room or the vocabulary.
  std::shared_ptr<Sequence> start(Request request);

  /// The rows that stand for a picture, as floats [rows, hidden]. A request about it does not see it again.
  std::vector<float> features(const Picture& picture);

  /// Takes a sequence out before it is done.
  void stop(Sequence& sequence);

  /// One step of all running sequences. Returns whether any request is left. An error, a callback's among them, ends
  /// its own sequence; an error of the step itself ends all that ran in it.
  bool step();

  /// Steps until nothing is left to do.
  void run();

 private:
  // ---- room --------------------------------------------------------------------------------------------------------
  static const EngineOptions& checked(const EngineOptions& options);

  /// A window's pages beside those that its rows see: one that ends, and one for a next turn that begins a little
  /// earlier than the last one ended.
  static constexpr int kept_window_tokens = kv_page_tokens;
  static int window_pages(const AnyRunner& runner, const EngineOptions& options, int most);
  static StepRoom room_of(const AnyRunner& runner, const EngineOptions& options);

  // ---- starting ----------------------------------------------------------------------------------------------------
  /// How many tokens the prompt has, its pictures' rows among them.
  int check_prompt(const Request& request) const;

  /// Ends the sequences whose callers ask for it.
  void end_cancelled();

  /// Lets waiting requests run, first come first served, while there is room for prompt and answer.
  void admit();

  /// Vision first: then the prompt's rows are known, and what an earlier sequence has of them. Returns false if the
  /// rows find no room beside those of requests that run.
  bool prepare(Sequence& sequence);

  /// Tokens, and a span for each picture.
  void lay_out(Sequence& sequence);

  /// All pictures of a sequence, or none and false where there is no room for all.
  bool see_pictures(Sequence& sequence);

  /// The rows of a picture, which no picture needs twice; null where there is no room for them.
  std::shared_ptr<const PictureRows> see(const Picture& picture, const Digest& key, AnswerStatistics& statistics,
                                         const std::function<void(int tiles)>& on_tiles = {});

  /// Only penalties ask which ids a sequence holds. Pictures do not count, nor ids that are never drawn.
  void place_uses(Sequence& sequence);

  /// Uses the earlier sequence's pages for as many tokens as both begin with, but for the prompt's last, whose logits
  /// are wanted.
  void take_over(Sequence& sequence);

  /// Pages for prompt and answer, at the cost of sequences that have ended. Returns false if others that run have them.
  bool reserve_pages(Sequence& sequence);

  // ---- after a step ------------------------------------------------------------------------------------------------
  void take_results(const Scheduler::Part& part);
  std::span<float> logits_of(int wanted);
  /// The id, or -1 where the model has gone wrong (ops/sample.hpp).
  int choose(Sequence& sequence, std::span<float> logits);

  /// The sequence has its token, and knows whether it is done, before its callback may throw.
  void take_token(Sequence& sequence, int id);
  static void give(Sequence& sequence, std::string_view text);

  /// Its pages stay until others need them; its pictures' rows may go.
  static void end(Sequence& sequence, Finish finish);
  static void fail_with(Sequence& sequence, std::exception_ptr error);
  void remove_done();

  AnyRunner& runner_;
  EngineOptions options_;
  StepRoom room_;
  std::shared_ptr<KvPool> pool_;
  FeaturePool features_;
  Step step_;
  StepResults results_;
  Scheduler scheduler_;
  std::deque<std::shared_ptr<Sequence>> waiting_;
  std::vector<std::shared_ptr<Sequence>> running_;
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
#endif
