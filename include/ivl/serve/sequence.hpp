// One request of an engine: its tokens, its pages, how they are chosen and the text that came out.
#pragma once
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/sha256.hpp"
#include "ivl/facts/rope.hpp"
#include "ivl/model/prompt.hpp"
#include "ivl/model/step.hpp"
#include "ivl/serve/feature_pool.hpp"
#include "ivl/serve/kv_pool.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/serve/sampling.hpp"
#include "ivl/serve/token_rules.hpp"
#include "ivl/text/constraint.hpp"
#include "ivl/text/stream_decoder.hpp"

namespace ivl {

class Sequence;

/// What an engine is asked.
struct Request {
  Prompt prompt;
  GenerationOptions generation = {};
  const Tokenizer* tokenizer = nullptr;  ///< for the answer's text, which is empty without; must outlive the sequence
  TextCallback on_text = {};
  int priority = 0;             ///< the smaller, the sooner; among equals, first come, first served
  std::string cache_salt = {};  ///< pages and rows of pictures are shared among requests of one salt alone
  /// Told once, when it runs for the first time; what it throws ends the sequence.
  std::function<void(const Sequence& sequence)> on_start = {};
  /// Told once, when all else was told and `done` is true. It throws nothing.
  std::function<void(const Sequence& sequence)> on_end = {};
  /// So many tokens count as computed, whatever the memory holds of them: for benchmarks of a step behind a long
  /// conversation.
  int assumed_tokens = 0;
};

/// A picture's place among a sequence's tokens.
struct PictureSpan {
  int begin = 0;
  int rows = 0;
  Digest key{};
  std::shared_ptr<PictureRows> features = {};  ///< while the sequence runs
};

/// Made by Engine::start, changed by the engine's steps alone.
class Sequence {
 public:
  bool done() const { return finish_ > Finish::running; }
  Finish finish() const { return finish_; }
  /// What ended it, where `finish` says error.
  std::exception_ptr error() const { return error_; }
  /// The answer so far.
  const std::string& text() const { return text_; }
  /// Token ids generated so far, the stop token not among them.
  std::span<const std::int32_t> generated() const;
  /// Of each generated token, where GenerationOptions::logprobs asks for them.
  std::span<const TokenLogprobs> logprobs() const { return logprobs_; }
  /// The stop string that ended it.
  std::optional<std::string> stopped_by() const;
  /// Whether it runs, or ran once.
  bool was_started() const { return was_started_; }
  /// Whether it is left out of the steps, see Engine::pause.
  bool paused() const { return paused_; }
  /// Ids of prompt and answer, -1 for the rows of pictures; known once the sequence runs.
  std::span<const std::int32_t> tokens() const { return tokens_; }
  int prompt_tokens() const { return prompt_tokens_; }
  int length() const { return int(tokens_.size()); }
  /// Tokens whose keys and values are known.
  int cached() const { return cached_; }
  /// How often it gave its pages to sequences that came before it, to be computed again.
  int preemptions() const { return preemptions_; }
  const AnswerStatistics& statistics() const { return statistics_; }

 private:
  friend class Engine;
  friend class Scheduler;
  using Clock = std::chrono::steady_clock;

  Sequence(std::shared_ptr<KvPool> pool, int most_pages, Request request, const Sampling& sampling, int prompt_tokens,
           int usable_ids, int most_drafts);

  /// The number that a step embeds at `position`.
  std::int32_t source(int position) const;
  const PictureSpan* span_at(int position) const;
  /// The picture that has to be seen before more rows can run; null if there is none.
  PictureSpan* unseen();
  /// Tokens whose rows may run: up to the first tile that is not seen.
  int ready() const;
  /// What page `index` holds once it is full: SHA-256 over the key of the page in front of it, the token ids, and the
  /// pictures and their rows. The one in front of page 0 is -1.
  const Digest& page_key(int index);
  /// What lies in front of a tail, the ids [begin, ...) of a page that is not full, in a sequence known up to `end`.
  Digest key_before_tail(int begin, int end);
  /// Behind the last row of a picture in `end`'s page, or the page's begin: pictures in front of a tail are in its key.
  int tail_begin(int end) const;
  void hash_tokens(Sha256& hash, int begin, int end) const;
  /// Beyond the context, dynamic NTK turns a prompt's keys by the prompt's whole length.
  bool turned_by_length(int end) const;

