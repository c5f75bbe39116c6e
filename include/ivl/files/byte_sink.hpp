// Where the writers of tensor files take bytes from.
#pragma once
#include <cstddef>
#include <functional>
#include <span>

namespace ivl {

/// Takes some of a tensor's bytes, which follow those before.
using ByteSink = std::function<void(std::span<const std::byte> bytes)>;

}  // namespace ivl
