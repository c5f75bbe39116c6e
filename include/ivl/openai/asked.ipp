// The bodies of asked.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <utility>

#include "ivl/openai/asked.hpp"
#include "ivl/openai/generation_fields.hpp"
#include "ivl/openai/messages.hpp"
#include "ivl/openai/response_format.hpp"
#include "ivl/serve/chat.hpp"

namespace ivl::openai {

namespace detail {

inline constexpr int most_answers = 8, most_prompts = 64, most_top_logprobs = 20;

/// Fields of both endpoints.
inline Asked read_common(const BodyFields& body, std::string_view text, const Served& served, Endpoint endpoint) {
  check_model(body, served);
  refuse_unsupported_fields(body);
  Asked asked{.endpoint = endpoint};
  asked.generation = read_generation(body, served.processor.facts(), served.processor.stop_ids());
  asked.answers = int(body.integer("n", 1, most_answers).value_or(1));
  asked.priority = int(body.integer("priority", 0, most_int).value_or(0));
  asked.cache_salt = body.text("cache_salt", 128).value_or("");
  if (asked.cache_salt.find_first_of(std::string_view("@/\\\0", 4)) != std::string::npos)
    refuse(body.place_of("cache_salt"), "expected a text without @, /, \\ and NUL, found ",
           in_quotes(asked.cache_salt));
  asked.token_ids = body.flag("return_token_ids").value_or(false);
  asked.stream = body.flag("stream").value_or(false);
  if (const Json* options = body.find("stream_options")) {
    const BodyFields fields(*options, body.place_of("stream_options"));
    if (!asked.stream) refuse(body.place_of("stream_options"), "expected stream to be true, found no stream");
    asked.include_usage = fields.flag("include_usage").value_or(false);
    fields.refuse_unsupported({"continuous_usage_stats"});
  }
  asked.generation.constraint = read_constraint(body, text, *served.constraints);
  // Its thoughts, and the marks of its channels, would have to follow the form as well.
  if (asked.generation.constraint && served.processor.style() == PromptStyle::internvl3_5_gpt_oss)
    refuse_unsupported(body.find("response_format") ? "response_format" : "structured_outputs",
                       "this model writes its answers in channels");
  return asked;
}

inline void read_max_tokens(const BodyFields& body, Asked& asked, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    const auto most = body.integer(name, 1, most_int);
    if (!most || asked.max_tokens) continue;
    asked.max_tokens = int(*most);
    asked.max_tokens_field = body.place_of(name);
  }
}

/// Before megabytes are made into tokens for nothing: no token stands for more bytes than the longest one, and NFC
/// leaves at least a third of a text.
inline void check_size(std::size_t bytes, const std::string& place, const Served& served) {
  const std::size_t most = 3 * std::size_t(served.context) * served.processor.tokenizer().longest_bytes();
  if (bytes > most)
    throw ApiError(400,
                   place + ": expected at most " + std::to_string(most) + " bytes, which is more than " +
                       std::to_string(served.context) + " tokens have, found " + std::to_string(bytes),
                   place, "context_length_exceeded");
}

inline Prompt prompt_of_ids(const Json& value, const std::string& place, const Served& served) {
  if (value.size() > std::size_t(served.context))
    throw ApiError(400,
                   place + ": expected at most " + std::to_string(served.context) + " token ids, found " +
                       std::to_string(value.size()),
                   place, "context_length_exceeded");
  Prompt prompt;
  for (const Json& id : value)
    prompt.ids.push_back(id_of(id, element_place(place, prompt.ids.size()), served.processor.facts().vocab_rows));
  return prompt;
}

inline Prompt prompt_of_value(const Json& value, const std::string& place, const Served& served) {
  Prompt prompt;
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    check_size(text.size(), place, served);
    prompt = prompt_of_text(text, served.processor);
  } else if (value.is_array()) {
    prompt = prompt_of_ids(value, place, served);
  } else {
    refuse(place, "expected a string or an array of token ids, found ", ivl::detail::describe(value));
  }
  if (prompt.ids.empty()) refuse(place, "expected at least one token, found none");
  return prompt;
}

