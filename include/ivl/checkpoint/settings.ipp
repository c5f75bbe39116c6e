// The bodies of settings.hpp.
#pragma once
#include <algorithm>
#include <cmath>

#include "ivl/checkpoint/settings.hpp"
#include "ivl/core/error.hpp"
#include "ivl/files/json.hpp"

namespace ivl {

namespace detail {

using enum SettingsFile;
using enum SettingUse;

inline constexpr Setting all_settings[] = {
    {image_processor, "image_mean", obeyed},
    {image_processor, "image_std", obeyed},
    {image_processor, "min_patches", obeyed},
    {image_processor, "max_patches", obeyed},
    {image_processor, "size", obeyed},  // must be the tile's
    {image_processor, "do_resize", fixed, "true"},
    {image_processor, "resample", fixed, "3"},  // bicubic
    {image_processor, "do_rescale", fixed, "true"},
    {image_processor, "rescale_factor", fixed, "0.00392156862745098"},  // 1 / 255
    {image_processor, "do_normalize", fixed, "true"},
    {image_processor, "do_convert_rgb", fixed, "true"},
    {image_processor, "do_pad", fixed, "false"},
    {image_processor, "crop_to_patches", harmless},  // the processor of this family always cuts
    {image_processor, "do_center_crop", harmless},   // of squares to their own size
    {image_processor, "crop_size", harmless},
    {image_processor, "pad_size", harmless},
    {image_processor, "default_to_square", harmless},
    {image_processor, "image_processor_type", fixed,
     R"("GotOcr2ImageProcessor" | "GotOcr2ImageProcessorFast" | "GotOcr2ImageProcessorPil" | "CLIPImageProcessor" | "CLIPImageProcessorFast" | "CLIPFeatureExtractor")"},
    {image_processor, "feature_extractor_type", fixed, R"("CLIPFeatureExtractor" | "CLIPImageProcessor")"},
    {image_processor, "processor_class", harmless},
    {image_processor, "image_seq_length", harmless},
    {image_processor, "data_format", harmless},
    {image_processor, "input_data_format", harmless},
    {image_processor, "return_tensors", harmless},
    {image_processor, "device", harmless},
    {image_processor, "disable_grouping", harmless},
    {image_processor, "auto_map", harmless},
    {image_processor, "_valid_processor_keys", harmless},
    {image_processor, "_processor_class", harmless},

    {processor, "image_processor", obeyed},
    {processor, "image_seq_length", obeyed},  // must be the projector's
    {processor, "chat_template", obeyed},
    {processor, "video_processor", harmless},  // videos are not read by folder settings
    {processor, "processor_class", harmless},
    {processor, "auto_map", harmless},
    {processor, "image_token", harmless},
    {processor, "start_image_token", harmless},
    {processor, "end_image_token", harmless},
    {processor, "video_token", harmless},

    {generation, "eos_token_id", obeyed},
    {generation, "do_sample", obeyed},
    {generation, "temperature", obeyed},
    {generation, "top_k", obeyed},
    {generation, "top_p", obeyed},
    {generation, "min_p", obeyed},
    {generation, "repetition_penalty", obeyed},
    {generation, "max_new_tokens", obeyed},
    {generation, "max_length", obeyed},
    {generation, "stop_strings", fixed, "null | []"},
    {generation, "num_beams", fixed, "1"},
    {generation, "num_beam_groups", fixed, "1"},
    {generation, "penalty_alpha", fixed, "0"},
    {generation, "dola_layers", fixed, "null"},
    {generation, "constraints", fixed, "null"},
    {generation, "force_words_ids", fixed, "null"},
    {generation, "min_length", fixed, "0"},
    {generation, "min_new_tokens", fixed, "0"},
    {generation, "typical_p", fixed, "1"},
    {generation, "top_h", fixed, "null"},
    {generation, "epsilon_cutoff", fixed, "0"},
    {generation, "eta_cutoff", fixed, "0"},
    {generation, "diversity_penalty", fixed, "0"},
    {generation, "encoder_repetition_penalty", fixed, "1"},
    {generation, "no_repeat_ngram_size", fixed, "0"},
    {generation, "encoder_no_repeat_ngram_size", fixed, "0"},
    {generation, "bad_words_ids", fixed, "null | []"},
    {generation, "suppress_tokens", fixed, "null | []"},
    {generation, "begin_suppress_tokens", fixed, "null | []"},
    {generation, "sequence_bias", fixed, "null | {} | []"},
    {generation, "forced_bos_token_id", fixed, "null"},
    {generation, "forced_eos_token_id", fixed, "null"},
    {generation, "exponential_decay_length_penalty", fixed, "null"},
    {generation, "guidance_scale", fixed, "1"},
    {generation, "watermarking_config", fixed, "null"},
    {generation, "num_return_sequences", fixed, "1"},
    {generation, "token_healing", fixed, "false"},
    {generation, "max_time", fixed, "null"},
    {generation, "length_penalty", harmless},  // of beams, as the next ones
    {generation, "early_stopping", harmless},
    {generation, "renormalize_logits", harmless},  // changes no draw
    {generation, "remove_invalid_values", harmless},
    {generation, "use_cache", harmless},
    {generation, "cache_implementation", harmless},
    {generation, "cache_config", harmless},
    {generation, "return_legacy_cache", harmless},
    {generation, "prefill_chunk_size", harmless},
    {generation, "prompt_lookup_num_tokens", harmless},  // speculation, as the next ones: the same tokens, sooner
    {generation, "max_matching_ngram_size", harmless},
    {generation, "is_assistant", harmless},
    {generation, "num_assistant_tokens", harmless},
    {generation, "num_assistant_tokens_schedule", harmless},
    {generation, "assistant_confidence_threshold", harmless},
    {generation, "assistant_early_exit", harmless},
    {generation, "assistant_lookbehind", harmless},
    {generation, "target_lookbehind", harmless},
    {generation, "output_attentions", harmless},
    {generation, "output_hidden_states", harmless},
    {generation, "output_scores", harmless},
    {generation, "output_logits", harmless},
    {generation, "return_dict_in_generate", harmless},
    {generation, "bos_token_id", harmless},  // never put before a prompt
    {generation, "pad_token_id", harmless},
    {generation, "decoder_start_token_id", harmless},
    {generation, "low_memory", harmless},
    {generation, "compile_config", harmless},
    {generation, "disable_compile", harmless},
    {generation, "continuous_batching_config", harmless},
    {generation, "trust_remote_code", harmless},
    {generation, "generation_kwargs", fixed, "null | {}"},
    {generation, "transformers_version", harmless},
    {generation, "_from_model_config", harmless},
    {generation, "_commit_hash", harmless},

    {tokenizer, "add_bos_token", obeyed},
    {tokenizer, "bos_token", obeyed},
    {tokenizer, "added_tokens_decoder", obeyed},
    {tokenizer, "chat_template", obeyed},
    {tokenizer, "add_eos_token", fixed, "false"},
    {tokenizer, "split_special_tokens", fixed, "false"},
    {tokenizer, "errors", fixed, R"("replace")"},
    {tokenizer, "add_prefix_space", obeyed},
    {tokenizer, "legacy", obeyed},
    {tokenizer, "clean_up_tokenization_spaces", harmless},  // the reference decodes these models without it
    {tokenizer, "spaces_between_special_tokens", harmless},
    {tokenizer, "additional_special_tokens", obeyed},
    {tokenizer, "extra_special_tokens", harmless},
    {tokenizer, "eos_token", harmless},
    {tokenizer, "pad_token", harmless},
    {tokenizer, "unk_token", harmless},
    {tokenizer, "mask_token", harmless},
    {tokenizer, "sep_token", harmless},
    {tokenizer, "cls_token", harmless},
    {tokenizer, "model_max_length", harmless},
    {tokenizer, "model_input_names", harmless},
    {tokenizer, "padding_side", harmless},
    {tokenizer, "truncation_side", harmless},
    {tokenizer, "processor_class", harmless},
    {tokenizer, "tokenizer_class", harmless},
    {tokenizer, "auto_map", harmless},
    {tokenizer, "backend", harmless},
    {tokenizer, "is_local", harmless},
    {tokenizer, "local_files_only", harmless},
    {tokenizer, "use_fast", harmless},
    {tokenizer, "from_slow", harmless},
    {tokenizer, "name_or_path", harmless},
    {tokenizer, "special_tokens_map_file", harmless},
    {tokenizer, "tokenizer_file", harmless},
    {tokenizer, "image_token", harmless},
    {tokenizer, "video_token", harmless},
    {tokenizer, "context_image_token", harmless},
    {tokenizer, "start_image_token", harmless},
    {tokenizer, "end_image_token", harmless},
    {tokenizer, "sp_model_kwargs", fixed, "null | {}"},
    {tokenizer, "decode_with_prefix_space", harmless},
};

/// Whether `value` is one of a fixed setting's. Numbers count as equal within rounding: 1 and 1.0, 1/255 in any length.
inline bool is_one_of(const Json& value, std::string_view values) {
  while (!values.empty()) {
    const auto end = std::min(values.find(" | "), values.size());
    const Json one = Json::parse(values.substr(0, end));
    if (one == value) return true;
    if (one.is_number() && value.is_number() &&
        std::abs(one.get<double>() - value.get<double>()) <= 1e-6 * std::abs(one.get<double>()))
      return true;
    values.remove_prefix(std::min(end + 3, values.size()));
  }
  return false;
}

}  // namespace detail

IVL_INLINE std::span<const Setting> known_settings() { return detail::all_settings; }

IVL_INLINE std::vector<std::string> check_settings(SettingsFile file, std::string_view object,
                                                   const std::string& where) {
  const Json json = parse_json(object, where);
  if (!json.is_object()) fail<FileError>(where, ": expected an object, found ", detail::describe(json));
  std::vector<std::string> notes;
  for (const auto& [key, value] : json.items()) {
    const auto known = std::ranges::find_if(
        detail::all_settings, [&](const Setting& setting) { return setting.file == file && setting.key == key; });
    if (known == std::end(detail::all_settings))
      notes.push_back(where + ": the key " + in_quotes(key) + " is not known, and has no effect");
    else if (known->use == SettingUse::fixed && !value.is_null() && !detail::is_one_of(value, known->values))
      fail<ConfigError>(where, ": ", key, ": expected ", known->values, ", which is all that is implemented, found ",
                        detail::describe(value));
  }
  return notes;
}

}  // namespace ivl
