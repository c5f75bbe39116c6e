// How far a load has come.
#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

namespace ivl {

/// One tensor is about to be placed, or (with an empty name) all are.
struct LoadProgress {
  std::int64_t bytes_done;  ///< of the file's tensors
  std::int64_t bytes_total;
  std::string_view tensor;  ///< valid during the call only
};

/// Called on the loading thread; what it throws ends the load.
using ProgressCallback = std::function<void(const LoadProgress&)>;

}  // namespace ivl
