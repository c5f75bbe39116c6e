// Decodes the frames that are wanted and those that they need. Only with IVL_FFMPEG.
#pragma once
#ifdef IVL_FFMPEG
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/ffmpeg.hpp"
#include "ivl/image/video_index.hpp"

namespace ivl::detail {

/// Frames of one stream by the number of their packet. It stands somewhere in the stream: what was shown last is at
/// hand, and what lies ahead is decoded from here or, across a key frame, from there.
class VideoDecoder {
 public:
  VideoDecoder(const VideoContainer& container, const VideoIndex& index, int threads)
      : container_(container),
        index_(index),
        decoder_(container.open_decoder(threads)),
        packet_(av_packet_alloc()),
        shown_(av_frame_alloc()),
        ahead_(av_frame_alloc()) {
    if (!packet_ || !shown_ || !ahead_) throw std::bad_alloc();
  }

  /// The frame of a packet. Where the decoder gives none for it, the one before, or the first one behind.
  const AVFrame& frame_of(std::int64_t packet) {
    std::int64_t start = index_.start_of(packet);
    if (!reaches(packet, start)) go_to(start);
    const std::int64_t end = index_.key_behind(packet);  // what is stored behind it does not help
    for (int groups = 1; !show(index_.time(packet), end); ++groups) {
      // Nothing comes from this group: the one before it may have a frame. As far back as decord goes.
      if (start == 0 || groups > 16)
        fail<ImageError>(container_.name(), ": cannot decode the video: no frame comes from packets ", start, " to ",
                         end - 1, " of ", index_.size());
      start = index_.start_of(start - 1);
      go_to(start);
    }
    return has_shown_ ? *shown_ : *ahead_;
  }

  std::int64_t decoded() const { return decoded_; }
  std::int64_t damaged() const { return damaged_; }

 private:
  /// Decodes from where it stands until the frame of a time is shown, or the last one before it. False where no frame
  /// came at all.
  bool show(std::int64_t wanted, std::int64_t end) {
    while (!(has_shown_ && shown_time_ == wanted)) {
      if (!has_ahead_ && !(has_ahead_ = decode(end))) break;
      if (ahead_time_ > wanted) break;
      std::swap(shown_, ahead_);
      shown_time_ = ahead_time_;
      has_shown_ = true;
      has_ahead_ = false;
    }
    return has_shown_ || has_ahead_;
  }

  /// Whether going on gives the frame of `packet`, whose key frame is `start`, and nothing is gained by a seek.
  bool reaches(std::int64_t packet, std::int64_t start) const {
    if (first_ < 0 || start < first_ || (has_shown_ && index_.time(packet) < shown_time_)) return false;
    return drained_ ? packet < next_ : start <= next_;
  }

  /// Makes the packet of a key frame the next one to decode.
  void go_to(std::int64_t start) {
    avcodec_flush_buffers(decoder_.get());
    has_shown_ = has_ahead_ = drained_ = false;
    number_ = 0;
    // Demuxers seek by one or the other time; the first packet's leads to it where both miss.
    const std::int64_t times[] = {index_[start].pts, index_[start].dts, index_[0].dts, index_[0].pts};
    for (const std::int64_t time : times) {
      if (time != AV_NOPTS_VALUE && find(start, time)) {
        first_ = next_ = start;
        return;
      }
    }
    first_ = -1;
    fail<ImageError>(container_.name(), ": cannot find packet ", start, " of ", index_.size(),
                     " again: the file has changed, or its times contradict each other");
  }

  /// Reads on to a packet from where a seek leads; the packet waits to be decoded.
  bool find(std::int64_t wanted, std::int64_t time) {
    const VideoPacket& packet = index_[wanted];
    if (av_seek_frame(&container_.format(), container_.stream().index, time, AVSEEK_FLAG_BACKWARD) < 0) return false;
    while (container_.read(*packet_)) {
      waits_ = packet_->pts == packet.pts && packet_->dts == packet.dts;
      if (waits_) return true;
      if (packet.dts != AV_NOPTS_VALUE && packet_->dts != AV_NOPTS_VALUE && packet_->dts > packet.dts) return false;
    }
    return false;
  }

