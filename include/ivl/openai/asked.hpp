// What a request asks for: its JSON body as prompts and options, every field checked.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/model/processor.hpp"
#include "ivl/openai/fields.hpp"
#include "ivl/openai/pictures.hpp"
#include "ivl/openai/response_format.hpp"
#include "ivl/serve/sequence.hpp"

namespace ivl::openai {

/// What is served.
struct Served {
  const Processor& processor;
  std::string name;                               ///< of the model
  int context = 0;                                ///< tokens of a prompt and its answer, at most
  std::shared_ptr<Constraints> constraints = {};  ///< for answers whose form is asked for
};

enum class Endpoint { chat, completions };

struct Asked {
  Endpoint endpoint = Endpoint::chat;
  std::vector<Prompt> prompts = {};      ///< a chat has one
  std::vector<std::string> echoes = {};  ///< texts in front of the answers, one a prompt; empty: no echo
  std::vector<Picture> pictures = {};
  double image_decode_s = 0;
  GenerationOptions generation = {};
  std::optional<int> max_tokens = {};
  std::string max_tokens_field = {};     ///< as it was sent
  std::optional<int> most_unasked = {};  ///< tokens of an answer where max_tokens is absent; unset: what is left
  int answers = 1;                       ///< to each prompt
  int priority = 0;
  std::string cache_salt = {};
  bool stream = false, include_usage = false, token_ids = false;
};

/// The body of /v1/chat/completions, or of /v1/completions, and its text. Throws ApiError.
Asked read_chat(const Json& body, std::string_view text, const Served& served, PictureReader& reader);
Asked read_completion(const Json& body, std::string_view text, const Served& served);

/// The conversation of a chat's body as a prompt, and its pictures; with the system message that makes a model think
/// where the body asks for it. Throws ApiError.
Prompt read_conversation(const BodyFields& body, const Served& served, PictureReader& reader,
                         std::vector<Picture>& pictures);

/// A string as a prompt.
Prompt prompt_of_text(const std::string& text, const Processor& processor, bool special_tokens = true);

/// Whether the body asks for thoughts in front of the answer: `chat_template_kwargs.enable_thinking`, or
/// `reasoning_effort`. Throws ApiError where the model has no such mode.
bool asks_for_thoughts(const BodyFields& body, const Processor& processor);

/// The requests of prompt number `prompt`, one for each of its answers, without callbacks. Throws ApiError 400 where
/// they find no room in the context.
std::vector<Request> requests_of(const Asked& asked, std::size_t prompt, const Served& served);

/// Throws ApiError 404 where the body names another model.
void check_model(const BodyFields& body, const Served& served);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/asked.ipp"
#endif
