// The bodies of batch_chat.hpp.
#pragma once
#include <utility>

#include "ivl/serve/batch_chat.hpp"
#include "ivl/serve/chat.hpp"
#include "ivl/text/chat_template.hpp"

namespace ivl {

IVL_INLINE Prompt prompt_of(const Processor& processor, std::optional<std::string_view> system,
                            const Question& question) {
  check_question(question.text);
  const std::string marked = with_image_marks(processor.style(), question.text, int(question.pictures.size()));
  return processor.prompt(system, {}, marked, question.pictures);
}

IVL_INLINE std::vector<std::shared_ptr<Sequence>> batch_chat(
    Engine& engine, const Processor& processor, const std::vector<Question>& questions,
    const GenerationOptions& generation, std::optional<std::string_view> system,
    const std::function<void(std::size_t number, const Sequence& answer)>& on_answer) {
  std::vector<std::shared_ptr<Sequence>> answers;
  try {
    for (const Question& question : questions) {
      Request request{.prompt = prompt_of(processor, system, question), .generation = generation};
      complete(request, processor, engine);
      answers.push_back(engine.start(std::move(request)));
    }
    for (std::size_t given = 0; given < answers.size();) {
      if (!answers[given]->done()) engine.step();
      for (; given < answers.size() && answers[given]->done(); ++given)
        if (on_answer) on_answer(given, *answers[given]);
    }
  } catch (...) {
    for (const auto& answer : answers) engine.stop(*answer);
    throw;
  }
  return answers;
}

}  // namespace ivl
