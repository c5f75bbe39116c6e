// Many questions at once, each a conversation of its own.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/processor.hpp"
#include "ivl/serve/engine.hpp"
#include "ivl/serve/options.hpp"

namespace ivl {

/// With "<image>" marks for its pictures, or without any: then they go before the text.
struct Question {
  std::string text;
  std::vector<Picture> pictures = {};
};

/// The prompt of a question without a history. Throws RequestError, also for what `check_question` refuses.
Prompt prompt_of(const Processor& processor, std::optional<std::string_view> system, const Question& question);

/// Answers questions with no, one or several pictures each, as the reference's batch_chat() does: as many share a step
/// as the engine has room for, and the others wait. The bits of an answer are those that it has alone: nothing is
/// padded (the reference pads on the left, which changes its own numbers). `on_answer` receives each in the order of
/// the questions, as soon as it and those before it are done; one that failed has an `error`. Throws RequestError
/// before any of them runs, and what `on_answer` throws.
std::vector<std::shared_ptr<Sequence>> batch_chat(
    Engine& engine, const Processor& processor, const std::vector<Question>& questions,
    const GenerationOptions& generation = {}, std::optional<std::string_view> system = {},
    const std::function<void(std::size_t number, const Sequence& answer)>& on_answer = {});

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/serve/batch_chat.ipp"
#endif
