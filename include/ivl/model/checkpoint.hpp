// A loaded checkpoint: weights of a type, and the processor of its folder.
#pragma once
#include <filesystem>
#include <string>
#include <utility>

#include "ivl/checkpoint/load_options.hpp"
#include "ivl/checkpoint/read_config.hpp"
#include "ivl/config/checkpoints.hpp"
#include "ivl/core/compiled.hpp"
#include "ivl/model/load.hpp"
#include "ivl/model/processor.hpp"
#include "ivl/model/vlm.hpp"

namespace ivl {

template <VlmConfig C>
struct Checkpoint {
  Processor processor;
  Vlm<C> vlm;
};

/// The processor of a checkpoint, without its weights. Throws FileError, ConfigError.
Processor load_processor(const std::filesystem::path& path, const CheckpointConfig& config);
Processor load_processor(const std::filesystem::path& path, const std::filesystem::path& mmproj = {});

/// Loads a folder, in either published format, or a GGUF pair as type `C`; `ctx` is the backend that will run it. See
/// `load_weights` and `find_gguf`.
template <VlmConfig C, PlaceOps Context>
Checkpoint<C> load(Context& ctx, const std::filesystem::path& path, const LoadOptions& options = {}) {
  const CheckpointConfig config = read_checkpoint_config(path, options.mmproj);
  Processor processor = load_processor(path, config);
  Vlm<C> vlm = load_weights<C>(ctx, path, config, options);
  return {std::move(processor), std::move(vlm)};
}

namespace detail {

/// `found` is a structure that no type of a list has.
[[noreturn]] void fail_unknown_structure(const std::string& where, const VlmConfig& found);

template <class Context, class Visitor, VlmConfig First, VlmConfig... Rest>
auto load_matching(Context& ctx, const std::filesystem::path& path, const CheckpointConfig& config, Visitor& visitor,
                   const LoadOptions& options, CheckpointList<First, Rest...>) {
  if (config.vlm == First) {
    Processor processor = load_processor(path, config);
    Vlm<First> vlm = load_weights<First>(ctx, path, config, options);
    return visitor(Checkpoint<First>{std::move(processor), std::move(vlm)});
  }
  if constexpr (sizeof...(Rest) > 0) {
    return load_matching(ctx, path, config, visitor, options, CheckpointList<Rest...>{});
  } else {
    fail_unknown_structure(config.where(path), config.vlm);
  }
}

}  // namespace detail

/// Finds the type in `List` whose structure is the checkpoint's, loads it and returns visitor(checkpoint). All visitors
/// must return one type. An unknown structure throws a ConfigError with the text of the type to paste.
template <class List = AllCheckpoints, PlaceOps Context, class Visitor>
auto with_checkpoint(Context& ctx, const std::filesystem::path& path, Visitor&& visitor,
                     const LoadOptions& options = {}) {
  return detail::load_matching(ctx, path, read_checkpoint_config(path, options.mmproj), visitor, options, List{});
}

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/model/checkpoint.ipp"
#endif
