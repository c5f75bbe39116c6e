// What a caller says to an engine or a chat, and what he learns from it, apart from any model.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/image/picture.hpp"
#include "ivl/serve/sampling.hpp"
#include "ivl/text/chat_template.hpp"
#include "ivl/text/constraint.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

/// What an engine makes room for. Later only prompts allocate: their tokens, and memory for their first picture.
struct EngineOptions {
  int kv_tokens = 4096;    ///< tokens of all sequences together; memory is touched only as they come. Layers with a
                           ///< window hold about window + max_rows tokens of each sequence instead
  int max_sequences = 1;   ///< running together; more wait their turn
  int max_rows = 512;      ///< of one step: the prefill chunk
  int max_logit_rows = 0;  ///< rows of one step whose logits are made; 0: max_sequences
  int feature_tokens = 0;  ///< picture rows that stay for the next question; 0: kv_tokens
  /// Goal for the time of a step while somebody's answer is under way: prefill and the seeing of pictures are cut into
  /// pieces that leave the others' tokens so far apart. 0: none; steps are as large as they may be. Measured times
  /// decide then, so ranks that share a model (parallel/) would not plan alike: leave it 0 there.
  double step_ms = 0;
  /// Of an answer that repeats what is in its conversation (documents, boxes, keys of JSON), a step tries so many
  /// tokens ahead at most: what stood behind the last three tokens before. The answer's bits do not depend on it.
  int draft_tokens = 0;
};

/// How far an answer is before its first token.
struct AnswerProgress {
  int tiles = 0, tiles_done = 0;  ///< of the prompt's pictures; those of earlier turns count as done at once
  int prompt_tokens = 0, prompt_done = 0;
};

struct GenerationOptions {
  /// Fewer where the context ends. Unset: what the checkpoint proposes, or 1024.
  std::optional<int> max_new_tokens = {};
  std::optional<int> max_length = {};  ///< the same, of prompt and answer; max_new_tokens wins
  /// No stop token ends the answer before; a stop string does. Unset: what the checkpoint proposes.
  std::optional<int> min_new_tokens = {};
  std::optional<int> min_length = {};  ///< the same, of prompt and answer; min_new_tokens wins
  SamplingOptions sampling = {};
  std::vector<int> stop_ids = {};                    ///< tokens that end the answer; empty: those of the checkpoint
  bool ignore_stop_ids = false;                      ///< no token ends the answer, not even the checkpoint's
  std::vector<std::string> stop_strings = {};        ///< texts that end the answer; not part of it
  std::optional<SpecialTokens> special_tokens = {};  ///< in the answer's text; unset: what the prompt style does

  // What these forbid or favour is seen to on the host, before anything is drawn: each token costs a device the way of
  // its logits to the host and back.
  /// So many tokens stand nowhere twice in the same order. 0: any may. Unset: what the checkpoint
  /// proposes.
  std::optional<int> no_repeat_ngram_size = {};
  /// Tokens that the answer does not hold in this order. As in transformers, a stop token alone is not forbidden.
  /// Empty: those of the checkpoint.
  std::vector<std::vector<std::int32_t>> bad_words_ids = {};
  /// The same as text: the tokens that the tokenizer makes of it at the start of a text and behind a space. Other
  /// tokens may still spell it.
  std::vector<std::string> bad_words = {};
  /// Of one id: OpenAI's logit_bias. Of the same ids twice, the last counts. Empty: those of the checkpoint.
  std::vector<SequenceBias> sequence_bias = {};
  /// What the answer's text has to be, with the tokens of the same tokenizer: made once, for any number of requests. An
  /// answer that ends by its length or at a stop string is cut, and only the beginning of such a text. Needs a stop
  /// token. `mask` sees what it left.
  std::shared_ptr<const Constraint> constraint = {};

  /// Whether repetition_penalty, no_repeat_ngram_size and ids of several see the prompt's tokens too. Unset: they do,
  /// but in chats of GitHub folders, whose reference hands embeddings to transformers, which so sees the answer alone.
  std::optional<bool> count_prompt = {};

  /// So many of the most probable tokens are told with each token of the answer (Sequence::logprobs), 0 for the token
  /// alone. Like the rules above, this costs a device the way of the logits to the host.
  std::optional<int> logprobs = {};

  /// Ends the answer before its next token once it is true: set from another thread, or in a signal's handler.
  const std::atomic<bool>* cancel = nullptr;
  /// Called between the parts of the work that comes before the first token. What it throws ends its own sequence.
  std::function<void(const AnswerProgress&)> on_progress = {};

  /// Changes the logits [vocab_rows] that the next token is chosen from: a constraint sets what it forbids to
  /// -infinity.
  std::function<void(std::span<float> logits)> mask = {};
  /// Chooses the next token itself, in place of `sampling`. It sees what `mask` left.
  std::function<int(std::span<const float> logits)> choose = {};
  /// Receives the logits of every prompt position that is computed, in order. Nothing is taken over from an earlier
  /// sequence then, so that all of them are.
  std::function<void(int position, std::span<const float> logits)> on_prompt_logits = {};
};

/// Receives text as soon as it is certain: whole characters, no part of a stop string. What it throws ends its own
/// sequence.
using TextCallback = std::function<void(std::string_view)>;

struct ChatOptions {
  std::optional<std::string> system = {};  ///< nothing: the checkpoint's own default
  std::optional<int> max_tiles = {};       ///< of one picture; nothing: the checkpoint's own
  /// Room for the conversation, at most the model's context; of a chat with an engine of its own. Unset: it grows with
  /// the conversation, up to the model's context.
  std::optional<int> kv_tokens = {};
  std::vector<Turn> history = {};      ///< what was said before, with its <image> marks
  std::vector<Picture> pictures = {};  ///< of the history's marks, in order
};

/// Where the time of one answer went.
struct AnswerStatistics {
  int tiles = 0;                                     ///< seen by the vision tower for this answer
  int prompt_tokens = 0;                             ///< of the whole conversation
  int cached_tokens = 0;                             ///< of these, known from earlier turns
  int new_tokens = 0;                                ///< generated
  int drafted_tokens = 0, accepted_tokens = 0;       ///< tried ahead, and of these, right
  double queue_s = 0;                                ///< waiting for its turn
  double vision_s = 0, prefill_s = 0, decode_s = 0;  ///< prefill ends with the first token
};

/// What an engine holds at the moment, and has done so far.
struct EngineStatus {
  int running = 0, waiting = 0, paused = 0;  ///< those that are paused run or wait as well
  int pages = 0, used_pages = 0;             ///< of keys and values in layers without a window; used by those that run
  std::int64_t steps = 0, rows = 0;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, new_tokens = 0;  ///< of requests that run or have run
  std::int64_t preemptions = 0;
  std::int64_t pictures = 0, known_pictures = 0;  ///< of prompts, behind what is cached; and of these, seen before
};

enum class Finish : std::uint8_t { waiting, running, stop_token, stop_string, length, cancelled, error };

constexpr std::string_view name_of(Finish finish) {
  constexpr std::string_view names[] = {"waiting", "running",   "stop_token", "stop_string",
                                        "length",  "cancelled", "error"};
  return names[std::size_t(finish)];
}

}  // namespace ivl