inline std::vector<Prompt> read_prompts(const BodyFields& body, const Served& served) {
  const Json* value = body.find("prompt");
  const std::string place = body.place_of("prompt");
  if (!value) refuse(place, "expected a string, an array of token ids, or an array of these, found none");
  const bool several = value->is_array() && !value->empty() && !value->front().is_number();
  if (!several) return {prompt_of_value(*value, place, served)};
  if (value->size() > std::size_t(most_prompts))
    refuse(place, "expected at most ", most_prompts, " prompts, found ", value->size());
  std::vector<Prompt> prompts;
  for (const Json& prompt : *value)
    prompts.push_back(prompt_of_value(prompt, element_place(place, prompts.size()), served));
  return prompts;
}

}  // namespace detail

IVL_INLINE void check_model(const BodyFields& body, const Served& served) {
  const auto model = body.text("model", 1024);
  if (model && *model != served.name)
    throw ApiError(404, "model: expected " + in_quotes(served.name) + ", found " + in_quotes(*model), "model",
                   "model_not_found");
}

IVL_INLINE Prompt prompt_of_text(const std::string& text, const Processor& processor, bool special_tokens) {
  Prompt prompt;
  if (const auto before = processor.token_before(text); before && special_tokens) prompt.ids.push_back(*before);
  processor.tokenizer().encode(text, prompt.ids);
  return prompt;
}

IVL_INLINE bool asks_for_thoughts(const BodyFields& body, const Processor& processor) {
  const Family family = processor.facts().family;
  const bool can_think = family == Family::qwen3 || family == Family::qwen3_moe;
  if (const Json* value = body.find("reasoning_effort")) {
    const bool as_trained = family == Family::gpt_oss && *value == "low";
    if (*value != "none" && !as_trained)
      refuse_unsupported(body.place_of("reasoning_effort"),
                         family == Family::gpt_oss ? "this model was trained with low"
                         : can_think               ? "chat_template_kwargs: {\"enable_thinking\": true} makes it think"
                                                   : "this model has no thinking mode");
  }
  const Json* value = body.find("chat_template_kwargs");
  if (!value) return false;
  const BodyFields fields(*value, body.place_of("chat_template_kwargs"));
  for (const auto& [key, unused] : value->items()) {
    if (key != "enable_thinking") refuse_unsupported(fields.place_of(key.substr(0, 64)), "enable_thinking alone is");
  }
  if (!fields.flag("enable_thinking").value_or(false)) return false;
  if (!can_think) refuse_unsupported(fields.place_of("enable_thinking"), "this model has no thinking mode");
  return true;
}

IVL_INLINE Prompt read_conversation(const BodyFields& body, const Served& served, PictureReader& reader,
                                    std::vector<Picture>& pictures) {
  Conversation conversation = read_messages(body, served.processor, reader);
  if (asks_for_thoughts(body, served.processor)) {
    if (conversation.system)
      refuse("chat_template_kwargs.enable_thinking", "expected no message of the system, since thinking is one");
    conversation.system = thinking_system;
  }
  std::size_t bytes = conversation.system.value_or("").size() + conversation.question.size();
  for (const Turn& turn : conversation.history) bytes += turn.question.size() + turn.answer.size();
  detail::check_size(bytes, body.place_of("messages"), served);
  Prompt prompt = prompt_of(conversation, served.processor);
  pictures = std::move(conversation.pictures);
  return prompt;
}

