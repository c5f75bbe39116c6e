// Where the frames of a stream lie among its packets. Only with IVL_FFMPEG.
#pragma once
#ifdef IVL_FFMPEG
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/ffmpeg.hpp"

namespace ivl::detail {

struct VideoPacket {
  std::int64_t pts, dts;  // in the stream's time base; AV_NOPTS_VALUE where the file says none
  bool key, hidden;       // hidden: an edit list asks to decode it and not to show it
};

/// All packets of a stream, in the order of the file, and the packet of every frame.
class VideoIndex {
 public:
  /// Reads the whole file.
  VideoIndex(const VideoContainer& container, const VideoLimits& limits) {
    const Av<AVPacket> packet(av_packet_alloc());
    if (!packet) throw std::bad_alloc();
    while (container.read(*packet)) {
      if (std::int64_t(packets_.size()) == limits.packets)
        fail<ImageError>(container.name(), ": expected at most ", limits.packets, " packets of video, found more");
      packets_.push_back({packet->pts, packet->dts, (packet->flags & AV_PKT_FLAG_KEY) != 0,
                          (packet->flags & AV_PKT_FLAG_DISCARD) != 0});
      has_times_ = has_times_ && packet->pts != AV_NOPTS_VALUE;
    }
    if (packets_.empty()) fail<ImageError>(container.name(), ": expected at least one frame of video, found none");
    place_frames();
  }

  std::int64_t size() const { return std::int64_t(packets_.size()); }
  const VideoPacket& operator[](std::int64_t packet) const { return packets_[std::size_t(packet)]; }

  /// False where a packet has no time. Then frames are counted from the first, and none is found without those before.
  bool has_times() const { return has_times_; }
  /// By which frames are told apart: presentation times or, without them, numbers.
  std::int64_t time(std::int64_t packet) const { return has_times_ ? (*this)[packet].pts : packet; }

  /// When a frame begins, the first that is shown being at 0.
  double time_s(std::int64_t frame, AVRational time_base, double frames_per_s) const {
    if (!has_times_) return frames_per_s > 0 ? double(frame) / frames_per_s : 0;
    const std::int64_t first = packet_of(0) < 0 ? 0 : time(packet_of(0));
    const std::int64_t packet = packet_of(frame) < 0 ? last_shown_ : packet_of(frame);
    return packet < 0 ? 0 : (double(time(packet)) - double(first)) * av_q2d(time_base);
  }

  /// The packet of a frame; -1 for one that is hidden.
  std::int64_t packet_of(std::int64_t frame) const { return frames_[std::size_t(frame)]; }
  /// The packet of the frame that is shown last, or -1.
  std::int64_t last_shown() const { return last_shown_; }

  /// Where decoding has to begin for a packet's frame: the last key frame before it that is not shown after it. Frames
  /// that are stored behind a key frame and shown before it need the key frame before that.
  std::int64_t start_of(std::int64_t packet) const {
    const std::int64_t wanted = time(packet);
    while (packet > 0 && !(is_key(packet) && time(packet) <= wanted)) --packet;
    return packet;
  }
  /// The first key frame behind a packet, or the end.
  std::int64_t key_behind(std::int64_t packet) const {
    do ++packet;
    while (packet < size() && !is_key(packet));
    return packet;
  }

 private:
  bool is_key(std::int64_t packet) const { return has_times_ && (*this)[packet].key; }

  /// As decord finds them. It takes a frame by its place among all packets in the order of their times, hidden or not;
  /// but before the second key frame it counts what it is shown from the start.
  void place_frames() {
    std::vector<std::int64_t> by_time(packets_.size());
    std::iota(by_time.begin(), by_time.end(), std::int64_t(0));
    std::stable_sort(by_time.begin(), by_time.end(), [&](std::int64_t a, std::int64_t b) { return time(a) < time(b); });
    std::vector<std::int64_t> shown;
    for (const std::int64_t packet : by_time)
      if (!(*this)[packet].hidden) shown.push_back(packet);
    if (!shown.empty()) last_shown_ = shown.back();
    const std::int64_t counted = key_behind(0);
    for (std::int64_t frame = 0; frame < size(); ++frame) {
      const std::int64_t packet = frame >= counted                     ? by_time[std::size_t(frame)]
                                  : frame < std::int64_t(shown.size()) ? shown[std::size_t(frame)]
                                                                       : -1;
      frames_.push_back(packet >= 0 && (*this)[packet].hidden ? -1 : packet);
    }
  }

  std::vector<VideoPacket> packets_;
  std::vector<std::int64_t> frames_;
  std::int64_t last_shown_ = -1;
  bool has_times_ = true;
};

}  // namespace ivl::detail
#endif
