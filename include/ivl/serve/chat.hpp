// A conversation: questions and pictures in, streamed text out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/processor.hpp"
#include "ivl/model/step.hpp"
#include "ivl/serve/engine.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/text/chat_template.hpp"

namespace ivl {

/// Keeps pictures and turns, and the last answer's keys and values for as long as nobody else needs their room. Answers
/// do not depend on what was kept: only the time does.
class Chat {
 public:
  /// One of the engine's conversations. Engine and processor must outlive the chat.
  Chat(Engine& engine, const Processor& processor, ChatOptions options = {});

  /// A conversation with an engine of its own. Runner and processor must outlive the chat.
  Chat(AnyRunner& runner, const Processor& processor, ChatOptions options = {});

  /// Asks the next question; `pictures` are new ones, cut by the chat's own rules. "<image>" marks in the question
  /// place them; without marks they go before it. `on_text` receives the answer as it comes; the whole of it is
  /// returned, as the reference's chat() does: without white space at its ends (in the HF format as it came). The
  /// conversation is as it was before when this throws (RequestError, also for what `check_question` refuses,
  /// ImageError, or whatever `on_text` throws), and when the answer is cancelled before its first token; a later part
  /// of an answer counts as the whole.
  std::string ask(std::string_view question, std::span<const Image> pictures = {}, GenerationOptions generation = {},
                  TextCallback on_text = {});

  /// The same about pictures with tile rules of their own, such as the frames of a video, and about combined ones.
  std::string ask_about(std::vector<Picture> new_pictures, std::string_view question, GenerationOptions generation = {},
                        TextCallback on_text = {});

  /// `number` answers to one question: each as `ask_about` gives it for `seed_of_answer`. What they begin with is
  /// computed once, and they share steps where the engine has room for several. `on_text` receives one answer after the
  /// other. The history keeps the first, as the reference does; `statistics`, `finish` and `ids` are the last one's.
  /// Greedy answers are all alike. Cancelled, it returns those that came. Throws as `ask_about` does, and the
  /// conversation is then as it was before.
  std::vector<std::string> ask_several(int number, const std::vector<Picture>& new_pictures, std::string_view question,
                                       GenerationOptions generation = {},
                                       const std::function<void(int answer, std::string_view text)>& on_text = {});

  /// Forgets `count` turns of the history from `first` on, with their pictures. What is left is as if it had been all.
  void forget(std::size_t first, std::size_t count);

  /// Puts another conversation in the place of this one: its system message (nothing: the checkpoint's own default),
  /// its turns with their <image> marks, and the pictures of all marks in order. The next question goes on from there,
  /// with the prompt that it would have had. Throws RequestError where marks and pictures do not match, RoomError where
  /// no question could follow, and the conversation is as it was before.
  void resume(std::optional<std::string> system, std::vector<Turn> history, std::vector<Picture> pictures = {});

  const AnswerStatistics& statistics() const { return statistics_; }
  /// How the last answer ended.
  Finish finish() const { return finish_; }
  /// Token ids of the last answer, the one that ended it not among them; empty where the last question got none.
  std::span<const std::int32_t> ids() const { return ids_; }
  const TileRules& tile_rules() const { return rules_; }
  const std::optional<std::string>& system() const { return options_.system; }
  const std::vector<Turn>& history() const { return history_; }

 private:
  Chat(std::unique_ptr<Engine> engine, const Processor& processor, ChatOptions options);

  void grow_for(const Request& request, int answers);
  /// To more than `wanted` tokens and as many answers at once, or to what it was where there is no memory for them.
  /// Throws where that does not reach `least`.
  void grow(int wanted, int least, int answers);

  const Processor& processor_;
  std::unique_ptr<Engine> own_engine_;
  Engine* engine_;
  std::vector<Turn> history_;
  std::vector<Picture> pictures_;  // of all turns so far
  ChatOptions options_;
  TileRules rules_;
  bool may_grow_ = true;  // as far as is known
  std::vector<std::int32_t> ids_;
  AnswerStatistics statistics_;
  Finish finish_ = Finish::waiting;
};

/// What a request's caller left open: the tokenizer, where an answer ends and what its text holds follow the prompt
/// style, and its length the engine's room.
void complete(Request& request, const Processor& processor, const Engine& engine);
/// The same for an engine with room for `kv_tokens`.
void complete(Request& request, const Processor& processor, int kv_tokens);

/// An answer as the reference's chat() returns it: without white space at its ends, in the HF format as it came.
std::string_view answer_text(const Processor& processor, const Sequence& sequence);

/// Says before any weight is read what a chat would say later: throws RoomError where a prompt and an answer find no
/// room in the model's context, or in `kv_tokens` of it. At the end of the context an answer may be shorter.
void check_room(const Processor& processor, const Prompt& prompt, std::optional<int> kv_tokens = {},
                int answer_tokens = 1);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/chat.ipp"
#endif