IVL_INLINE Asked read_chat(const Json& json, std::string_view text, const Served& served, PictureReader& reader) {
  const BodyFields body(json);
  Asked asked = detail::read_common(body, text, served, Endpoint::chat);
  body.refuse_unsupported({"echo"});
  detail::read_max_tokens(body, asked, {"max_completion_tokens", "max_tokens"});
  const auto top = body.integer("top_logprobs", 0, detail::most_top_logprobs);
  if (body.flag("logprobs").value_or(false))
    asked.generation.logprobs = int(top.value_or(0));
  else if (top)
    refuse(body.place_of("top_logprobs"), "expected logprobs to be true, found no logprobs");
  asked.prompts.push_back(read_conversation(body, served, reader, asked.pictures));
  asked.image_decode_s = reader.decode_s();
  if (asks_for_thoughts(body, served.processor)) {
    if (asked.generation.constraint)
      refuse("chat_template_kwargs.enable_thinking",
             "expected free text, found a form that leaves no room for thoughts");
    // What the model card says of thinking.
    if (!asked.generation.sampling.temperature) asked.generation.sampling.temperature = 0.6f;
  }
  return asked;
}

IVL_INLINE Asked read_completion(const Json& json, std::string_view text, const Served& served) {
  constexpr int default_max_tokens = 16;  // OpenAI's
  const BodyFields body(json);
  Asked asked = detail::read_common(body, text, served, Endpoint::completions);
  detail::read_max_tokens(body, asked, {"max_tokens"});
  asked.most_unasked = default_max_tokens;
  if (const auto top = body.integer("logprobs", 0, detail::most_top_logprobs)) asked.generation.logprobs = int(*top);
  asked.prompts = detail::read_prompts(body, served);
  if (asked.prompts.size() * std::size_t(asked.answers) > std::size_t(detail::most_prompts))
    refuse(body.place_of("n"), "expected at most ", detail::most_prompts, " answers to all prompts together, found ",
           asked.prompts.size() * std::size_t(asked.answers));
  if (body.flag("echo").value_or(false)) {
    if (asked.generation.logprobs)
      refuse_unsupported(body.place_of("echo"), "with logprobs: those of prompts are not told");
    for (const Prompt& prompt : asked.prompts)
      asked.echoes.push_back(served.processor.tokenizer().decode(prompt.ids, SpecialTokens::keep));
  }
  return asked;
}

IVL_INLINE std::vector<Request> requests_of(const Asked& asked, std::size_t number, const Served& served) {
  const Prompt& prompt = asked.prompts[number];
  const ModelFacts& facts = served.processor.facts();
  const int tokens = served.processor.tokens_of(prompt), rest = served.context - tokens;
  const std::string field = asked.endpoint == Endpoint::chat ? "messages" : "prompt";
  if (rest < 1)
    throw ApiError(
        400,
        field + ": expected at most " + std::to_string(served.context - 1) + " tokens, found " + std::to_string(tokens),
        field, "context_length_exceeded");
  if (asked.max_tokens.value_or(1) > rest)
    throw ApiError(400,
                   asked.max_tokens_field + ": expected at most " + std::to_string(rest) + ", which a context of " +
                       std::to_string(served.context) + " tokens leaves behind " + std::to_string(tokens) +
                       " of the prompt, found " + std::to_string(*asked.max_tokens),
                   asked.max_tokens_field, "context_length_exceeded");
  const bool proposed = facts.sampling.max_new_tokens > 0 || facts.sampling.max_length > 0;
  const int most = asked.most_unasked.value_or(proposed ? longest_answer({}, facts, tokens) : rest);
  std::vector<Request> requests;
  for (int answer = 0; answer < asked.answers; ++answer) {
    Request request{.prompt = prompt, .generation = asked.generation};
    request.generation.max_new_tokens = asked.max_tokens.value_or(std::min(rest, most));
    request.generation.sampling.seed = seed_of_answer(asked.generation.sampling.seed, answer);
    request.priority = asked.priority;
    request.cache_salt = asked.cache_salt;
    complete(request, served.processor, served.context);
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace ivl::openai
