// JPEG through libjpeg-turbo with its own defaults, which gives Pillow's pixels. Only with IVL_LIBJPEG, which ivl's
// CMake targets define where they find the library; without it stb_image decodes, see stb.hpp.
#pragma once
#ifdef IVL_LIBJPEG
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/buffer.hpp"
#include "ivl/core/error.hpp"
#include "ivl/image/cmyk.hpp"

#include <jpeglib.h>  // expects stdio.h before it

#ifndef LIBJPEG_TURBO_VERSION
#error "IVL_LIBJPEG: expected the jpeglib.h of libjpeg-turbo, found another library's"
#endif

namespace ivl::detail {

struct JpegReader {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf leave;
  char message[JMSG_LENGTH_MAX] = "the data end early";
};

/// libjpeg's way out of an error: it must not return, and C code must not be thrown through.
[[noreturn]] inline void leave_jpeg(j_common_ptr info) {
  auto* reader = static_cast<JpegReader*>(info->client_data);
  info->err->format_message(info, reader->message);
  std::longjmp(reader->leave, 1);
}
inline boolean leave_ended_jpeg(j_decompress_ptr info) {
  std::longjmp(static_cast<JpegReader*>(info->client_data)->leave, 1);
}
/// Data that are damaged, and decoded all the same.
inline void ignore_jpeg_warning(j_common_ptr) {}

/// Writes [height, width, channels]; false, and a message, where libjpeg gives up. Nothing in here has a destructor
/// that the way out would leave undone.
inline bool read_jpeg_rows(JpegReader& reader, std::span<const std::byte> file, std::size_t width, std::size_t height,
                           int channels, std::uint8_t* pixels) {
  jpeg_decompress_struct& info = reader.info;
  info.err = jpeg_std_error(&reader.errors);
  info.client_data = &reader;
  reader.errors.error_exit = leave_jpeg;
  reader.errors.output_message = ignore_jpeg_warning;
  if (setjmp(reader.leave) != 0) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), static_cast<unsigned long>(file.size()));
  info.src->fill_input_buffer = leave_ended_jpeg;
  jpeg_read_header(&info, TRUE);
  info.out_color_space = channels == 4 ? JCS_CMYK : JCS_RGB;
  if (info.image_width != width || info.image_height != height) leave_ended_jpeg(&info);  // the walk saw another frame
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels + std::size_t(info.output_scanline) * width * std::size_t(channels);
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

/// CMYK to RGB in place. Pillow takes all four for inverted, as Adobe writes them.
inline void rgb_of_inverted_cmyk(std::vector<std::uint8_t>& pixels) {
  const std::size_t number = pixels.size() / 4;
  for (std::size_t i = 0; i < number; ++i) {
    std::uint8_t inks[4];
    for (std::size_t c = 0; c < 4; ++c) inks[c] = std::uint8_t(255 - pixels[4 * i + c]);
    rgb_of_cmyk(inks, &pixels[3 * i]);
  }
  pixels.resize(3 * number);
}

/// [height, width, 3] of a JPEG of 1, 3 or 4 components.
inline std::vector<std::uint8_t> decode_jpeg(std::span<const std::byte> file, std::string_view name, std::size_t width,
                                             std::size_t height, int components) {
  const int channels = components == 4 ? 4 : 3;
  const std::size_t bytes = width * height * std::size_t(channels);
  std::vector<std::uint8_t> pixels;
  pixels.reserve(bytes);
  ask_for_huge_pages(pixels.data(), bytes);  // of 12 megapixels 4 KiB pages cost a fifth of the decoding
  pixels.resize(bytes);
  JpegReader reader;
  if (!read_jpeg_rows(reader, file, width, height, channels, pixels.data()))
    fail<ImageError>(name, ": cannot decode the picture: ", reader.message);
  if (channels == 4) rgb_of_inverted_cmyk(pixels);
  return pixels;
}

}  // namespace ivl::detail
#endif
