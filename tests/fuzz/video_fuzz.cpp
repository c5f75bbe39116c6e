// Whatever the bytes: an ImageError, or a video whose frames have the size that it says. FFmpeg's own code has no
// sanitizers here; what it asks of the file and of memory goes through ours.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "ivl/image/video_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr ivl::VideoLimits limits{.side_px = 200, .pixels = 20'000, .packets = 1000};
  static const int file = memfd_create("fuzz", MFD_CLOEXEC);
  if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != ssize_t(size)) std::abort();
  const std::filesystem::path path = "/proc/self/fd/" + std::to_string(file);
  try {
    ivl::VideoFile video(path, {.limits = limits});
    const ivl::PixelSize told = video.size();
    const std::int64_t last = video.frames() - 1;
    if (last < 0 || last >= limits.packets || !(video.frames_per_s() >= 0)) std::abort();
    if (told.width < 1 || told.width > limits.side_px || told.height < 1 || told.height > limits.side_px) std::abort();
    for (const std::int64_t frame : {last, std::int64_t(0), last / 2}) {
      if (!std::isfinite(video.time_s(frame))) std::abort();
      const ivl::Image image = video.frame(frame);
      if (image.width != told.width || image.height != told.height) std::abort();
      if (image.rgb.size() != std::size_t(image.width) * std::size_t(image.height) * 3) std::abort();
    }
  } catch (const ivl::ImageError&) {
  }
  return 0;
}
