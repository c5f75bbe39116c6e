// What a caller says to a chat, and what he learns from it, apart from any model.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/serve/sampling.hpp"
#include "ivl/text/tokenizer.hpp"

namespace ivl {

struct GenerationOptions {
  int max_new_tokens = 1024;  ///< fewer where the context ends
  SamplingOptions sampling = {};
  std::vector<int> stop_ids = {};                      ///< tokens that end the answer
  std::vector<std::string> stop_strings = {};          ///< texts that end the answer; not part of it
  SpecialTokens special_tokens = SpecialTokens::skip;  ///< in the answer's text
};

/// Receives text as soon as it is certain: whole characters, no part of a stop string.
using TextCallback = std::function<void(std::string_view)>;

struct ChatOptions {
  std::optional<std::string> system = {};  ///< nothing: the checkpoint's own default
  std::optional<int> max_tiles = {};       ///< of one picture; nothing: the checkpoint's own
  int kv_tokens = 8192;                    ///< room for the conversation, at most the model's context
};

/// Where the time of one answer went.
struct AnswerStatistics {
  int tiles = 0;                                     ///< seen by the vision tower for this answer
  int prompt_tokens = 0;                             ///< of the whole conversation
  int cached_tokens = 0;                             ///< of these, known from earlier turns
  int new_tokens = 0;                                ///< generated
  double vision_s = 0, prefill_s = 0, decode_s = 0;  ///< prefill ends with the first token
};

}  // namespace ivl