  /// The next frame into `ahead_`, from packets before `end`; false where there is none.
  bool decode(std::int64_t end) {
    for (;;) {
      const int code = avcodec_receive_frame(decoder_.get(), ahead_.get());
      if (code == 0) {
        const std::int64_t time = ahead_->pts != AV_NOPTS_VALUE ? ahead_->pts : ahead_->best_effort_timestamp;
        ahead_time_ = index_.has_times() ? time : number_++;
        return true;
      }
      if (code == AVERROR_EOF || drained_) return false;
      if (code != AVERROR(EAGAIN)) ++damaged_;
      if (next_ >= end || !(waits_ || container_.read(*packet_))) {
        drained_ = true;
        avcodec_send_packet(decoder_.get(), nullptr);
        continue;
      }
      if (avcodec_send_packet(decoder_.get(), packet_.get()) < 0) ++damaged_;
      av_packet_unref(packet_.get());
      waits_ = false;
      ++next_;
      ++decoded_;
    }
  }

  const VideoContainer& container_;
  const VideoIndex& index_;
  Av<AVCodecContext> decoder_;
  Av<AVPacket> packet_;
  Av<AVFrame> shown_, ahead_;  // the last frame that was passed, and the one behind it
  std::int64_t shown_time_ = 0, ahead_time_ = 0;
  bool has_shown_ = false, has_ahead_ = false;
  bool waits_ = false;       // packet_ was read and not decoded
  bool drained_ = false;     // the decoder was told that nothing follows
  std::int64_t first_ = -1;  // packet that decoding began at
  std::int64_t next_ = 0;    // packet that is decoded next
  std::int64_t number_ = 0;  // of frames since, where the file has no times
  std::int64_t decoded_ = 0, damaged_ = 0;
};

/// Frames to RGB, in the size of the stream. Matrix and range are those that the frame says; BT.601 and studio range
/// where it says nothing, at every size.
class RgbOfFrames {
 public:
  /// As stored; `name` is for messages. libswscale's bilinear path without SWS_ACCURATE_RND is what decord's filter
  /// takes: chroma of 4:2:0 is repeated, not interpolated.
  Image convert(const AVFrame& frame, PixelSize size, const std::string& name) {
    scaler_.reset(sws_getCachedContext(scaler_.release(), frame.width, frame.height, AVPixelFormat(frame.format),
                                       size.width, size.height, AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr, nullptr,
                                       nullptr));
    if (!scaler_) fail<ImageError>(name, ": cannot convert frames of pixel format ", frame.format, " to RGB");
    set_colours(frame);
    // With room behind each row, where vector instructions may write.
    const std::size_t row = std::size_t(size.width) * 3, stride = (row + 64) / 32 * 32;
    rows_.resize(stride * std::size_t(size.height) + 64);
    std::uint8_t* planes[4] = {rows_.data(), nullptr, nullptr, nullptr};
    const int strides[4] = {int(stride), 0, 0, 0};
    if (sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, planes, strides) != size.height)
      fail<ImageError>(name, ": cannot convert a frame of ", frame.width, " x ", frame.height, " pixels to RGB");
    Image image{size.width, size.height, std::vector<std::uint8_t>(row * std::size_t(size.height))};
    for (std::size_t y = 0; y < std::size_t(size.height); ++y)
      std::memcpy(image.rgb.data() + y * row, rows_.data() + y * stride, row);
    return image;
  }

 private:
  void set_colours(const AVFrame& frame) {
    int *source_matrix, *target_matrix, source_full, target_full, brightness, contrast, saturation;
    if (sws_getColorspaceDetails(scaler_.get(), &source_matrix, &source_full, &target_matrix, &target_full, &brightness,
                                 &contrast, &saturation) < 0)
      return;  // grey and RGB have none
    if (frame.color_range != AVCOL_RANGE_UNSPECIFIED) source_full = frame.color_range == AVCOL_RANGE_JPEG;
    sws_setColorspaceDetails(scaler_.get(), sws_getCoefficients(frame.colorspace), source_full, target_matrix,
                             target_full, brightness, contrast, saturation);
  }

  Av<SwsContext> scaler_;
  std::vector<std::uint8_t> rows_;
};

}  // namespace ivl::detail
#endif
