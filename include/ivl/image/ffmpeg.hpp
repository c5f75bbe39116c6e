// A video file opened by FFmpeg: its container, the stream that is meant, and the decoder for it. Only with IVL_FFMPEG,
// which ivl's CMake targets define where they find the libraries. Written for FFmpeg 5.1, and 6.1 or newer.
#pragma once
#ifdef IVL_FFMPEG
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "ivl/core/error.hpp"
#include "ivl/image/image.hpp"
#include "ivl/image/video_options.hpp"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
}

namespace ivl::detail {

struct FreeAv {
  void operator()(AVPacket* packet) const { av_packet_free(&packet); }
  void operator()(AVFrame* frame) const { av_frame_free(&frame); }
  void operator()(AVCodecContext* decoder) const { avcodec_free_context(&decoder); }
  void operator()(AVFormatContext* container) const { avformat_close_input(&container); }
  void operator()(SwsContext* scaler) const { sws_freeContext(scaler); }
  void operator()(AVIOContext* bytes) const {
    av_freep(&bytes->buffer);
    avio_context_free(&bytes);
  }
};
template <class T>
using Av = std::unique_ptr<T, FreeAv>;

inline std::string av_message(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = "";
  av_strerror(code, text, sizeof text);
  return text;
}

/// The bytes of a regular file for FFmpeg, which so opens nothing itself.
class VideoBytes {
 public:
  explicit VideoBytes(const std::filesystem::path& path) {
    const auto refuse = [&](const std::string& reason) {
      fail<FileError>(path.string(), ": cannot read the video: ", reason);
    };
    std::error_code error;
    const bool regular = std::filesystem::is_regular_file(path, error);
    if (error) refuse(error.message());
    if (!regular) refuse("expected a file, found a folder, a pipe or a device");
    size_ = std::int64_t(std::filesystem::file_size(path, error));
    if (error) refuse(error.message());
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file_ < 0) refuse(std::generic_category().message(errno));
    constexpr int buffer_bytes = 1 << 16;
    auto* buffer = static_cast<unsigned char*>(av_malloc(buffer_bytes));
    io_.reset(buffer ? avio_alloc_context(buffer, buffer_bytes, 0, this, read, nullptr, seek) : nullptr);
    if (!io_) {
      av_free(buffer);
      ::close(file_);
      throw std::bad_alloc();
    }
  }
  VideoBytes(const VideoBytes&) = delete;
  VideoBytes& operator=(const VideoBytes&) = delete;
  ~VideoBytes() { ::close(file_); }

  AVIOContext* io() const { return io_.get(); }

 private:
  static int read(void* self, std::uint8_t* out, int bytes) {
    auto& file = *static_cast<VideoBytes*>(self);
    ssize_t count = 0;
    do count = ::pread(file.file_, out, std::size_t(bytes), file.at_);
    while (count < 0 && errno == EINTR);
    if (count < 0) return AVERROR(errno);
    file.at_ += count;
    return count == 0 ? AVERROR_EOF : int(count);
  }
  static std::int64_t seek(void* self, std::int64_t offset, int whence) {
    auto& file = *static_cast<VideoBytes*>(self);
    if (whence & AVSEEK_SIZE) return file.size_;
    const int from = whence & ~AVSEEK_FORCE;
    const std::int64_t base = from == SEEK_SET ? 0 : from == SEEK_CUR ? file.at_ : file.size_;
    if (offset < -base || offset > INT64_MAX - base) return AVERROR(EINVAL);
    return file.at_ = base + offset;
  }

  int file_ = -1;
  std::int64_t size_ = 0, at_ = 0;
  Av<AVIOContext> io_;
};

/// A container may name other files and addresses: playlists, parts, keys. None is opened.
inline int open_nothing(AVFormatContext*, AVIOContext** io, const char*, int, AVDictionary**) {
  *io = nullptr;
  return AVERROR(EPERM);
}

inline constexpr std::string_view video_containers[] = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts"};
inline constexpr const char* video_decoders = "h264,hevc,vp8,vp9,libdav1d,libaom-av1,mpeg4,mpeg2video,mpeg1video,mjpeg";

/// Degrees, clockwise, from 0 to 359, as decord takes them from a stream: the tag before the matrix, no rounding.
inline int rotation_of(const AVStream& stream) {
  double degrees = 0;
  const AVDictionaryEntry* tag = av_dict_get(stream.metadata, "rotate", nullptr, 0);
  if (tag) degrees = std::atof(tag->value);
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100)
  const AVCodecParameters& codec = *stream.codecpar;
  const AVPacketSideData* side =
      av_packet_side_data_get(codec.coded_side_data, codec.nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  const std::uint8_t* matrix = side && side->size >= 36 ? side->data : nullptr;
#else
  std::size_t bytes = 0;
  const std::uint8_t* matrix = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &bytes);
  if (bytes < 36) matrix = nullptr;
#endif
  if (matrix && degrees == 0) degrees = -av_display_rotation_get(reinterpret_cast<const std::int32_t*>(matrix));
  degrees = std::fmod(degrees, 360);
  return std::isfinite(degrees) ? int(degrees < 0 ? degrees + 360 : degrees) : 0;
}

