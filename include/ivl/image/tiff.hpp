// TIFF files through libtiff: the first picture, as Pillow gives it. Only with IVL_LIBTIFF, which ivl's CMake targets
// define where they find the library.
#pragma once
#ifdef IVL_LIBTIFF
#include <tiffio.h>

#include <algorithm>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/cmyk.hpp"
#include "ivl/image/scan.hpp"
#include "ivl/image/white.hpp"

namespace ivl::detail {

/// A TIFF file in memory, open at its first picture.
class TiffReader {
 public:
  /// libtiff may ask for `most_bytes` at once.
  TiffReader(std::span<const std::byte> file, std::string_view name, std::size_t most_bytes)
      : file_(file), name_(name) {
    const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                               TIFFOpenOptionsFree);
    TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), tmsize_t(most_bytes));
    TIFFOpenOptionsSetErrorHandlerExtR(options.get(), keep_error, this);
    TIFFOpenOptionsSetWarningHandlerExtR(options.get(), ignore_warning, this);
    // r: read; c: strips as they are in the file, none cut into smaller ones.
    tiff_.reset(TIFFClientOpenExt("", "rc", this, read, write, seek, close, size, map, unmap, options.get()));
    if (!tiff_) fail_here();
  }
  TiffReader(const TiffReader&) = delete;  // libtiff holds its address
  TiffReader& operator=(const TiffReader&) = delete;

  TIFF* get() const { return tiff_.get(); }
  std::string_view name() const { return name_; }
  std::span<const std::byte> file() const { return file_; }
  /// A tag's number, or its default.
  template <class Number>
  Number tag(std::uint32_t tag, Number otherwise = 0) const {
    Number found = otherwise;
    return TIFFGetFieldDefaulted(get(), tag, &found) == 1 ? found : otherwise;
  }
  [[noreturn]] void fail_here() const {
    fail<ImageError>(name_, ": cannot decode the picture: ", message_[0] ? message_ : "the TIFF data are damaged");
  }

 private:
  static TiffReader& self(void* handle) { return *static_cast<TiffReader*>(handle); }
  static int keep_error(TIFF*, void* handle, const char*, const char* format, va_list values) {
    TiffReader& reader = self(handle);
    if (reader.message_[0] == 0) std::vsnprintf(reader.message_, sizeof reader.message_, format, values);
    return 1;
  }
  static int ignore_warning(TIFF*, void*, const char*, const char*, va_list) { return 1; }
  static tmsize_t read(void* handle, void* out, tmsize_t bytes) {
    TiffReader& reader = self(handle);
    const std::uint64_t at = std::min<std::uint64_t>(reader.at_, reader.file_.size());
    const std::size_t number = std::min<std::size_t>(std::size_t(bytes), reader.file_.size() - at);
    std::memcpy(out, reader.file_.data() + at, number);
    reader.at_ = at + number;
    return tmsize_t(number);
  }
  static tmsize_t write(void*, void*, tmsize_t) { return 0; }
  static toff_t seek(void* handle, toff_t offset, int whence) {
    TiffReader& reader = self(handle);
    return reader.at_ = offset + (whence == SEEK_CUR ? reader.at_ : whence == SEEK_END ? reader.file_.size() : 0);
  }
  static int close(void*) { return 0; }
  static toff_t size(void* handle) { return self(handle).file_.size(); }
  static int map(void*, void**, toff_t*) { return 0; }
  static void unmap(void*, void*, toff_t) {}

  std::span<const std::byte> file_;
  std::string_view name_;
  std::uint64_t at_ = 0;
  char message_[256] = "";
  std::unique_ptr<TIFF, void (*)(TIFF*)> tiff_{nullptr, TIFFClose};
};

enum class TiffAlpha { none, plain, multiplied };

struct TiffHeader {
  std::uint32_t width = 0, height = 0;
  int bits = 1, samples = 1;  // of a sample, of a pixel
  std::uint16_t kind = 0;     // TIFF's photometric interpretation
  bool planes = false;        // one a sample
  TiffAlpha alpha = TiffAlpha::none;

  int colours() const {
    return kind == PHOTOMETRIC_SEPARATED ? 4 : kind == PHOTOMETRIC_RGB || kind == PHOTOMETRIC_YCBCR ? 3 : 1;
  }
  bool palette() const { return kind == PHOTOMETRIC_PALETTE; }
};

