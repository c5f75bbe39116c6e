// The bodies of api.hpp.
#pragma once
#include <algorithm>
#include <cstdint>
#include <utility>

#include "ivl/core/quotes.hpp"
#include "ivl/core/version.hpp"
#include "ivl/openai/api.hpp"

namespace ivl::openai {

namespace detail {

/// Behind "Bearer ", whose case does not matter; empty where there is none.
inline std::string_view bearer_of(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() < scheme.size()) return {};
  for (std::size_t n = 0; n < scheme.size(); ++n) {
    if ((authorization[n] | 0x20) != (scheme[n] | 0x20)) return {};
  }
  return authorization.substr(scheme.size());
}

}  // namespace detail

/// A path is itself, or one with anything behind it where it ends in a slash.
struct Api::Route {
  std::string_view method, path;
  void (Api::*answer)(const Exchange& exchange);
  bool guarded = true;
};

IVL_INLINE const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> routes{{"POST", "/v1/chat/completions", &Api::chat},
                                         {"POST", "/v1/completions", &Api::completions},
                                         {"POST", "/v1/chat/completions/input_tokens", &Api::count_tokens},
                                         {"GET", "/v1/models", &Api::models},
                                         {"GET", "/v1/models/", &Api::model},
                                         {"POST", "/tokenize", &Api::tokenize},
                                         {"POST", "/detokenize", &Api::detokenize},
                                         {"GET", "/metrics", &Api::metrics},
                                         {"GET", "/health", &Api::health, false},
                                         {"GET", "/version", &Api::version, false},
                                         {"GET", "/", &Api::page, false}};  // a file that holds no secret
  return routes;
}

IVL_INLINE const Api::Route& Api::route_of(const http::Request& request) {
  for (const Route& route : routes()) {
    const bool prefix = route.path.size() > 1 && route.path.ends_with('/');
    if (prefix ? !request.path.starts_with(route.path) || request.path.size() == route.path.size()
               : request.path != route.path)
      continue;
    // An answer to HEAD is sent without its body.
    if (request.method != route.method && !(request.method == "HEAD" && route.method == "GET"))
      throw ApiError(405, "method: expected " + std::string(route.method) + " for " + in_quotes(request.path) +
                              ", found " + in_quotes(request.method));
    return route;
  }
  throw ApiError(404, "path: nothing is served at " + in_quotes(request.path));
}

IVL_INLINE Api::Api(Service& service, const Processor& processor, ApiOptions options)
    : service_(service),
      options_(std::move(options)),
      served_{processor, options_.name, std::min(processor.facts().context_length, service.options().kv_tokens)},
      budget_(options_.pictures.total_bytes),
      created_s_(new_heading(Endpoint::chat, "").created_s) {
  served_.constraints = std::make_shared<Constraints>(std::make_shared<const TokenTrie>(processor.tokenizer()));
  // What one alone may not take is refused for good.
  options_.pictures.request_bytes = std::min(options_.pictures.request_bytes, options_.pictures.total_bytes);
}

IVL_INLINE void Api::operator()(http::Request request, const std::shared_ptr<http::Responder>& responder) {
  const Clock::time_point began = Clock::now();
  try {
    const Route& route = route_of(request);
    Exchange exchange{request, responder, began, route.guarded ? check_key(request) : ""};
    (this->*route.answer)(exchange);
  } catch (...) {
    const ApiError error = api_error_of(std::current_exception());
    if (error.status == 500 && options_.log) options_.log("a request failed: " + words_of(std::current_exception()));
    http::Fields fields;
    if (error.status == 401) fields.emplace_back("WWW-Authenticate", "Bearer");
    if (error.status == 405) {
      for (const Route& route : routes()) {
        if (route.path == request.path || (route.path == "/v1/models/" && request.path.starts_with(route.path)))
          fields.emplace_back("Allow", route.method);
      }
    }
    send_error(*responder, error, std::move(fields));
  }
}

IVL_INLINE std::string Api::check_key(const http::Request& request) const {
  if (options_.keys.size() == 0) return "";
  const std::string_view shown = detail::bearer_of(request.field("authorization"));
  const std::optional<Digest> known = options_.keys.find(shown);
  if (!known)
    throw ApiError(401,
                   shown.empty() ? "Authorization: expected Bearer and an API key, found none"
                                 : "Authorization: the API key is not known here",
                   "", "invalid_api_key");
  return std::string(known->begin(), known->end());
}

IVL_INLINE void Api::send(const Exchange& exchange, const OrderedJson& json) const {
  exchange.responder->send(200, "application/json", text_of_json(json));
}

// ---- questions
// -------------------------------------------------------------------------------------------------------
IVL_INLINE PictureReader Api::reader(bool decode) {
  return {options_.pictures, budget_, options_.fetch, served_.processor.decode_options(), decode};
}

IVL_INLINE void Api::answer(const Exchange& exchange, Asked asked) {
  // Two keys share nothing, whatever salt their requests bring.
  asked.cache_salt = exchange.salt + asked.cache_salt;
  metrics_.answers.observe(asked.answers);
  for (const Picture& picture : asked.pictures) metrics_.image_tiles.observe(picture.tiles());
  if (!asked.pictures.empty()) metrics_.image_decode_s.observe(asked.image_decode_s);
  const auto answer = std::make_shared<Answer>(service_, served_, metrics_, options_.log, std::move(asked),
                                               exchange.responder, exchange.began);
  answer->start();
}

