// Weights into a `Vlm`: every difference between the source and the type is found before anything is placed.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/gguf_weights.hpp"
#include "ivl/checkpoint/int8_weights.hpp"
#include "ivl/checkpoint/load_options.hpp"
#include "ivl/checkpoint/lora.hpp"
#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/checkpoint/progress.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/config/fields.hpp"
#include "ivl/core/error.hpp"
#include "ivl/model/vlm.hpp"
#include "ivl/ops/reduce.hpp"

namespace ivl {

/// All weights of a model, with the places where they go once placed; of a rank's part of one, the parts.
template <VlmConfig C>
std::vector<WeightSlot> weight_slots(Vlm<C>& vlm) {
  std::vector<WeightSlot> slots;
  Vlm<C>::each_weight(vlm, SlotCollector{slots});
  for (WeightSlot& slot : slots) slot.ranks = slot.canonical.starts_with("language.") ? C.decoder.ranks : C.vit.ranks;
  return slots;
}

/// Places the weights of a model as they were bound. Throws ConfigError, which starts with `where` and lists the
/// tensors that are missing, misshapen or too much, ten at most; nothing is placed before all are known. Peak memory:
/// the placed weights and the tensors of the largest one, such as all experts of a layer.
template <PlaceOps Context>
void place_weights(Context& ctx, const Binding& binding, const std::string& where,
                   const ProgressCallback& progress = {}) {
  if (const std::string differences = binding_differences(binding); !differences.empty())
    fail<ConfigError>(where, ": tensors differ from the type:", first_lines(differences));
  detail::place_all(ctx, binding, where, progress);
}

namespace detail {
template <VlmConfig C, class Context>
void check_ranks_of([[maybe_unused]] Context& ctx) {
  if constexpr (C.whole() != C) {
    static_assert(HasRanks<Context>,
                  "load: a rank's part of a model needs a context of ranks (ivl/parallel/ranked.hpp)");
    if (ctx.ranks() != C.decoder.ranks)
      fail<ConfigError>("the type is a part for ", C.decoder.ranks, " ranks, and the context is one of ", ctx.ranks());
  }
}
}  // namespace detail

/// The weights that `config` was read beside, a folder's or a GGUF pair's, as type `C`; where that is
/// `shard(whole, ranks)`, the part of the rank that `ctx` is. Throws ConfigError, listing every difference of the
/// config and of the tensors from the type, and FileError for broken files.
template <VlmConfig C, PlaceOps Context>
Vlm<C> load_weights(Context& ctx, const std::filesystem::path& path, const CheckpointConfig& config,
                    const LoadOptions& options = {}) {
  detail::check_ranks_of<C>(ctx);
  if (config.vlm != C.whole())
    fail<ConfigError>(config.where(path),
                      ": another structure than the type:", config_differences(config.vlm, C.whole()));
  Vlm<C> vlm;
  vlm.facts = config.facts;
  const auto place_from = [&](const TensorSource& source, std::vector<Dialect> dialects) {
    Binding binding = bind_weights(weight_slots(vlm), vlm.facts, source, {.dialects = std::move(dialects)});
    if (options.ignore_extra_tensors) leave_out_extra(binding, options.note);
    place_weights(ctx, binding, path.string(), options.progress);
  };
  if (config.gguf) {
    if (!options.lora.empty())
      fail<ConfigError>(options.lora.string(), ": a LoRA adapter is merged into a folder of safetensors, and ",
                        path.string(), " is GGUF: give the folder that the file was made from");
    if (options.load_as == LoadAs::int8)
      fail<ConfigError>(path.string(), ": expected a folder in F32, BF16 or F16 to load as int8, found GGUF");
    place_from(GgufWeights(*config.gguf, config.facts.family), {Dialect::gguf});
    return vlm;
  }
  const auto place_folder = [&](const TensorSource& source) {
    if (options.load_as == LoadAs::stored) return place_from(source, {});
    place_from(Int8Weights(source, config.facts, path.string()), {});
  };
  const FolderWeights files(path);
  if (options.lora.empty())
    place_folder(files);
  else
    place_folder(MergedWeights(files, options.lora, config.facts));
  return vlm;
}

/// Weights from memory as type `C`. `source` is anything with find(name), which gives a `const TensorView*` or null;
/// names are canonical (`language.blocks.3.down.weight`; of q, k, v and of gate, up each part or, of q, k, v, the
/// whole) or those of a published format. `facts` says at least `vocab_rows` and the family. Throws ConfigError with
/// the list of what is missing or misshapen.
template <VlmConfig C, PlaceOps Context, FindsTensors Source>
Vlm<C> load(Context& ctx, ModelFacts facts, const Source& source, const ProgressCallback& progress = {}) {
  detail::check_ranks_of<C>(ctx);
  Vlm<C> vlm;
  vlm.facts = std::move(facts);
  const auto slots = weight_slots(vlm);
  const BindOptions options{.dialects = dialects_in(slots, vlm.facts, source)};
  place_weights(ctx, bind_weights(slots, vlm.facts, source, options), "weights from memory", progress);
  return vlm;
}

/// The same of a map by name, in which every tensor must be one of the model's.
template <VlmConfig C, PlaceOps Context>
Vlm<C> load(Context& ctx, ModelFacts facts, const TensorMap& tensors, const ProgressCallback& progress = {}) {
  return load<C>(ctx, std::move(facts), MapSource{tensors}, progress);
}

}  // namespace ivl
