// What a client is told when its request is not answered: OpenAI's form of an error.
//
// Whose words it may hold: sentences of ours about the request itself (ApiError, RequestError and ImageError), which
// quote at most 100 bytes of it. What a library says (a decoder, the JSON parser, the system) stays here, and so does
// everything about the server: such errors are "the request failed".
#pragma once
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/http/exchange.hpp"

namespace ivl::openai {

/// An error with its place in the protocol.
struct ApiError : Error {
  /// `param`: the field that it is about, such as "messages[0].content[1].image_url"; empty where there is none, as
  /// `code`.
  ApiError(int status, const std::string& message, std::string param = "", std::string code = "")
      : Error(message), status(status), param(std::move(param)), code(std::move(code)) {}

  int status;  ///< of HTTP
  std::string param, code;
};

/// OpenAI's `type` for a status.
constexpr std::string_view type_of(int status) {
  if (status == 401) return "authentication_error";
  if (status == 404) return "not_found_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/// Throws for a field that is not what it has to be: status 400, and a message that begins with the field's place.
template <class... Parts>
[[noreturn]] void refuse(const std::string& param, const Parts&... parts) {
  throw ApiError(400, param + ": " + ivl::detail::error_text({ivl::detail::ErrorPart(parts)...}), param);
}

/// Throws for a field that asks for what is not served.
[[noreturn]] void refuse_unsupported(const std::string& param, std::string_view way_out = "");

/// What to say about anything that was thrown: BusyError 503, RoomError 400 `context_length_exceeded`, RequestError
/// and ImageError 400, and 500 without a word of it for all else.
ApiError api_error_of(const std::exception_ptr& thrown);

/// An error's own words, for a log.
std::string words_of(const std::exception_ptr& thrown);

/// {"error": {"message", "type", "param", "code"}}; at most 1000 bytes of message.
std::string body_of(const ApiError& error);

/// The whole answer: with `Retry-After: 1` where it is worth asking again.
void send_error(http::Responder& responder, const ApiError& error, http::Fields fields = {});

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/error.ipp"
#endif