/// What a picture is called that is not decoded; nullptr for one that is.
inline const char* name_of_other_tiff(const TiffReader& reader, const TiffHeader& header) {
  const auto compression = reader.tag<std::uint16_t>(TIFFTAG_COMPRESSION, COMPRESSION_NONE);
  const auto format = reader.tag<std::uint16_t>(TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_UINT);
  const bool jpeg = compression == COMPRESSION_JPEG;
  constexpr std::uint16_t compressions[] = {
      COMPRESSION_NONE, COMPRESSION_CCITTRLE,      COMPRESSION_CCITTFAX3, COMPRESSION_CCITTFAX4, COMPRESSION_LZW,
      COMPRESSION_JPEG, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS,  COMPRESSION_DEFLATE,   COMPRESSION_LZMA};
  const void* raw_version = nullptr;
  if (TIFFGetField(reader.get(), TIFFTAG_DNGVERSION, &raw_version) == 1) return "a camera's raw file (DNG)";
  if ((reader.tag<std::uint32_t>(TIFFTAG_SUBFILETYPE) & FILETYPE_REDUCEDIMAGE) != 0)
    return "a TIFF whose first picture is a thumbnail (a camera's raw file?)";
  if (compression == COMPRESSION_OJPEG) return "a TIFF of the old kind of JPEG";
  if (std::count(std::begin(compressions), std::end(compressions), compression) == 0 ||
      TIFFIsCODECConfigured(compression) == 0)
    return "a TIFF of a compression that is not known here";
  if (format == SAMPLEFORMAT_IEEEFP) return "a TIFF of floats";
  if (format == SAMPLEFORMAT_INT) return "a TIFF of signed numbers";
  if (format != SAMPLEFORMAT_UINT) return "a TIFF of numbers of an unknown kind";
  if (header.kind == PHOTOMETRIC_CIELAB || header.kind == PHOTOMETRIC_ICCLAB || header.kind == PHOTOMETRIC_ITULAB)
    return "a TIFF of Lab colours";
  if (header.kind == PHOTOMETRIC_YCBCR && (!jpeg || header.planes)) return "a TIFF of YCbCr colours without JPEG";
  if (header.kind > PHOTOMETRIC_PALETTE && header.kind != PHOTOMETRIC_SEPARATED && header.kind != PHOTOMETRIC_YCBCR)
    return "a TIFF of an unknown kind of colours";
  if (header.bits > 16 || (header.bits & (header.bits - 1)) != 0) return "a TIFF of an unusual number of bits a sample";
  if (header.samples != header.colours() && header.samples != header.colours() + 1)
    return "a TIFF of an unusual number of samples a pixel";
  const bool deep = header.bits == 16, grey = header.colours() == 1 && !header.palette();
  if ((header.samples > 1 && header.bits < 8) || (deep && header.palette()))
    return "a TIFF of an unusual number of bits a sample";
  if (grey && header.samples == 2 && (deep || header.alpha == TiffAlpha::multiplied))
    return "a TIFF of an unusual kind of grey with alpha";
  // Pillow misreads these.
  const bool reversed = reader.tag<std::uint16_t>(TIFFTAG_FILLORDER, FILLORDER_MSB2LSB) == FILLORDER_LSB2MSB;
  if (deep && header.kind == PHOTOMETRIC_MINISWHITE) return "a TIFF of 16-bit grey whose 0 is white";
  if (header.planes && compression == COMPRESSION_NONE && (deep || reversed))
    return "a TIFF of planes without compression, of 16 bits or with reversed bits";
  if (header.planes && header.samples != header.colours() && (header.samples == 2 || header.alpha != TiffAlpha::plain))
    return "a TIFF of planes with an unusual kind of alpha";
  return nullptr;
}

/// Of the open file; a picture that is not decoded is refused by its name.
inline TiffHeader read_tiff_header(const TiffReader& reader) {
  TiffHeader header;
  header.width = reader.tag<std::uint32_t>(TIFFTAG_IMAGEWIDTH);
  header.height = reader.tag<std::uint32_t>(TIFFTAG_IMAGELENGTH);
  header.bits = reader.tag<std::uint16_t>(TIFFTAG_BITSPERSAMPLE, 1);
  header.samples = reader.tag<std::uint16_t>(TIFFTAG_SAMPLESPERPIXEL, 1);
  header.kind = reader.tag<std::uint16_t>(TIFFTAG_PHOTOMETRIC);
  header.planes = header.samples > 1 &&
                  reader.tag<std::uint16_t>(TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG) == PLANARCONFIG_SEPARATE;
  std::uint16_t extras = 0, *extra = nullptr;
  if (TIFFGetField(reader.get(), TIFFTAG_EXTRASAMPLES, &extras, &extra) != 1) {
    if (header.kind == PHOTOMETRIC_RGB && header.samples == 4) header.alpha = TiffAlpha::plain;
  } else if (extras > 0 && extra[0] != EXTRASAMPLE_UNSPECIFIED) {
    header.alpha = extra[0] == EXTRASAMPLE_ASSOCALPHA ? TiffAlpha::multiplied : TiffAlpha::plain;
  }
  if (const char* other = name_of_other_tiff(reader, header)) {
    fail<ImageError>(reader.name(), ": this is ", other, " (", header.samples, " samples of ", header.bits,
                     " bits a pixel, photometric ", header.kind, ", compression ",
                     reader.tag<std::uint16_t>(TIFFTAG_COMPRESSION, COMPRESSION_NONE), "): convert it to PNG");
  }
  return header;
}

