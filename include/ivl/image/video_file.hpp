// A video in a file: how many frames it has, and each of them as a picture.
//
// Frames are counted and chosen as by decord 0.6.0, the reader of the model cards: a frame for every packet of the
// stream, in the order of their times, whatever the header says of their number. FFmpeg decodes where IVL_FFMPEG is
// defined, which ivl's CMake targets do where they find its libraries; without it every file is refused.
//
// Nothing but the file itself is ever opened, whatever it refers to. Containers are MP4 and QuickTime, Matroska and
// WebM, AVI and MPEG-TS; codecs H.264, HEVC, VP8, VP9, AV1, MPEG-1, -2 and -4, and Motion JPEG. FFmpeg's own messages
// are turned off where its log level is still the one that it starts with.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/image/video.hpp"
#include "ivl/image/video_options.hpp"

namespace ivl {

/// An open video. Of the file it holds the times of its packets, and at most the frames that its decoder needs.
class VideoFile {
 public:
  /// Reads every packet and decodes none but those that tell what the stream is. Throws FileError; ImageError for a
  /// file that is damaged, not supported or beyond its limits, or that has no video.
  explicit VideoFile(const std::filesystem::path& path, const VideoOptions& options = {});
  ~VideoFile();
  VideoFile(const VideoFile&) = delete;
  VideoFile& operator=(const VideoFile&) = delete;

  /// Frames that can be asked for: decord's len().
  std::int64_t frames() const;
  /// Of a stream whose rate varies the average that its header says, or FFmpeg guesses: decord's get_avg_fps(). 0 where
  /// nobody knows.
  double frames_per_s() const;
  /// Of an upright frame. Rotation by 90, 180 and 270 degrees is applied, and the aspect of pixels is not.
  PixelSize size() const;
  /// When a frame begins, the first being at 0.
  double time_s(std::int64_t frame) const;
  /// False for frames that the file counts and hides, by an edit list.
  bool shows(std::int64_t frame) const;

  /// The frame, upright. One that the file hides is the last that it shows, and one that is damaged the one before it.
  /// Ascending frames cost least: decoding goes on where it stopped, or starts at the key frame before. Any thread may
  /// call. Throws RequestError for a frame that there is not, ImageError where nothing can be decoded.
  Image frame(std::int64_t frame);

  /// Packets that went through the decoder so far.
  std::int64_t decoded() const;
  /// Those of them that it refused; one that is met again counts again.
  std::int64_t damaged() const;
  /// No other open video of the process has this number.
  std::uint64_t serial() const { return serial_; }

 private:
  struct Parts;
  static std::uint64_t next_serial();

  std::unique_ptr<Parts> parts_;
  std::uint64_t serial_ = next_serial();
};

/// What is shown each `every_s` seconds of the video or of `range`, from its begin on, by the times of its frames: of a
/// video whose rate varies other frames than a number of segments gives. Throws RequestError, also where that is more
/// often than there are frames.
std::vector<std::int64_t> frames_by_time(const VideoFile& video, double every_s, std::optional<TimeRange> range = {});

/// Frames as pictures that are decoded when a model has to see them. As in decord a frame that the file hides repeats
/// the one before it in `frames`. Throws RequestError for frames that there are not.
std::vector<Picture> pictures_of(const std::shared_ptr<VideoFile>& video, std::span<const std::int64_t> frames,
                                 const TileRules& rules);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/image/video_file.ipp"
#endif
