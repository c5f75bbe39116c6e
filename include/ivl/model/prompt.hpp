// What a model is asked, as ids and pictures.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ivl/image/picture.hpp"

namespace ivl {

/// Token ids with pictures between them: a picture's rows come right before ids[at].
struct Prompt {
  struct Place {
    std::size_t at;
    Picture picture;
  };
  std::vector<std::int32_t> ids;
  std::vector<Place> pictures = {};  ///< in order
};

}  // namespace ivl