IVL_INLINE void Api::chat(const Exchange& exchange) {
  try {
    const Json body = read_body(exchange.request);
    PictureReader pictures = reader(true);
    answer(exchange, read_chat(body, exchange.request.body, served_, pictures));
  } catch (...) {
    metrics_.count_rejection(api_error_of(std::current_exception()).status);
    throw;
  }
}

IVL_INLINE void Api::completions(const Exchange& exchange) {
  try {
    answer(exchange, read_completion(read_body(exchange.request), exchange.request.body, served_));
  } catch (...) {
    metrics_.count_rejection(api_error_of(std::current_exception()).status);
    throw;
  }
}

// ---- tokens
// ----------------------------------------------------------------------------------------------------------
namespace detail {

/// As the reference's tokenizer has them: <IMG_CONTEXT> for each row of a picture.
inline std::vector<int> ids_with_pictures(const Prompt& prompt, const Processor& processor) {
  const int context = processor.tokenizer().id_of(image_context_token).value_or(-1);
  std::vector<int> ids;
  auto place = prompt.pictures.begin();
  for (std::size_t at = 0; at <= prompt.ids.size(); ++at) {
    for (; place != prompt.pictures.end() && place->at == at; ++place)
      ids.insert(ids.end(), std::size_t(processor.tokens_of(place->picture)), context);
    if (at < prompt.ids.size()) ids.push_back(prompt.ids[at]);
  }
  return ids;
}

}  // namespace detail

IVL_INLINE void Api::tokenize(const Exchange& exchange) {
  const Json json = read_body(exchange.request);
  const BodyFields body(json);
  check_model(body, served_);
  Prompt prompt;
  if (body.find("messages")) {
    PictureReader pictures = reader(false);
    std::vector<Picture> unused;
    prompt = read_conversation(body, served_, pictures, unused);
  } else {
    const auto text = body.text("prompt", max_json_bytes);
    if (!text) refuse("prompt", "expected a string, or messages in place of it, found none");
    prompt = prompt_of_text(*text, served_.processor, body.flag("add_special_tokens").value_or(true));
  }
  const std::vector<int> ids = detail::ids_with_pictures(prompt, served_.processor);
  OrderedJson result{{"count", ids.size()}, {"max_model_len", served_.context}, {"tokens", ids}};
  if (body.flag("return_token_strs").value_or(false)) {
    OrderedJson texts = OrderedJson::array();
    for (const int id : ids) texts.push_back(text_of_token(served_.processor.tokenizer(), id));
    result["token_strs"] = std::move(texts);
  }
  send(exchange, result);
}

IVL_INLINE void Api::detokenize(const Exchange& exchange) {
  const Json json = read_body(exchange.request);
  const BodyFields body(json);
  check_model(body, served_);
  if (!body.find("tokens")) refuse("tokens", "expected an array of token ids, found none");
  const std::vector<int> ids = body.ids("tokens", max_body_values, served_.processor.facts().vocab_rows);
  send(exchange, {{"prompt", served_.processor.tokenizer().decode(ids, SpecialTokens::keep)}});
}

IVL_INLINE void Api::count_tokens(const Exchange& exchange) {
  const Json json = read_body(exchange.request);
  const BodyFields body(json);
  check_model(body, served_);
  PictureReader reader_of_sizes = reader(false);
  std::vector<Picture> pictures;
  const Prompt prompt = read_conversation(body, served_, reader_of_sizes, pictures);
  const int tokens = served_.processor.tokens_of(prompt);
  OrderedJson details = details_of({}, pictures);
  details.erase("stages");
  send(exchange, {{"object", "response.input_tokens"},
                  {"input_tokens", tokens},
                  {"input_tokens_details", {{"image_tokens", tokens - int(prompt.ids.size())}}},
                  {"ivl", std::move(details)}});
}

// ---- the server
// ------------------------------------------------------------------------------------------------------
IVL_INLINE OrderedJson Api::json_of_model() const {
  return {{"id", served_.name},
          {"object", "model"},
          {"created", created_s_},
          {"owned_by", "ivl"},
          {"max_model_len", served_.context}};
}

IVL_INLINE void Api::models(const Exchange& exchange) {
  send(exchange, {{"object", "list"}, {"data", OrderedJson::array({json_of_model()})}});
}

/// A name with slashes is taken as it is: nothing in a path is decoded.
IVL_INLINE void Api::model(const Exchange& exchange) {
  const std::string name = exchange.request.path.substr(std::string_view("/v1/models/").size());
  if (name != served_.name)
    throw ApiError(404, "model: expected " + in_quotes(served_.name) + ", found " + in_quotes(name), "model",
                   "model_not_found");
  send(exchange, json_of_model());
}

IVL_INLINE void Api::health(const Exchange& exchange) { send(exchange, {{"status", "ok"}}); }

IVL_INLINE void Api::version(const Exchange& exchange) { send(exchange, {{"version", ivl::version}}); }

IVL_INLINE void Api::metrics(const Exchange& exchange) {
  exchange.responder->send(200, "text/plain; version=0.0.4; charset=utf-8",
                           metrics_.text(service_.status(), served_.name));
}

IVL_INLINE void Api::page(const Exchange& exchange) {
  if (options_.page.empty()) throw ApiError(404, "path: nothing is served at '/'");
  exchange.responder->send(200, "text/html; charset=utf-8", options_.page,
                           {{"Content-Security-Policy", options_.page_policy}});
}

IVL_INLINE void answer_while_loading(const http::Request&, http::Responder& responder) {
  send_error(responder, ApiError(503, "the model is being loaded", "", "loading"));
}

}  // namespace ivl::openai
