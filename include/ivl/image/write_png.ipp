// The bodies of write_png.hpp.
#pragma once
#include <cstdlib>
#include <fstream>
#include <ios>
#include <memory>

#include "ivl/core/error.hpp"
#include "ivl/image/write_png.hpp"

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>
#undef STB_IMAGE_WRITE_IMPLEMENTATION
#undef STB_IMAGE_WRITE_STATIC
#undef STBI_WRITE_NO_STDIO
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace ivl {

IVL_INLINE void write_png(const std::filesystem::path& path, const Image& picture) {
  check_picture(picture);
  int bytes = 0;
  const std::unique_ptr<unsigned char, void (*)(void*)> png(
      stbi_write_png_to_mem(picture.rgb.data(), 3 * picture.width, picture.width, picture.height, 3, &bytes),
      std::free);
  if (!png) fail<ImageError>(path.string(), ": no memory for a PNG of ", picture.width, " x ", picture.height);
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(png.get()), bytes);
  if (!out.flush()) fail<FileError>(path.string(), ": cannot write ", bytes, " bytes");
}

}  // namespace ivl
