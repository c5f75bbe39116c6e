// The bodies of response.hpp.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <random>
#include <utility>

#include "ivl/openai/response.hpp"
#include "ivl/text/utf8.hpp"

namespace ivl::openai {

namespace detail {

inline OrderedJson or_null(const std::optional<std::string>& text) { return text ? OrderedJson(*text) : OrderedJson(); }

/// JSON has no infinity. The number is vLLM's.
inline double as_number(float logprob) { return std::isfinite(logprob) ? double(logprob) : -9999.0; }

inline OrderedJson chat_token(const TokenLogprob& token, const Tokenizer& tokenizer) {
  OrderedJson bytes = OrderedJson::array();
  for (const char byte : tokenizer.bytes_of(token.id)) bytes.push_back(int(std::uint8_t(byte)));
  return {{"token", text_of_token(tokenizer, token.id)},
          {"logprob", as_number(token.logprob)},
          {"bytes", std::move(bytes)}};
}

inline OrderedJson chat_logprobs(std::span<const TokenLogprobs> tokens, const Tokenizer& tokenizer) {
  OrderedJson content = OrderedJson::array();
  for (const TokenLogprobs& token : tokens) {
    OrderedJson top = OrderedJson::array();
    for (const TokenLogprob& other : token.top) top.push_back(chat_token(other, tokenizer));
    content.push_back(chat_token(token.chosen, tokenizer));
    content.back()["top_logprobs"] = std::move(top);
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

inline OrderedJson completion_logprobs(std::span<const TokenLogprobs> tokens, const Tokenizer& tokenizer,
                                       std::size_t& characters) {
  OrderedJson offsets = OrderedJson::array(), logprobs = offsets, texts = offsets, tops = offsets;
  for (const TokenLogprobs& token : tokens) {
    const std::string text = text_of_token(tokenizer, token.chosen.id);
    OrderedJson top = OrderedJson::object();
    for (const TokenLogprob& other : token.top) top[text_of_token(tokenizer, other.id)] = as_number(other.logprob);
    top[text] = as_number(token.chosen.logprob);
    offsets.push_back(characters);
    logprobs.push_back(as_number(token.chosen.logprob));
    texts.push_back(text);
    tops.push_back(std::move(top));
    characters += characters_of(text);
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(logprobs)},
          {"tokens", std::move(texts)},
          {"top_logprobs", std::move(tops)}};
}

/// What ends a choice, whole or in chunks.
inline void add_end(OrderedJson& choice, const Piece& piece) {
  choice["logprobs"] = piece.logprobs;
  choice["finish_reason"] = piece.last ? OrderedJson(finish_reason_of(piece.finish)) : OrderedJson();
  if (piece.last) choice["stop_reason"] = or_null(piece.stopped_by);
  if (!piece.token_ids.is_null()) choice["token_ids"] = piece.token_ids;
}

}  // namespace detail

IVL_INLINE std::string text_of_token(const Tokenizer& tokenizer, int id) { return to_utf8(tokenizer.bytes_of(id)); }

IVL_INLINE std::size_t characters_of(std::string_view text) {
  return std::size_t(std::ranges::count_if(text, [](char c) { return (std::uint8_t(c) & 0xc0) != 0x80; }));
}

IVL_INLINE Heading new_heading(Endpoint endpoint, std::string model) {
  constexpr std::string_view digits = "0123456789abcdef";
  static thread_local std::mt19937_64 random{std::random_device{}()};
  std::string id = endpoint == Endpoint::chat ? "chatcmpl-" : "cmpl-";
  for (int half = 0; half < 2; ++half) {
    std::uint64_t bits = random();
    for (int digit = 0; digit < 16; ++digit, bits >>= 4) id += digits[bits & 15];
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {endpoint, std::move(id), std::chrono::duration_cast<std::chrono::seconds>(now).count(), std::move(model)};
}

IVL_INLINE std::string_view finish_reason_of(Finish finish) { return finish == Finish::length ? "length" : "stop"; }

IVL_INLINE OrderedJson choice_of(Endpoint endpoint, int index, const Piece& piece) {
  OrderedJson choice{{"index", index}};
  if (endpoint == Endpoint::completions) {
    choice["text"] = piece.text;
  } else {
    OrderedJson delta = OrderedJson::object();
    if (piece.first) delta = {{"role", "assistant"}, {"content", ""}};
    if (!piece.text.empty() && piece.thought) delta = {{"reasoning_content", piece.text}, {"reasoning", piece.text}};
    if (!piece.text.empty() && !piece.thought) delta = {{"content", piece.text}};
    choice["delta"] = std::move(delta);
  }
  detail::add_end(choice, piece);
  return choice;
}

IVL_INLINE OrderedJson whole_choice_of(Endpoint endpoint, int index, const Piece& all, const std::string& thoughts) {
  OrderedJson choice{{"index", index}};
  if (endpoint == Endpoint::completions) {
    choice["text"] = all.text;
  } else {
    OrderedJson message{{"role", "assistant"}, {"content", all.text}, {"refusal", nullptr}};
    if (!thoughts.empty()) message["reasoning_content"] = message["reasoning"] = thoughts;
    choice["message"] = std::move(message);
  }
  detail::add_end(choice, all);
  return choice;
}

IVL_INLINE OrderedJson response_of(const Heading& heading, bool chunk, OrderedJson choices) {
  const bool chat = heading.endpoint == Endpoint::chat;
  OrderedJson response{{"id", heading.id},
                       {"object", !chat   ? "text_completion"
                                  : chunk ? "chat.completion.chunk"
                                          : "chat.completion"},
                       {"created", heading.created_s},
                       {"model", heading.model},
                       {"choices", std::move(choices)}};
  return response;
}

IVL_INLINE OrderedJson json_of(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}, {"image_tokens", usage.image_tokens}}}};
}

IVL_INLINE OrderedJson json_of_logprobs(Endpoint endpoint, std::span<const TokenLogprobs> tokens,
                                        const Tokenizer& tokenizer, std::size_t& characters) {
  return endpoint == Endpoint::chat ? detail::chat_logprobs(tokens, tokenizer)
                                    : detail::completion_logprobs(tokens, tokenizer, characters);
}

IVL_INLINE OrderedJson details_of(const Stages& stages, std::span<const Picture> pictures) {
  const auto ms = [](double ms) { return std::round(ms * 1e3) / 1e3; };  // to the microsecond
  OrderedJson grids = OrderedJson::array();
  int tiles = 0;
  for (const Picture& picture : pictures) {
    tiles += picture.tiles();
    grids.push_back({{"width", picture.size().width},
                     {"height", picture.size().height},
                     {"tiles", {picture.grid().columns, picture.grid().rows}},
                     {"thumbnail", picture.grid().has_thumbnail(picture.rules())}});
  }
  return {{"stages",
           {{"queue_ms", ms(stages.queue_ms)},
            {"image_decode_ms", ms(stages.image_decode_ms)},
            {"vision_ms", ms(stages.vision_ms)},
            {"prefill_ms", ms(stages.prefill_ms)},
            {"decode_ms", ms(stages.decode_ms)}}},
          {"tiles", tiles},
          {"pictures", std::move(grids)}};
}

}  // namespace ivl::openai