/// The size, what says which way is up, and whether all that the tags point at is there.
inline ImageHeader scan_tiff(std::span<const std::byte> file, std::string_view name) {
  const TiffReader reader(file, name, 2 * file.size() + (1 << 20));
  const TiffHeader tiff = read_tiff_header(reader);
  ImageHeader header;
  header.width = tiff.width;
  header.height = tiff.height;
  std::uint16_t orientation = 0;
  if (TIFFGetField(reader.get(), TIFFTAG_ORIENTATION, &orientation) == 1) header.notes.tag = orientation;
  std::uint32_t bytes = 0;
  const void* xmp = nullptr;
  if (TIFFGetField(reader.get(), TIFFTAG_XMLPACKET, &bytes, &xmp) == 1)
    header.notes.xmp = std::string(static_cast<const char*>(xmp), bytes);
  const std::uint32_t number =
      TIFFIsTiled(reader.get()) ? TIFFNumberOfTiles(reader.get()) : TIFFNumberOfStrips(reader.get());
  for (std::uint32_t i = 0; i < number; ++i) {
    int failed = 0;
    const std::uint64_t at = TIFFGetStrileOffsetWithErr(reader.get(), i, &failed);
    const std::uint64_t wanted = failed ? 0 : TIFFGetStrileByteCountWithErr(reader.get(), i, &failed);
    if (failed) reader.fail_here();
    if (at == 0 || wanted == 0) {
      fail<ImageError>(name, ": expected TIFF data in each of ", number, " strips or tiles, found none in number ", i);
    }
    const std::uint64_t room = file.size() - std::min<std::uint64_t>(at, file.size());
    if (wanted > room) {
      fail<ImageError>(name, ": truncated: expected ", wanted, " bytes of TIFF data at ", at, ", found ", room);
    }
  }
  return header;
}

/// Writes `number` samples as bytes, each `step` behind the other: indices as they are, levels of fewer bits stretched,
/// of 16 bits the upper byte. 16-bit grey is clipped, as in a PNG.
inline void spread_tiff_samples(const TiffHeader& header, const std::uint8_t* in, std::size_t number, std::size_t step,
                                std::uint8_t* out) {
  const int bits = header.bits, most = (1 << std::min(bits, 8)) - 1;
  for (std::size_t i = 0; i < number; ++i, out += step) {
    if (bits == 16) {
      std::uint16_t value;  // libtiff has put it in this machine's order
      std::memcpy(&value, in + 2 * i, 2);
      *out = std::uint8_t(header.colours() == 1 ? std::min<int>(value, 255) : value >> 8);
    } else {
      const std::size_t bit = i * std::size_t(bits);
      const int value = in[bit / 8] >> (8 - bits - int(bit % 8)) & most;
      *out = std::uint8_t(header.palette() ? value : value * 255 / most);
    }
  }
}

