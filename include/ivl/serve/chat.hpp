// A conversation: questions and pictures in, streamed text out.
#pragma once
#include <cstddef>
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
  /// conversation is as it was before when this throws (RequestError, ImageError, or whatever `on_text` throws), and
  /// when the answer is cancelled before its first token; a later part of an answer counts as the whole.
  std::string ask(std::string_view question, std::span<const Image> pictures = {}, GenerationOptions generation = {},
                  TextCallback on_text = {});

  /// The same about pictures with tile rules of their own, such as the frames of a video.
  std::string ask_about(std::vector<Picture> new_pictures, std::string_view question, GenerationOptions generation = {},
                        TextCallback on_text = {});

  /// `number` answers to one question, one after the other: each as `ask_about` gives it for `seed_of_answer`. What
  /// they begin with is computed once. The history keeps the first, as the reference does; `statistics` and `finish`
  /// are the last one's. Greedy answers are all alike. Cancelled, it returns those that came. Throws as `ask_about`
  /// does, and the conversation is then as it was before.
  std::vector<std::string> ask_several(int number, const std::vector<Picture>& new_pictures, std::string_view question,
                                       GenerationOptions generation = {},
                                       const std::function<void(int answer, std::string_view text)>& on_text = {});

  /// Forgets `count` turns of the history from `first` on, with their pictures. What is left is as if it had been all.
  void forget(std::size_t first, std::size_t count);

  const AnswerStatistics& statistics() const { return statistics_; }
  /// How the last answer ended.
  Finish finish() const { return finish_; }
  const TileRules& tile_rules() const { return rules_; }
  const std::vector<Turn>& history() const { return history_; }

 private:
  Chat(std::unique_ptr<Engine> engine, const Processor& processor, ChatOptions options);

  /// What the caller left open follows the prompt style and the room, which grows if it is the chat's to choose.
  void complete(Request& request);
  /// To more than `wanted` tokens, or to less where there is no memory for them. Throws where it does not reach
  /// `least`.
  void grow(int wanted, int least);

  const Processor& processor_;
  std::unique_ptr<Engine> own_engine_;
  Engine* engine_;
  std::vector<Turn> history_;
  std::vector<Picture> pictures_;  // of all turns so far
  ChatOptions options_;
  TileRules rules_;
  bool may_grow_ = true;  // as far as is known
  std::shared_ptr<Sequence> sequence_;
  AnswerStatistics statistics_;
  Finish finish_ = Finish::waiting;
};

/// Says before any weight is read what a chat would say later: throws RoomError where a prompt and an answer find no
/// room in the model's context, or in `kv_tokens` of it. At the end of the context an answer may be shorter.
void check_room(const Processor& processor, const Prompt& prompt, std::optional<int> kv_tokens = {},
                int answer_tokens = 1);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/chat.ipp"
#endif
