// The bodies of error.hpp.
#pragma once
#include <nlohmann/json.hpp>
#include <utility>

#include "ivl/openai/error.hpp"
#include "ivl/serve/service.hpp"

namespace ivl::openai {

IVL_INLINE void refuse_unsupported(const std::string& param, std::string_view way_out) {
  throw ApiError(400, (param + ": not supported here").append(way_out.empty() ? "" : ": ").append(way_out), param,
                 "unsupported_parameter");
}

namespace detail {

/// An ImageError without what a decoder's library said behind these words.
inline std::string without_library_text(std::string message) {
  constexpr std::string_view ours = ": cannot decode the picture";
  if (const std::size_t at = message.find(ours); at != message.npos) message.resize(at + ours.size());
  return message;
}

}  // namespace detail

IVL_INLINE ApiError api_error_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const ApiError& error) {
    return error;
  } catch (const BusyError& error) {
    return ApiError(503, error.what(), "", "overloaded");
  } catch (const RoomError& error) {
    return ApiError(400, error.what(), "", "context_length_exceeded");
  } catch (const RequestError& error) {
    return ApiError(400, error.what());
  } catch (const ImageError& error) {
    const std::string message = detail::without_library_text(error.what());
    const bool too_large = message.find(": expected at most ") != message.npos;  // ImageLimits
    return ApiError(400, message, "", too_large ? "image_too_large" : "invalid_image");
  } catch (...) {
    return ApiError(500, "the request failed; the server's log has the reason");
  }
}

IVL_INLINE std::string words_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an exception of another kind";
  }
}

IVL_INLINE std::string body_of(const ApiError& error) {
  constexpr std::size_t most_bytes = 1000;
  std::string message = error.what();
  if (message.size() > most_bytes) message = message.substr(0, most_bytes) + "...";
  const auto or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
  };
  const nlohmann::ordered_json body{{"error",
                                     {{"message", message},
                                      {"type", type_of(error.status)},
                                      {"param", or_null(error.param)},
                                      {"code", or_null(error.code)}}}};
  return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

IVL_INLINE void send_error(http::Responder& responder, const ApiError& error, http::Fields fields) {
  if (error.status == 503 || error.status == 429) fields.emplace_back("Retry-After", "1");
  responder.send(error.status, "application/json", body_of(error), std::move(fields));
}

}  // namespace ivl::openai
