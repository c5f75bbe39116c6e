// An API over a runner without a model, and clients without sockets.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/http/exchange.hpp"
#include "ivl/model/checkpoint.hpp"
#include "ivl/openai/api.hpp"
#include "ivl/serve/service.hpp"

namespace ivl_test {

using namespace ivl;

/// What a client got.
struct Received {
  int status = 0;
  std::string type, body;
  http::Fields fields;

  Json json() const { return Json::parse(body); }
  std::string field(std::string_view name) const {
    for (const auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return "";
  }
  /// The data of each event.
  std::vector<std::string> events() const {
    std::vector<std::string> events;
    std::string_view left = body;
    while (!left.empty()) {
      REQUIRE(left.starts_with("data: "));
      const std::size_t end = left.find("\n\n");
      REQUIRE(end != left.npos);
      events.emplace_back(left.substr(6, end - 6));
      left.remove_prefix(end + 2);
    }
    return events;
  }
};

/// Keeps what is sent to it.
class FakeClient final : public http::Responder {
 public:
  void send(int status, std::string_view type, std::string body, http::Fields fields) override {
    const std::lock_guard lock(mutex_);
    CHECK_FALSE(begun_);
    received_ = {status, std::string(type), std::move(body), std::move(fields)};
    close();
  }
  void begin(int status, std::string_view type, http::Fields fields) override {
    const std::lock_guard lock(mutex_);
    CHECK_FALSE(begun_);
    received_ = {status, std::string(type), "", std::move(fields)};
    begun_ = true;
  }
  void write(std::string part) override {
    const std::lock_guard lock(mutex_);
    CHECK(begun_);
    CHECK_FALSE(ended_);
    received_.body += part;
    changed_.notify_all();
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    CHECK(begun_);
    close();
  }
  void when_gone(std::function<void()> action) override { gone_ = std::move(action); }
  void when_backlog(std::function<void(bool)> action) override { backlog_ = std::move(action); }

  void go() const { gone_(); }
  void fill(bool full) const { backlog_(full); }
  /// Until the answer has ended, or its body holds `part`.
  Received wait(std::string_view part = {}) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, std::chrono::seconds(60), [&] {
      return ended_ || (!part.empty() && received_.body.find(part) != std::string::npos);
    }));
    return received_;
  }
  bool ended() const {
    const std::lock_guard lock(mutex_);
    return ended_;
  }

 private:
  void close() {
    CHECK_FALSE(ended_);
    ended_ = true;
    changed_.notify_all();
  }
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Received received_;
  bool begun_ = false, ended_ = false;
  std::function<void()> gone_;
  std::function<void(bool)> backlog_;
};

/// Says the same to everybody: behind `prompt_tokens`, the script, and then the token that ends answers. A token of the
/// script has a logit of ln 4, all others 0.
class ScriptRunner final : public AnyRunner {
 public:
  explicit ScriptRunner(const Processor& processor) : end_(processor.end_token()), facts_(processor.facts()) {
    sizes_ = {.hidden = 1, .tokens_per_tile = 16, .tile_px = processor.tile_rules().tile_px};
    sizes_.layers[KvGroup::full] = 1;
  }
  const ModelFacts& facts() const override { return facts_; }
  const RunnerSizes& sizes() const override { return sizes_; }
  void make_room(const StepRoom&) override {}
  void run(const Step& step, StepResults& results) override {
    if (breaks.exchange(false)) throw std::runtime_error("0xdeadbeef: the device is gone");
    if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    while (holds) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const std::size_t width = std::size_t(facts_.vocab_rows);
    results.ids.resize(std::size_t(step.wanted));
    results.logits.assign(std::size_t(step.wanted) * width, 0);
    for (int n = 0; n < step.wanted; ++n) {
      const std::size_t at = std::size_t(step.positions[step.wanted_rows[n]] + 1 - prompt_tokens);
      const int id = at < script.size() ? script[at] : end_;
      results.ids[std::size_t(n)] = id;
      results.logits[std::size_t(n) * width + std::size_t(id)] = std::log(4.0f);
    }
  }
  std::int32_t choose(std::span<const float> logits, const Draw&) override {
    return std::int32_t(std::ranges::max_element(logits) - logits.begin());
  }
  void cut(const Picture& picture, int) override { picture.image(); }
  int see_on(std::span<const std::int32_t>) override { return 1; }
  void read_features(std::span<const std::int32_t>, float*) override {}
  Memory place_uses(std::span<const std::int32_t>) override { return {}; }

  std::vector<int> script;
  std::atomic<int> prompt_tokens = 0;
  std::atomic<bool> breaks = false, holds = false, slow = false;

 private:
  int end_;
  ModelFacts facts_;
  RunnerSizes sizes_;
};

/// Whether the condition comes true.
template <class Condition>
bool comes_true(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!condition() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return condition();
}

inline std::filesystem::path toy_folder() {
  return std::filesystem::path(IVL_SOURCE_DIR) / "examples/drawn_scenes/checkpoint";
}

inline std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string to_base64(std::string_view bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t bits = 0;
    for (std::size_t n = 0; n < 3; ++n) bits = bits << 8 | (at + n < bytes.size() ? std::uint8_t(bytes[at + n]) : 0);
    for (int n = 3; n >= 0; --n) text += digits[bits >> 6 * n & 63];
  }
  for (std::size_t n = 0; n < (3 - bytes.size() % 3) % 3; ++n) text[text.size() - 1 - n] = '=';
  return text;
}

/// A picture of the demo as a part of a message.
inline Json picture_part(std::string_view name, const Json& more = Json::object()) {
  Json image = more;
  image["url"] = "data:image/png;base64," + to_base64(bytes_of_file(toy_folder() / "../demo" / name));
  return {{"type", "image_url"}, {"image_url", image}};
}

inline Json text_part(std::string_view text) { return {{"type", "text"}, {"text", text}}; }

inline Json user_message(const Json& content) { return {{"role", "user"}, {"content", content}}; }

/// Room for one conversation, or for several.
inline ServiceOptions room_for(int sequences) {
  return {.engine = {.kv_tokens = 1024 * sequences, .max_sequences = sequences}};
}

/// `Runner` has to be made of a processor.
template <class Runner>
struct ApiOn {
  Processor processor = load_processor(toy_folder());
  Runner runner{processor};
  Service service;
  std::vector<std::string> log;
  openai::Api api;

  explicit ApiOn(openai::ApiOptions options = {}, const ServiceOptions& served = room_for(1))
      : service(runner, served), api(service, processor, with_log(std::move(options))) {}
  ~ApiOn() { service.drain(); }

  std::shared_ptr<FakeClient> send(http::Request request) {
    const auto client = std::make_shared<FakeClient>();
    api(std::move(request), client);
    return client;
  }
  std::shared_ptr<FakeClient> post(std::string_view path, const Json& body, std::string_view key = {}) {
    http::Request request{"POST", std::string(path), "", {{"content-type", "application/json"}}, body.dump()};
    if (!key.empty()) request.fields.emplace_back("authorization", "Bearer " + std::string(key));
    return send(std::move(request));
  }
  std::shared_ptr<FakeClient> get(std::string_view path) { return send({"GET", std::string(path), "", {}, ""}); }

 private:
  openai::ApiOptions with_log(openai::ApiOptions options) {
    options.name = "toy";
    options.log = [this](const std::string& line) { log.push_back(line); };
    return options;
  }
};

}  // namespace ivl_test
