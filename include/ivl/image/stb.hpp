// stb_image with internal linkage, for the files that have the bodies; see decode.hpp.
#pragma once
#include <cstddef>
#include <cstdlib>

namespace ivl::detail {

/// Bytes that stb_image may ask for at once in this thread: a file's size says nothing about what it inflates to.
inline thread_local std::size_t stb_most_bytes = 0;
/// Zeros, because a file may leave out what fills a table or a picture.
inline void* stb_allocate(std::size_t bytes) { return bytes <= stb_most_bytes ? std::calloc(1, bytes) : nullptr; }
inline void* stb_realloc(void* data, std::size_t bytes) {
  return bytes <= stb_most_bytes ? std::realloc(data, bytes) : nullptr;
}

}  // namespace ivl::detail

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#endif
#if defined(__clang__)  // coefficients of a hostile JPEG overflow an int; they wrap, and give a picture as good as any
#pragma clang attribute push(__attribute__((no_sanitize("signed-integer-overflow", "shift"))), apply_to = function)
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_MALLOC(bytes) ::ivl::detail::stb_allocate(bytes)
#define STBI_REALLOC(data, bytes) ::ivl::detail::stb_realloc(data, bytes)
#define STBI_FREE(data) std::free(data)
#include <stb/stb_image.h>
#undef STB_IMAGE_IMPLEMENTATION
#undef STB_IMAGE_STATIC
#undef STBI_ONLY_JPEG
#undef STBI_ONLY_PNG
#undef STBI_NO_STDIO
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_FREE
#if defined(__clang__)
#pragma clang attribute pop
#endif
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
