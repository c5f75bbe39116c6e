// A checkpoint folder into a `Vlm`: every difference between the files and the type is found before anything is placed.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "ivl/checkpoint/bind.hpp"
#include "ivl/checkpoint/place_weights.hpp"
#include "ivl/checkpoint/progress.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/config/fields.hpp"
#include "ivl/core/error.hpp"
#include "ivl/model/vlm.hpp"

namespace ivl {

namespace detail {

/// All weights, experts as files of full precision store them.
template <VlmConfig C>
std::vector<WeightSlot> weight_slots(Vlm<C>& vlm) {
  std::vector<WeightSlot> slots;
  Vlm<C>::each_weight(vlm, SlotCollector{slots});
  return slots;
}

}  // namespace detail

/// Places every weight of `vlm`, whose facts are set, from `source`: anything with find(name) and release(view).
template <VlmConfig C, PlaceOps Context, class Source>
void place_weights(Context& ctx, const Source& source, std::int64_t bytes_total, Vlm<C>& vlm,
                   const ProgressCallback& progress = {}) {
  auto slots = detail::weight_slots(vlm);
  detail::find_layouts(slots, vlm.facts, source);
  detail::place_all(ctx, slots, vlm.facts, source, bytes_total, progress);
}

/// The weights of a folder as type `C`. Throws ConfigError, listing every difference of config.json and of the tensors
/// from the type, and FileError for broken files; nothing is placed before all are known.
/// Peak memory: the placed weights and the tensors of the largest one, such as all experts of a layer.
template <VlmConfig C, PlaceOps Context>
Vlm<C> load_weights(Context& ctx, const std::filesystem::path& folder, const CheckpointConfig& config,
                    const ProgressCallback& progress = {}) {
  if (config.vlm != C)
    fail<ConfigError>((folder / "config.json").string(),
                      ": another structure than the type:", config_differences(config.vlm, C));
  Vlm<C> vlm;
  vlm.facts = config.facts;
  const FolderWeights files(folder);
  auto slots = detail::weight_slots(vlm);
  detail::find_layouts(slots, vlm.facts, files);
  if (const std::string differences = detail::tensor_differences(slots, vlm.facts, files); !differences.empty())
    fail<ConfigError>(folder.string(), ": tensors differ from the type:", differences);
  std::int64_t bytes = 0;
  for (const auto& [name, view] : files.views()) bytes += std::int64_t(view->bytes.size());
  detail::place_all(ctx, slots, vlm.facts, files, bytes, progress);
  return vlm;
}

}  // namespace ivl
