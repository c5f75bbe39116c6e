// The bodies of generation_fields.hpp.
#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <random>
#include <string>

#include "ivl/openai/generation_fields.hpp"

namespace ivl::openai {

namespace detail {

inline std::optional<float> as_float(std::optional<double> number) {
  return number ? std::optional(float(*number)) : std::nullopt;
}

inline std::optional<int> as_int(std::optional<std::int64_t> number) {
  return number ? std::optional(int(*number)) : std::nullopt;
}

/// Any integer of 64 bits, signed or not.
inline std::uint64_t read_seed(const BodyFields& body) {
  const Json* seed = body.find("seed");
  if (!seed) return std::uint64_t(std::random_device()()) << 32 | std::random_device()();
  if (seed->is_number_unsigned()) return seed->get<std::uint64_t>();
  if (seed->is_number_integer()) return std::uint64_t(seed->get<std::int64_t>());
  refuse(body.place_of("seed"), "expected an integer of 64 bits, found ", ivl::detail::describe(*seed));
}

/// {"id": bias}
inline std::vector<SequenceBias> read_logit_bias(const BodyFields& body, int ids) {
  constexpr std::size_t most = 1024;
  const Json* biases = body.find("logit_bias");
  if (!biases) return {};
  const std::string place = body.place_of("logit_bias");
  if (!biases->is_object() || biases->size() > most)
    refuse(place, "expected an object of at most ", most, " token ids, found ", ivl::detail::describe(*biases));
  std::vector<SequenceBias> found;
  const BodyFields fields(*biases, place);
  for (const auto& [key, value] : biases->items()) {
    int id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= ids)
      refuse(place, "expected token ids from 0 to ", ids - 1, " as keys, found ", in_quotes(key));
    found.push_back({{id}, float(fields.number(key, {-100, 100}).value_or(0))});
  }
  return found;
}

}  // namespace detail

IVL_INLINE GenerationOptions read_generation(const BodyFields& body, const ModelFacts& facts,
                                             const std::vector<int>& stop_ids) {
  using detail::as_float, detail::as_int;
  constexpr std::size_t most_stops = 4, most_stop_bytes = 256, most_bad_words = 128;
  GenerationOptions generation;
  SamplingOptions& sampling = generation.sampling;
  sampling.temperature = as_float(body.number("temperature", {0, 2}));
  if (const auto top_k = as_int(body.integer("top_k", -1, most_int))) sampling.top_k = std::max(*top_k, 0);
  sampling.top_p = as_float(body.number("top_p", {0, 1, true}));
  sampling.min_p = as_float(body.number("min_p", {0, 1}));
  sampling.repetition_penalty = as_float(body.number("repetition_penalty", {0, 100, true}));
  sampling.frequency_penalty = as_float(body.number("frequency_penalty", {-2, 2}));
  sampling.presence_penalty = as_float(body.number("presence_penalty", {-2, 2}));
  sampling.seed = detail::read_seed(body);
  generation.sequence_bias = detail::read_logit_bias(body, facts.vocab_rows);

  generation.min_new_tokens = as_int(body.integer("min_tokens", 0, most_int));
  generation.ignore_stop_ids = body.flag("ignore_eos").value_or(false);
  generation.stop_strings = body.texts("stop", most_stops, most_stop_bytes);
  generation.stop_ids = body.ids("stop_token_ids", most_bad_words, facts.vocab_rows);
  if (!generation.stop_ids.empty())
    generation.stop_ids.insert(generation.stop_ids.end(), stop_ids.begin(), stop_ids.end());
  generation.bad_words = body.texts("bad_words", most_bad_words, most_stop_bytes);
  if (const auto skip = body.flag("skip_special_tokens"))
    generation.special_tokens = *skip ? SpecialTokens::skip : SpecialTokens::keep;
  return generation;
}

IVL_INLINE void refuse_unsupported_fields(const BodyFields& body) {
  body.refuse_unsupported({"tools",
                           "functions",
                           "function_call",
                           "audio",
                           "web_search_options",
                           "moderation",
                           "guided_json",
                           "guided_regex",
                           "guided_choice",
                           "guided_grammar",
                           "chat_template",
                           "documents",
                           "mm_processor_kwargs",
                           "media_io_kwargs",
                           "continue_final_message",
                           "prompt_logprobs",
                           "allowed_token_ids",
                           "use_beam_search",
                           "length_penalty",
                           "truncate_prompt_tokens",
                           "include_stop_str_in_output",
                           "suffix"});
  if (const Json* choice = body.find("tool_choice"); choice && *choice != "none")
    refuse_unsupported(body.place_of("tool_choice"), "there are no tools");
  if (const Json* modalities = body.find("modalities"); modalities && *modalities != Json::array({"text"}))
    refuse_unsupported(body.place_of("modalities"), "answers are text");
  if (body.flag("add_generation_prompt") == false) refuse_unsupported(body.place_of("add_generation_prompt"));
  if (const Json* best = body.find("best_of"); best && *best != 1)
    refuse_unsupported(body.place_of("best_of"), "n gives several answers");
}

}  // namespace ivl::openai