/// What is open of a video, before any packet was read for its own sake.
class VideoContainer {
 public:
  VideoContainer(const std::filesystem::path& path, const VideoLimits& limits)
      : name_(path.string()), limits_(limits), bytes_(path) {
    if (av_log_get_level() == AV_LOG_INFO) av_log_set_level(AV_LOG_QUIET);
    open();
    find_streams();
    const auto [width, height] = size();
    if (width < 1 || height < 1 || width > limits.side_px || height > limits.side_px ||
        std::int64_t(width) * height > limits.pixels) {
      const std::string found = width == 0 ? "a size that FFmpeg cannot tell, or refuses"
                                           : std::to_string(width) + " x " + std::to_string(height);
      fail<ImageError>(name_, ": expected frames of 1 to ", limits.side_px, " pixels a side and of at most ",
                       limits.pixels, " in all, found ", found);
    }
  }

  const std::string& name() const { return name_; }
  AVFormatContext& format() const { return *format_; }
  const AVStream& stream() const { return *format_->streams[stream_]; }
  /// As stored, before rotation.
  PixelSize size() const { return {stream().codecpar->width, stream().codecpar->height}; }

  /// The next packet of the stream; false at the end of the file. Throws ImageError for one that cannot be read.
  bool read(AVPacket& packet) const {
    for (;;) {
      av_packet_unref(&packet);
      const int code = av_read_frame(format_.get(), &packet);
      if (code == AVERROR_EOF) return false;
      if (code < 0) fail<ImageError>(name_, ": cannot read the video: ", av_message(code));
      if (packet.stream_index == stream_) return true;
    }
  }

  Av<AVCodecContext> open_decoder(int threads) const {
    Av<AVCodecContext> decoder(avcodec_alloc_context3(codec_));
    if (!decoder || avcodec_parameters_to_context(decoder.get(), stream().codecpar) < 0) throw std::bad_alloc();
    decoder->pkt_timebase = stream().time_base;
    decoder->thread_count = threads;
    decoder->max_pixels = limits_.pixels;
    const int code = avcodec_open2(decoder.get(), codec_, nullptr);
    if (code < 0) fail<ImageError>(name_, ": cannot decode ", codec_->name, ": ", av_message(code));
    return decoder;
  }

 private:
  void open() {
    const AVInputFormat* kind = nullptr;
    const int probed = av_probe_input_buffer2(bytes_.io(), &kind, nullptr, nullptr, 0, 0);
    if (probed < 0) fail<ImageError>(name_, ": expected a video, found no container that FFmpeg knows");
    if (std::find(std::begin(video_containers), std::end(video_containers), kind->name) == std::end(video_containers)) {
      fail<ImageError>(name_, ": expected MP4, QuickTime, Matroska, WebM, AVI or MPEG-TS, found ", kind->long_name,
                       " (", kind->name, "): convert it first, such as with ffmpeg -i FILE video.mp4");
    }
    AVFormatContext* format = avformat_alloc_context();
    if (!format) throw std::bad_alloc();
    format->pb = bytes_.io();
    format->flags |= AVFMT_FLAG_CUSTOM_IO;
    format->io_open = open_nothing;
    av_opt_set(format, "protocol_whitelist", "file", 0);
    av_opt_set(format, "format_whitelist", kind->name, 0);
    av_opt_set(format, "codec_whitelist", video_decoders, 0);
    const int code = avformat_open_input(&format, nullptr, kind, nullptr);  // frees `format` where it fails
    if (code < 0) {
      const bool mp4 = kind->name == video_containers[0];
      fail<ImageError>(name_, ": cannot open ", kind->long_name, ": ", av_message(code),
                       mp4 ? " (an MP4 that was cut has often lost its index, which lies at the end)" : "");
    }
    format_.reset(format);
  }

  /// FFmpeg decodes some frames to learn what the header leaves out: with these limits too.
  void find_streams() {
    std::vector<AVDictionary*> options(format_->nb_streams, nullptr);
    for (unsigned i = 0; i < format_->nb_streams; ++i) {
      av_dict_set_int(&options[i], "max_pixels", limits_.pixels, 0);
      av_dict_set_int(&options[i], "threads", 1, 0);
    }
    const int code = avformat_find_stream_info(format_.get(), options.data());
    for (AVDictionary*& of_stream : options) av_dict_free(&of_stream);
    if (code < 0) fail<ImageError>(name_, ": cannot read the video's streams: ", av_message(code));

    stream_ = av_find_best_stream(format_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
    if (stream_ < 0) fail<ImageError>(name_, ": expected a video stream among ", format_->nb_streams, ", found none");
    if (stream().disposition & AV_DISPOSITION_ATTACHED_PIC)
      fail<ImageError>(name_, ": expected a video stream, found none but a cover picture");
    const AVCodecID id = stream().codecpar->codec_id;
    codec_ = avcodec_find_decoder(id);
    if (!codec_ || av_match_list(codec_->name, video_decoders, ',') <= 0) {
      fail<ImageError>(name_, ": expected H.264, HEVC, VP8, VP9, AV1, MPEG-1, -2 or -4 or Motion JPEG, found ",
                       avcodec_get_name(id), id == AV_CODEC_ID_AV1 ? " and an FFmpeg without libdav1d" : "",
                       ": convert it first, such as with ffmpeg -i FILE video.mp4");
    }
    for (unsigned i = 0; i < format_->nb_streams; ++i)
      if (int(i) != stream_) format_->streams[i]->discard = AVDISCARD_ALL;
  }

  std::string name_;
  VideoLimits limits_;
  VideoBytes bytes_;
  Av<AVFormatContext> format_;
  int stream_ = -1;
  const AVCodec* codec_ = nullptr;
};

}  // namespace ivl::detail
#endif
