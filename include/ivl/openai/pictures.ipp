// The bodies of pictures.hpp.
#pragma once
#include <chrono>
#include <span>
#include <string_view>
#include <utility>

#include "ivl/core/quotes.hpp"
#include "ivl/http/data_url.hpp"
#include "ivl/image/kind.hpp"
#include "ivl/openai/pictures.hpp"

namespace ivl::openai {

IVL_INLINE std::shared_ptr<const void> PictureBudget::reserve(std::int64_t bytes) {
  if (used_->fetch_add(bytes) + bytes > bytes_) {
    *used_ -= bytes;
    throw ApiError(503, "the pictures of other requests have all memory that there is for pictures; ask again later",
                   "", "overloaded");
  }
  return {used_.get(), [used = used_, bytes](const void*) { *used -= bytes; }};
}

namespace detail {

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

/// What OpenAI's servers take, and BMP. libtiff is more than strangers should talk to.
inline void check_kind(std::string_view file, const std::string& name) {
  constexpr std::string_view expected = ": expected a PNG, JPEG, WebP, GIF or BMP picture, found ";
  if (file.empty()) fail<ImageError>(name, expected, "none");
  if (ivl::detail::is_tiff(file)) fail<ImageError>(name, expected, "a TIFF file");
}

}  // namespace detail

IVL_INLINE ReceivedPicture::ReceivedPicture(std::string file, std::string name, const DecodeOptions& options)
    : file_(std::move(file)), name_(std::move(name)), options_(options) {
  detail::check_kind(file_, name_);
  size_ = size_of_image(detail::bytes_of(file_), name_, options_);
  Sha256 hash;
  hash.add(std::string_view("ivl-received-picture-1"));
  hash.add(std::uint64_t(options_.orientation));
  hash.add(std::uint64_t(options_.alpha));
  hash.add(std::uint64_t(file_.size()));
  hash.add(file_);
  key_ = hash.finish();
}

IVL_INLINE Image ReceivedPicture::decode() const {
  return image_ ? *image_ : decode_image(detail::bytes_of(file_), name_, options_);
}

IVL_INLINE void ReceivedPicture::decode_now(std::shared_ptr<const void> room) {
  room_ = std::move(room);
  image_ = decode_image(detail::bytes_of(file_), name_, options_);
  file_ = {};
}

IVL_INLINE std::shared_ptr<const PictureSource> PictureReader::read(const std::string& url, const std::string& param) {
  if (++pictures_ > limits_.pictures)
    throw ApiError(400, param + ": expected at most " + std::to_string(limits_.pictures) + " pictures, found more",
                   param, "too_many_images");
  try {
    const auto picture = std::make_shared<ReceivedPicture>(bytes_at(url, param), param, options_);
    const std::int64_t bytes = std::int64_t(picture->size().width) * picture->size().height * 3;
    bytes_ += bytes;
    if (bytes_ > limits_.request_bytes)
      throw ApiError(400,
                     param + ": expected pictures of at most " + std::to_string(limits_.request_bytes) +
                         " decoded bytes in one request, found " + std::to_string(bytes_),
                     param, "image_too_large");
    if (!decode_) return picture;
    std::shared_ptr<const void> room = budget_.reserve(bytes);
    const auto begin = std::chrono::steady_clock::now();
    picture->decode_now(std::move(room));
    decode_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return picture;
  } catch (const ImageError&) {
    ApiError error = api_error_of(std::current_exception());
    error.param = param;
    throw error;
  }
}

IVL_INLINE std::string PictureReader::bytes_at(const std::string& url, const std::string& param) const {
  const bool is_data = url.starts_with("data:");
  if (!is_data && !url.starts_with("https://"))
    refuse(param, "expected a data: URL", fetch_ ? " or an https one" : "", ", found ", in_quotes(url));
  if (!is_data && !fetch_) {
    throw ApiError(400, param + ": expected a data: URL, found an address: this server fetches no pictures", param,
                   "unsupported_parameter");
  }
  try {
    return is_data ? http::parse_data_url(url, std::size_t(limits_.image.file_bytes)).bytes : fetch_(url);
  } catch (const RequestError& error) {
    throw ApiError(is_data ? 400 : 422, param + ": " + error.what(), param, is_data ? "" : "invalid_image_url");
  } catch (const std::exception&) {
    throw ApiError(422, param + ": the picture cannot be fetched", param, "invalid_image_url");
  }
}

}  // namespace ivl::openai
