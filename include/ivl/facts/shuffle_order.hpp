// The two orders of InternVL's pixel shuffle; here because configs and ops both speak of it.
#pragma once
#include <cstdint>

namespace ivl {

/// Config key `ps_version`. A missing key means v1; every released InternVL3 and InternVL3.5 says v2.
enum class ShuffleOrder : std::uint8_t { v1, v2 };

}  // namespace ivl
