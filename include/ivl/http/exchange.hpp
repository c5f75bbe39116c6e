// One HTTP request and where its answer goes, apart from any socket.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ivl::http {

using Fields = std::vector<std::pair<std::string, std::string>>;

/// As it was received, whole and within the server's limits.
struct Request {
  std::string method;  ///< "GET"
  std::string path;    ///< without the query; as it was sent, nothing in it is decoded
  std::string query;
  Fields fields;  ///< names in lower case
  std::string body;

  /// The value of the first field of that name, in lower case; empty where there is none.
  std::string_view field(std::string_view name) const {
    for (const auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return {};
  }
};

/// Where the answer goes. Any thread may call; what is called after the client has gone does nothing.
class Responder {
 public:
  virtual ~Responder() = default;

  /// The whole answer.
  virtual void send(int status, std::string_view content_type, std::string body, Fields fields = {}) = 0;

  /// An answer in parts: its head, then parts, then its end.
  virtual void begin(int status, std::string_view content_type, Fields fields = {}) = 0;
  virtual void write(std::string part) = 0;
  virtual void end() = 0;

  /// What to do when the client goes away before the end, and when more than the server's limit waits to be sent
  /// (`full`), or no longer does. Called from the server's thread, at once if it is so already. To be set before
  /// `begin`; whoever waits for neither sets neither.
  virtual void when_gone(std::function<void()> action) = 0;
  virtual void when_backlog(std::function<void(bool full)> action) = 0;
};

/// Called for each request on one of the server's workers, where it may take its time. What it throws is logged and
/// answered with status 500, without its text.
using Handler = std::function<void(Request request, std::shared_ptr<Responder> responder)>;

}  // namespace ivl::http
