// Answers as the JSON of OpenAI's responses: whole, and in chunks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/openai/asked.hpp"
#include "ivl/serve/sequence.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl::openai {

/// Keys come in the order in which they are written.
using OrderedJson = nlohmann::ordered_json;

/// One line.
inline std::string text_of_json(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

/// What is the same in all chunks of an answer.
struct Heading {
  Endpoint endpoint = Endpoint::chat;
  std::string id;              ///< "chatcmpl-...", or "cmpl-..."
  std::int64_t created_s = 0;  ///< since 1970
  std::string model;
};

/// With an id of its own.
Heading new_heading(Endpoint endpoint, std::string model);

/// A piece of a choice's text, or its end.
struct Piece {
  std::string_view text = {};
  bool thought = false;
  bool first = false;         ///< the role, with no text yet
  OrderedJson logprobs = {};  ///< of its tokens, where they are asked for
  OrderedJson token_ids = {};
  bool last = false;
  Finish finish = Finish::running;
  std::optional<std::string> stopped_by = {};
};

/// A choice of a chunk.
OrderedJson choice_of(Endpoint endpoint, int index, const Piece& piece);

/// A choice of a whole answer. `thoughts` come only in a chat.
OrderedJson whole_choice_of(Endpoint endpoint, int index, const Piece& all, const std::string& thoughts);

/// {"id", "object", "created", "model", "choices"}
OrderedJson response_of(const Heading& heading, bool chunk, OrderedJson choices);

/// A token's bytes as whole characters.
std::string text_of_token(const Tokenizer& tokenizer, int id);

/// Code points.
std::size_t characters_of(std::string_view text);

/// Why a choice ended: "stop" or "length".
std::string_view finish_reason_of(Finish finish);

/// Tokens of a prompt (once for all of its answers) and of the answers.
struct Usage {
  int prompt_tokens = 0, cached_tokens = 0, image_tokens = 0, completion_tokens = 0;
};
OrderedJson json_of(const Usage& usage);

/// Log probabilities of tokens, in the form of the endpoint. `characters` stand in front of them in the answer
/// (completions alone), and grow by theirs.
OrderedJson json_of_logprobs(Endpoint endpoint, std::span<const TokenLogprobs> tokens, const Tokenizer& tokenizer,
                             std::size_t& characters);

/// Where the time of a request went, in ms.
struct Stages {
  double queue_ms = 0, image_decode_ms = 0, vision_ms = 0, prefill_ms = 0, decode_ms = 0;
};

/// The field "ivl", which is ours: stages, tiles, and the grid of each picture.
OrderedJson details_of(const Stages& stages, std::span<const Picture> pictures);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/response.ipp"
#endif
