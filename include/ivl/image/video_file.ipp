// The bodies of video_file.hpp.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <iterator>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>

#include "ivl/core/error.hpp"
#include "ivl/core/sha256.hpp"
#include "ivl/image/exif.hpp"
#include "ivl/image/ffmpeg.hpp"
#include "ivl/image/picture_source.hpp"
#include "ivl/image/video_decoder.hpp"
#include "ivl/image/video_file.hpp"
#include "ivl/image/video_index.hpp"

namespace ivl {

#ifdef IVL_FFMPEG

struct VideoFile::Parts {
  Parts(const std::filesystem::path& path, const VideoOptions& options)
      : container(path, options.limits),
        index(container, options.limits),
        decoder(container, index, options.threads),
        rotation(detail::rotation_of(container.stream())) {}

  detail::VideoContainer container;
  detail::VideoIndex index;
  std::mutex mutex;  // of what follows
  detail::VideoDecoder decoder;
  detail::RgbOfFrames rgb;
  int rotation;

  /// Exif's name for it.
  int orientation() const { return rotation == 90 ? 6 : rotation == 180 ? 3 : rotation == 270 ? 8 : 1; }
  void check(std::int64_t frame) const {
    if (frame < 0 || frame >= index.size())
      fail<RequestError>(container.name(), ": expected a frame from 0 to ", index.size() - 1, ", found ", frame);
  }
};

IVL_INLINE VideoFile::VideoFile(const std::filesystem::path& path, const VideoOptions& options)
    : parts_(std::make_unique<Parts>(path, options)) {}

IVL_INLINE std::int64_t VideoFile::frames() const { return parts_->index.size(); }

IVL_INLINE double VideoFile::frames_per_s() const {
  const AVRational rate = parts_->container.stream().avg_frame_rate;
  return rate.den == 0 ? 0 : double(rate.num) / rate.den;
}

IVL_INLINE PixelSize VideoFile::size() const {
  const PixelSize stored = parts_->container.size();
  return swaps_sides(parts_->orientation()) ? PixelSize{stored.height, stored.width} : stored;
}

IVL_INLINE double VideoFile::time_s(std::int64_t frame) const {
  parts_->check(frame);
  return parts_->index.time_s(frame, parts_->container.stream().time_base, frames_per_s());
}

IVL_INLINE bool VideoFile::shows(std::int64_t frame) const {
  parts_->check(frame);
  return parts_->index.packet_of(frame) >= 0;
}

IVL_INLINE Image VideoFile::frame(std::int64_t frame) {
  const detail::VideoIndex& index = parts_->index;
  const std::int64_t packet = shows(frame) ? index.packet_of(frame) : index.last_shown();
  const std::string& name = parts_->container.name();
  if (packet < 0) fail<ImageError>(name, ": expected a frame to show, found ", frames(), " that are hidden");
  const std::lock_guard lock(parts_->mutex);
  const AVFrame& decoded = parts_->decoder.frame_of(packet);
  return turned(parts_->rgb.convert(decoded, parts_->container.size(), name), parts_->orientation());
}

IVL_INLINE std::int64_t VideoFile::decoded() const {
  const std::lock_guard lock(parts_->mutex);
  return parts_->decoder.decoded();
}

IVL_INLINE std::int64_t VideoFile::damaged() const {
  const std::lock_guard lock(parts_->mutex);
  return parts_->decoder.damaged();
}

#else

struct VideoFile::Parts {};

IVL_INLINE VideoFile::VideoFile(const std::filesystem::path& path, const VideoOptions&) {
  fail<ImageError>(path.string(),
                   ": ivl was built without FFmpeg, which decodes video: install its libraries (Debian, Ubuntu: "
                   "libavformat-dev libavcodec-dev libswscale-dev) and build again");
}
// Nobody has a VideoFile to call these of.
IVL_INLINE std::int64_t VideoFile::frames() const { return 0; }
IVL_INLINE double VideoFile::frames_per_s() const { return 0; }
IVL_INLINE PixelSize VideoFile::size() const { return {}; }
IVL_INLINE double VideoFile::time_s(std::int64_t) const { return 0; }
IVL_INLINE bool VideoFile::shows(std::int64_t) const { return false; }
IVL_INLINE Image VideoFile::frame(std::int64_t) { return {}; }
IVL_INLINE std::int64_t VideoFile::decoded() const { return 0; }
IVL_INLINE std::int64_t VideoFile::damaged() const { return 0; }

#endif

IVL_INLINE VideoFile::~VideoFile() = default;

IVL_INLINE std::uint64_t VideoFile::next_serial() {
  static std::atomic<std::uint64_t> serial{0};
  return ++serial;
}

namespace detail {

/// A frame that waits in its video. Keys hold for one open video: its content is not read for them.
class VideoFrame final : public PictureSource {
 public:
  VideoFrame(std::shared_ptr<VideoFile> video, std::int64_t frame)
      : video_(std::move(video)), frame_(frame), size_(video_->size()) {
    Sha256 hash;
    hash.add(std::string_view("ivl-video-frame-1"));
    hash.add(video_->serial());
    hash.add(std::uint64_t(frame));
    key_ = hash.finish();
  }

  PixelSize size() const override { return size_; }
  const Digest& key() const override { return key_; }
  Image decode() const override { return video_->frame(frame_); }

 private:
  std::shared_ptr<VideoFile> video_;
  std::int64_t frame_;
  PixelSize size_;
  Digest key_;
};

}  // namespace detail

IVL_INLINE std::vector<std::int64_t> frames_by_time(const VideoFile& video, double every_s,
                                                    std::optional<TimeRange> range) {
  if (!(every_s > 0) || !std::isfinite(every_s))
    fail<RequestError>("video: expected a positive number of seconds between frames, found ", every_s);
  // With edit lists the order of frames may not be that of their times.
  std::vector<std::pair<double, std::int64_t>> shown;
  for (std::int64_t frame = 0; frame < video.frames(); ++frame)
    if (video.shows(frame)) shown.emplace_back(video.time_s(frame), frame);
  if (shown.empty()) fail<RequestError>("video: expected a frame to show, found none");
  std::sort(shown.begin(), shown.end());
  const double last_s = shown.back().first;
  const double begin_s = range ? std::max(range->begin_s, 0.0) : 0;
  const double end_s = range ? std::min(range->end_s, last_s) : last_s;
  if (!(begin_s <= end_s))
    fail<RequestError>("video: expected a time range inside ", last_s, " s, found ", range->begin_s, " s to ",
                       range->end_s, " s");
  if ((end_s - begin_s) / every_s > double(video.frames()))
    fail<RequestError>("video: expected seconds between frames that take each of its ", video.frames(),
                       " at most once, found ", every_s);
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0;; ++i) {
    const double time_s = begin_s + double(i) * every_s;
    if (time_s > end_s) return indices;
    const auto begins_later = [](double time, const auto& other) { return time < other.first; };
    const auto behind = std::upper_bound(shown.begin(), shown.end(), time_s, begins_later);
    indices.push_back(behind == shown.begin() ? behind->second : std::prev(behind)->second);
  }
}

IVL_INLINE std::vector<Picture> pictures_of(const std::shared_ptr<VideoFile>& video,
                                            std::span<const std::int64_t> frames, const TileRules& rules) {
  std::vector<Picture> pictures;
  std::int64_t before = -1;  // what was shown last
  for (const std::int64_t frame : frames) {
    if (video->shows(frame) || before < 0) before = frame;
    pictures.push_back(Picture(std::make_shared<detail::VideoFrame>(video, before), rules));
  }
  return pictures;
}

}  // namespace ivl