/// [height, width, samples], decoded strip by strip or tile by tile.
inline std::vector<std::uint8_t> read_tiff_samples(const TiffReader& reader, const TiffHeader& header) {
  TIFF* tiff = reader.get();
  const std::size_t width = header.width, height = header.height, samples = std::size_t(header.samples);
  const bool tiled = TIFFIsTiled(tiff);
  const std::uint32_t across = tiled ? reader.tag<std::uint32_t>(TIFFTAG_TILEWIDTH) : header.width;
  const std::uint32_t down =
      tiled ? reader.tag<std::uint32_t>(TIFFTAG_TILELENGTH)
            : std::min(header.height, reader.tag<std::uint32_t>(TIFFTAG_ROWSPERSTRIP, header.height));
  if (across == 0 || down == 0 || across > width + 4096 || down > height + 4096) {
    fail<ImageError>(reader.name(), ": expected TIFF tiles of at most 4096 pixels a side more than the picture, found ",
                     across, " x ", down);
  }
  const std::size_t values = across * (header.planes ? 1 : samples);
  const std::size_t row_bytes = (values * std::size_t(header.bits) + 7) / 8;
  const tmsize_t found_bytes = tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
  if (found_bytes != tmsize_t(row_bytes))
    fail<ImageError>(reader.name(), ": expected ", row_bytes, " bytes in a row of a TIFF, found ", found_bytes);

  std::vector<std::uint8_t> part(row_bytes * down), all(width * height * samples);
  for (std::size_t plane = 0; plane < (header.planes ? samples : 1); ++plane) {
    for (std::size_t y = 0; y < height; y += down) {
      const std::size_t rows = std::min<std::size_t>(down, height - y);
      for (std::size_t x = 0; x < width; x += across) {
        const tmsize_t bytes = tmsize_t(row_bytes * (tiled ? down : rows));
        const auto row = std::uint32_t(y), column = std::uint32_t(x);
        const auto sample = std::uint16_t(plane);
        const tmsize_t read =
            tiled ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, column, row, 0, sample), part.data(), bytes)
                  : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, row, sample), part.data(), bytes);
        if (read != bytes) reader.fail_here();
        const std::size_t columns = std::min<std::size_t>(across, width - x);
        for (std::size_t i = 0; i < rows; ++i) {
          std::uint8_t* out = &all[((y + i) * width + x) * samples + plane];
          spread_tiff_samples(header, &part[i * row_bytes], columns * (header.planes ? 1 : samples),
                              header.planes ? samples : 1, out);
        }
      }
    }
  }
  return all;
}

/// [256, 3]; black where the palette is short.
inline std::vector<std::uint8_t> tiff_palette(const TiffReader& reader, const TiffHeader& header) {
  const std::uint16_t* channels[3] = {};
  if (TIFFGetField(reader.get(), TIFFTAG_COLORMAP, &channels[0], &channels[1], &channels[2]) != 1)
    fail<ImageError>(reader.name(), ": expected a palette in a TIFF of indices, found none");
  std::vector<std::uint8_t> colours(256 * 3);
  for (std::size_t i = 0; i < std::size_t(1) << header.bits; ++i)
    for (std::size_t c = 0; c < 3; ++c) colours[3 * i + c] = std::uint8_t(channels[c][i] >> 8);
  return colours;
}

/// [height, width, 3].
inline std::vector<std::uint8_t> decode_tiff(std::span<const std::byte> file, std::string_view name, bool whitens) {
  // What it decodes to is bounded by the picture's size, which the walk has seen.
  const TiffReader sizes(file, name, 2 * file.size() + (1 << 20));
  const TiffHeader header = read_tiff_header(sizes);
  const TiffReader reader(file, name,
                          (std::size_t(header.width) + 4096) * (header.height + 4096) * 8 + 2 * file.size());
  if (header.kind == PHOTOMETRIC_YCBCR && header.samples == 3)
    TIFFSetField(reader.get(), TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
  std::vector<std::uint8_t> pixels = read_tiff_samples(reader, header);
  std::vector<std::uint8_t> palette;
  if (header.palette()) palette = tiff_palette(reader, header);

  const std::size_t number = std::size_t(header.width) * header.height, samples = std::size_t(header.samples);
  std::vector<std::uint8_t> rgb(3 * number);
  for (std::size_t i = 0; i < number; ++i) {
    const std::uint8_t* in = &pixels[i * samples];
    std::uint8_t* out = &rgb[3 * i];
    if (header.palette()) {
      std::memcpy(out, &palette[3 * std::size_t(in[0])], 3);
    } else if (header.kind == PHOTOMETRIC_SEPARATED) {
      rgb_of_cmyk(in, out);
    } else if (header.colours() == 3) {
      std::memcpy(out, in, 3);
    } else {
      std::memset(out, header.kind == PHOTOMETRIC_MINISWHITE && header.bits <= 8 ? 255 - in[0] : in[0], 3);
    }
    if (header.alpha == TiffAlpha::none || samples == std::size_t(header.colours())) continue;
    const std::uint8_t alpha = in[samples - 1];
    if (header.alpha == TiffAlpha::multiplied && header.colours() == 3 && alpha != 255)
      for (std::size_t c = 0; c < 3; ++c)
        out[c] = alpha == 0 ? std::uint8_t(0) : std::uint8_t(std::min(255, in[c] * 255 / alpha));
    if (whitens)
      for (std::size_t c = 0; c < 3; ++c) out[c] = on_white(out[c], alpha);
  }
  return rgb;
}

}  // namespace ivl::detail
#endif
