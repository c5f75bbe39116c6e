// A chat whose checkpoint type is found at run time. Each backend instantiates all checkpoints once, in its own .cpp,
// and every example links that.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/checkpoint/progress.hpp"
#include "ivl/facts/model_facts.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/tile_grid.hpp"
#include "ivl/serve/options.hpp"

struct AnyChat {
  virtual ~AnyChat() = default;
  virtual std::string ask(std::string_view question, std::span<const ivl::Image> pictures,
                          ivl::GenerationOptions generation, ivl::TextCallback on_text) = 0;
  virtual const ivl::AnswerStatistics& statistics() const = 0;
  /// Tile grids of the pictures, as the model sees them.
  virtual ivl::TileGrid grid_of(const ivl::Image& picture) const = 0;
  /// Sampling that the checkpoint proposes.
  virtual const ivl::SamplingFacts& sampling() const = 0;
  /// One line about what runs: parameters, and the device.
  virtual std::string description() const = 0;
};

/// These throw ivl::Error. `threads` are of the host.
std::unique_ptr<AnyChat> open_cpu_chat(const std::filesystem::path& checkpoint, int threads,
                                       const ivl::ChatOptions& options, const ivl::ProgressCallback& progress);
std::unique_ptr<AnyChat> open_cuda_chat(const std::filesystem::path& checkpoint, int threads,
                                        const ivl::ChatOptions& options, const ivl::ProgressCallback& progress);
