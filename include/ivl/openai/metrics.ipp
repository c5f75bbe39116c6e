// The bodies of metrics.hpp.
#pragma once
#include <algorithm>
#include <charconv>

#include "ivl/openai/metrics.hpp"

namespace ivl::openai {

namespace detail {

/// The shortest text that reads back as the number.
inline std::string number_text(double number) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

inline void write_head(std::string& text, std::string_view name, std::string_view type, std::string_view help) {
  text.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ");
  text.append(type).append("\n");
}

inline void write_line(std::string& text, std::string_view name, std::string_view labels, double value) {
  text.append(name).append("{").append(labels).append("} ").append(number_text(value)).append("\n");
}

inline void write_value(std::string& text, std::string_view name, std::string_view type, std::string_view help,
                        std::string_view labels, double value) {
  write_head(text, name, type, help);
  write_line(text, name, labels, value);
}

/// In quotes, as the format wants it.
inline std::string label_text(std::string_view value) {
  std::string text = "\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return text + "\"";
}

}  // namespace detail

IVL_INLINE void Histogram::observe(double value) {
  const auto bucket = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  counts_[std::size_t(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

IVL_INLINE void Histogram::write(std::string& text, std::string_view name, std::string_view help,
                                 std::string_view labels) const {
  detail::write_head(text, name, "histogram", help);
  const std::string all(labels), base(name);
  std::uint64_t count = 0;
  for (std::size_t bucket = 0; bucket <= bounds_.size(); ++bucket) {
    count += counts_[bucket].load(std::memory_order_relaxed);
    const std::string bound = bucket < bounds_.size() ? detail::number_text(bounds_[bucket]) : "+Inf";
    detail::write_line(text, base + "_bucket", all + ",le=\"" + bound + "\"", double(count));
  }
  detail::write_line(text, base + "_sum", labels, sum_.load(std::memory_order_relaxed));
  detail::write_line(text, base + "_count", labels, double(count));
}

IVL_INLINE void Metrics::count_rejection(int status) { ++(status == 503 ? overloaded_ : refused_); }

IVL_INLINE void Metrics::count_finish(Finish finish) {
  switch (finish) {
    case Finish::length:
      ++cut_;
      break;
    case Finish::cancelled:
      ++aborted_;
      break;
    case Finish::error:
      ++failed_;
      break;
    default:
      ++stopped_;
  }
}

IVL_INLINE std::string Metrics::text(const ServiceStatus& status, const std::string& model) const {
  const EngineStatus& s = status.engine;
  const std::string labels = "model_name=" + detail::label_text(model) + ",engine=\"0\"";
  std::string text;
  const auto gauge = [&](std::string_view name, std::string_view help, double value) {
    detail::write_value(text, name, "gauge", help, labels, value);
  };
  const auto counter = [&](std::string_view name, std::string_view help, double value) {
    detail::write_value(text, name, "counter", help, labels, value);
  };
  gauge("ivl:num_requests_running", "Requests whose answers are being written.", s.running);
  gauge("ivl:num_requests_waiting", "Requests that wait for their turn.", status.waiting);
  gauge("ivl:num_requests_paused", "Requests whose clients read too slowly.", s.paused);
  gauge("ivl:kv_cache_usage_perc", "Share of the pages of keys and values in use, 1 being all.",
        s.pages > 0 ? double(s.used_pages) / s.pages : 0);
  counter("ivl:num_preemptions_total", "Times that a request gave its pages away.", double(s.preemptions));
  counter("ivl:prompt_tokens_total", "Tokens of prompts.", double(s.prompt_tokens));
  counter("ivl:prompt_tokens_cached_total", "Tokens of prompts that were known.", double(s.cached_tokens));
  counter("ivl:generation_tokens_total", "Tokens of answers.", double(s.new_tokens));
  counter("ivl:prefix_cache_queries_total", "Tokens of prompts that were looked up.", double(s.prompt_tokens));
  counter("ivl:prefix_cache_hits_total", "Tokens of prompts that were found.", double(s.cached_tokens));
  counter("ivl:mm_cache_queries_total", "Pictures that were looked up.", double(s.pictures));
  counter("ivl:mm_cache_hits_total", "Pictures that were found.", double(s.known_pictures));
  counter("ivl:engine_steps_total", "Steps of the engine.", double(s.steps));
  counter("ivl:engine_rows_total", "Rows of these steps.", double(s.rows));

  detail::write_head(text, "ivl:request_success_total", "counter", "Answers, by how they ended.");
  const auto finished = [&](std::string_view reason, const std::atomic<std::uint64_t>& number) {
    detail::write_line(text, "ivl:request_success_total", labels + ",finished_reason=" + detail::label_text(reason),
                       double(number));
  };
  finished("stop", stopped_);
  finished("length", cut_);
  finished("abort", aborted_);
  finished("error", failed_);
  detail::write_head(text, "ivl:admission_rejections_total", "counter", "Requests that were not taken, by why.");
  const auto rejected = [&](std::string_view reason, const std::atomic<std::uint64_t>& number) {
    detail::write_line(text, "ivl:admission_rejections_total", labels + ",reason=" + detail::label_text(reason),
                       double(number));
  };
  rejected("overloaded", overloaded_);
  rejected("refused", refused_);

  const auto histogram = [&](const Histogram& values, std::string_view name, std::string_view help) {
    values.write(text, name, help, labels);
  };
  histogram(time_to_first_token_s, "ivl:time_to_first_token_seconds", "From the request to the first text.");
  histogram(inter_token_latency_s, "ivl:inter_token_latency_seconds", "Between pieces of text.");
  histogram(time_per_output_token_s, "ivl:request_time_per_output_token_seconds",
            "Mean of a request, after its first.");
  histogram(request_latency_s, "ivl:e2e_request_latency_seconds", "From the request to the end of its answer.");
  histogram(queue_s, "ivl:request_queue_time_seconds", "Waiting for its turn.");
  histogram(inference_s, "ivl:request_inference_time_seconds", "Running.");
  histogram(prefill_s, "ivl:request_prefill_time_seconds", "Up to the first token, without pictures.");
  histogram(decode_s, "ivl:request_decode_time_seconds", "From the first token to the last.");
  histogram(prompt_tokens, "ivl:request_prompt_tokens", "Tokens of a prompt.");
  histogram(generation_tokens, "ivl:request_generation_tokens", "Tokens of an answer.");
  histogram(max_tokens, "ivl:request_params_max_tokens", "Tokens that an answer might have had.");
  histogram(answers, "ivl:request_params_n", "Answers asked for.");
  histogram(preemptions, "ivl:request_num_preemptions", "Times that a request gave its pages away.");
  histogram(image_decode_s, "ivl:image_decode_seconds", "Decoding a request's pictures.");
  histogram(image_tiles, "ivl:image_tiles", "Tiles of a picture.");
  histogram(vision_s, "ivl:vision_encode_seconds", "A request's pictures in the vision tower.");
  return text;
}

}  // namespace ivl::openai
