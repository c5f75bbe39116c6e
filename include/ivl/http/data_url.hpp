// `data:` URLs, which carry a file's bytes in base64.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"

namespace ivl::http {

struct DataUrl {
  std::string media_type;  ///< as it was sent, in lower case, without parameters; may be empty
  std::string bytes;
};

/// `data:[type][;parameter...];base64,BYTES` (RFC 2397). Throws RequestError for another form, and for more than
/// `max_bytes` before anything is decoded.
DataUrl parse_data_url(std::string_view text, std::size_t max_bytes);

/// The bytes of RFC 4648, 4: its alphabet and its padding, nothing between, and no bits set beyond the last byte.
/// Throws RequestError.
std::string decode_base64(std::string_view text);

}  // namespace ivl::http

#ifndef IVL_COMPILED
#include "ivl/http/data_url.ipp"
#endif
