// Pictures of requests: where they may come from, and what they may take of memory.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "ivl/core/compiled.hpp"
#include "ivl/image/decode.hpp"
#include "ivl/image/picture_source.hpp"
#include "ivl/openai/error.hpp"

namespace ivl::openai {

struct PictureLimits {
  int pictures = 64;  ///< of one request
  int tiles = 24;     ///< of one picture, the most that a client may ask for
  ImageLimits image = {.pixels = 50'000'000, .file_bytes = 32 << 20};
  std::int64_t request_bytes = std::int64_t(512) << 20;  ///< of one request's decoded pictures
  std::int64_t total_bytes = std::int64_t(2) << 30;      ///< of those of all requests together
};

/// Memory for decoded pictures, counted before any of it is taken. Any thread may ask.
class PictureBudget {
 public:
  explicit PictureBudget(std::int64_t bytes) : bytes_(bytes) {}

  /// Counts them for as long as what it returns lives, which may be longer than this. Throws ApiError 503.
  std::shared_ptr<const void> reserve(std::int64_t bytes);
  std::int64_t used() const { return *used_; }

 private:
  std::int64_t bytes_;
  std::shared_ptr<std::atomic<std::int64_t>> used_ = std::make_shared<std::atomic<std::int64_t>>(0);
};

/// The bytes at an https address. Who gives one sees to it that nothing is fetched that may not be. A RequestError says
/// to the client why it was not; of anything else it learns nothing. Any thread may call it, several at once.
using FetchPicture = std::function<std::string(const std::string& url)>;

/// A picture as a request holds it: looked at, and decoded or not yet.
class ReceivedPicture final : public PictureSource {
 public:
  /// Throws ImageError; `name` starts it.
  ReceivedPicture(std::string file, std::string name, const DecodeOptions& options);

  PixelSize size() const override { return size_; }
  const Digest& key() const override { return key_; }
  /// A copy where it is decoded already, so that no engine waits for a decoder.
  Image decode() const override;

  /// Decodes it into memory that was counted.
  void decode_now(std::shared_ptr<const void> room);

 private:
  std::string file_, name_;
  DecodeOptions options_;
  PixelSize size_;
  Digest key_{};
  std::shared_ptr<const void> room_;
  std::optional<Image> image_;
};

/// Takes the pictures of one request.
class PictureReader {
 public:
  /// All must outlive this. Without `decode`, pictures are only looked at.
  PictureReader(const PictureLimits& limits, PictureBudget& budget, const FetchPicture& fetch,
                const DecodeOptions& options, bool decode)
      : limits_(limits), budget_(budget), fetch_(fetch), options_(options), decode_(decode) {
    options_.limits = limits.image;
  }

  const PictureLimits& limits() const { return limits_; }

  /// From a data: URL, or through `fetch`. What kind of picture it is, its first bytes say. `param` is the URL's place.
  /// Throws ApiError.
  std::shared_ptr<const PictureSource> read(const std::string& url, const std::string& param);

  double decode_s() const { return decode_s_; }

 private:
  std::string bytes_at(const std::string& url, const std::string& param) const;

  const PictureLimits& limits_;
  PictureBudget& budget_;
  const FetchPicture& fetch_;
  DecodeOptions options_;
  bool decode_;
  int pictures_ = 0;
  std::int64_t bytes_ = 0;
  double decode_s_ = 0;
};

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/pictures.ipp"
#endif
