// The HTTP interface that OpenAI's clients know, over a service: what is served, refused and promised is in
// docs/serving.md.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/http/exchange.hpp"
#include "ivl/http/keys.hpp"
#include "ivl/model/processor.hpp"
#include "ivl/openai/answer.hpp"
#include "ivl/openai/asked.hpp"
#include "ivl/openai/metrics.hpp"
#include "ivl/openai/pictures.hpp"
#include "ivl/serve/service.hpp"

namespace ivl::openai {

struct ApiOptions {
  std::string name = {};    ///< of the model, for clients
  http::ApiKeys keys = {};  ///< one of which a client has to show; none: all may ask
  PictureLimits pictures = {};
  FetchPicture fetch = {};       ///< of pictures at https addresses; unset: none are fetched
  std::string page = {};         ///< HTML to show at "/"; empty: there is nothing
  std::string page_policy = {};  ///< its Content-Security-Policy
  Log log = {};
};

/// Answers requests; a handler for http::Server. Any thread may call it.
class Api {
 public:
  /// Service and processor must outlive it, and it the service's requests: `Service::drain` or its destructor comes
  /// first. Throws RequestError for a processor without a tokenizer.
  Api(Service& service, const Processor& processor, ApiOptions options);
  Api(const Api&) = delete;
  Api& operator=(const Api&) = delete;

  void operator()(http::Request request, const std::shared_ptr<http::Responder>& responder);

 private:
  using Clock = Answer::Clock;
  struct Exchange {
    http::Request& request;
    std::shared_ptr<http::Responder> responder;
    Clock::time_point began;
    std::string salt;  ///< of the key
  };
  struct Route;
  static const std::vector<Route>& routes();
  static const Route& route_of(const http::Request& request);

  /// The salt of the key that the request shows. Throws ApiError 401 where keys are wanted.
  std::string check_key(const http::Request& request) const;

  void answer(const Exchange& exchange, Asked asked);
  void chat(const Exchange& exchange);
  void completions(const Exchange& exchange);
  void models(const Exchange& exchange);
  void model(const Exchange& exchange);
  void tokenize(const Exchange& exchange);
  void detokenize(const Exchange& exchange);
  void count_tokens(const Exchange& exchange);
  void health(const Exchange& exchange);
  void version(const Exchange& exchange);
  void metrics(const Exchange& exchange);
  void page(const Exchange& exchange);

  OrderedJson json_of_model() const;
  PictureReader reader(bool decode);
  void send(const Exchange& exchange, const OrderedJson& json) const;

  Service& service_;
  ApiOptions options_;
  Served served_;
  PictureBudget budget_;
  Metrics metrics_;
  std::int64_t created_s_;
};

/// What a server answers before there is an Api: 503 to everything.
void answer_while_loading(const http::Request& request, http::Responder& responder);

}  // namespace ivl::openai

#ifndef IVL_COMPILED
#include "ivl/openai/api.ipp"
#endif