  /// Ids from `position` on to the end of its page, before `end` and before the first row of a picture.
  std::span<const std::int32_t> ids_of_page(int position, int end) const;

  bool stops_at(int id) const;
  /// For the token behind `ahead` more.
  Draw next_draw(int ahead = 0) const;

  /// Guesses the next tokens, `most` at most: what follows the last place where the last three tokens stood before.
  /// Fewer or none where guesses were wrong of late.
  void guess(int most);
  /// Learns from how many guesses of a step were right.
  void learn(int right);
  /// Whether the engine itself chooses the next token, from logits.
  bool chooses_on_host() const {
    return constraint_ || request_.generation.mask || request_.generation.choose || request_.generation.logprobs ||
           rules_.apply_to(int(generated().size()));
  }
  /// The tokens that count for penalties and rules.
  std::span<const std::int32_t> seen_by_rules() const {
    return request_.generation.count_prompt.value_or(true) ? std::span<const std::int32_t>(tokens_) : generated();
  }
  /// Whether its caller asks for its end.
  bool cancelled() const { return request_.generation.cancel && *request_.generation.cancel; }
  /// Whether its pages may be another's: not where all logits are wanted, nor where tokens only count as computed.
  bool uses_cache() const { return !request_.generation.on_prompt_logits && request_.assumed_tokens == 0; }
  /// Whether its pages may be taken in the midst of its answer, to be computed again: twice at most, so that it gets to
  /// its end.
  bool may_give_way() const { return uses_cache() && preemptions_ < 2; }
  /// A penalty depends on what was drawn before.
  bool may_guess() const { return !chooses_on_host() && uses_.data == nullptr; }
  bool wants_prompt_logits() const { return bool(request_.generation.on_prompt_logits) && cached_ < prompt_tokens_; }

  /// Whose turn comes first.
  bool comes_before(const Sequence& other) const {
    return std::pair(request_.priority, arrival_) < std::pair(other.request_.priority, other.arrival_);
  }

  double lap_s();

  Request request_;
  Sampling sampling_;
  int prompt_tokens_;
  int usable_ids_;  ///< that may be drawn; those behind are padding rows of the head
  int max_new_tokens_ = 0;
  std::vector<int> stop_ids_;
  std::uint64_t arrival_ = 0;  ///< the earlier, the smaller
  bool was_started_ = false, paused_ = false;
  int overtaken_ = 0;
  RopeFacts rope_;
  int preemptions_ = 0;
  TokenRules rules_;
  std::optional<ConstraintState> constraint_;
  std::vector<std::int32_t> tokens_;  ///< the prompt, then what was generated; -1: a row of a picture
  std::vector<PictureSpan> spans_;
  std::vector<std::int32_t> drafts_;  ///< of the step that runs
  int draft_length_ = 1, draft_pause_ = 0;
  std::vector<Digest> page_keys_;  ///< of the pages so far, behind that of nothing
  int cached_ = 0;
  int kept_pages_ = 0;  ///< that the pool knows by their keys
  Finish finish_ = Finish::waiting;
  std::exception_ptr error_;
  std::string text_;
  std::vector<TokenLogprobs> logprobs_;
  Memory uses_;  ///< [usable_ids] of int32, see Draw::uses; only where there is a penalty
  std::optional<StreamDecoder> decoder_;
  KvPages pages_;
  AnswerStatistics statistics_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/sequence.ipp"
#endif
