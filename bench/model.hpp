// A whole model with random weights on any backend: what an answer costs, part by part, through the engine as a user
// runs it, beside what the machine allows: reading memory once for decoding, arithmetic alone for prefill and vision.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/options.hpp"
#include "bench/random_weights.hpp"
#include "bench/timing.hpp"
#include "ivl/checkpoint/gguf_mixture.hpp"
#include "ivl/config/published.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/thread_pool.hpp"
#include "ivl/model/load.hpp"
#include "ivl/model/runner.hpp"
#include "ivl/serve/engine.hpp"
#include "ivl/text/tokenizer.hpp"
#include "ivl/text/vocabulary.hpp"

namespace ivl::bench {

// ---- configs -----------------------------------------------------------------------------------------------------

/// A model of which so many layers fit into memory.
constexpr VlmConfig with_layers(VlmConfig config, int layers) {
  config.decoder.layers = layers;
  return config;
}

/// As published: InternVL3 has Qwen2.5's numbers, or InternLM3's, InternVL3.5 Qwen3's or GPT-OSS's.
inline ModelFacts facts_of(const VlmConfig& config) {
  ModelFacts facts;
  if (config == drawn_scenes) {
    facts.vocab_rows = 512;
    facts.context_length = 2048;
  } else if (config.decoder.attention.sinks) {
    facts.family = Family::gpt_oss;
    facts.vocab_rows = 201088;
    facts.context_length = 131072;
    facts.rope = {.kind = RopeKind::yarn, .base = 150000, .factor = 32, .context = 4096, .truncate = false};
  } else if (config == internvl3_9b) {
    facts.family = Family::internlm3;
    facts.vocab_rows = 128512;
    facts.context_length = 32768;
    facts.rope = {.kind = RopeKind::dynamic_ntk, .base = 5e7, .factor = 6, .context = 32768};
  } else if (config.decoder.attention.head_norm) {
    facts.family = config.decoder.sparse() ? Family::qwen3_moe : Family::qwen3;
    facts.vocab_rows = 151936;
    facts.context_length = 40960;
    facts.rope = {.kind = RopeKind::plain, .base = 1e6, .factor = 1, .context = 40960};
  } else {
    facts.family = Family::qwen2;
    facts.vocab_rows = 151674;
    facts.context_length = 65536;
    facts.rope = {.kind = RopeKind::dynamic_ntk, .base = 1e6, .factor = 2, .context = 32768};
  }
  return facts;
}

/// As many tokens as the model has rows: the 256 bytes that every vocabulary has, and names.
inline Tokenizer random_tokenizer(int size) {
  nlohmann::json vocabulary;
  int id = 0;
  std::string byte;
  for (int c = 0; c < 0x144; ++c) {
    const std::string letter =
        c < 0x80 ? std::string{char(c)} : std::string{char(0xC0 | c >> 6), char(0x80 | (c & 0x3F))};
    if (bytes_of_letters(letter, byte)) vocabulary[letter] = id++;
  }
  for (; id < size; ++id) vocabulary["t" + std::to_string(id)] = id;
  const nlohmann::json byte_level{{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return Tokenizer::from_json(nlohmann::json{
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array()}}},
      {"pre_tokenizer", byte_level},
      {"decoder", byte_level}}.dump());
}

// ---- what there is to do -----------------------------------------------------------------------------------------

/// Elements of the matrices of a layer that every row meets.
constexpr double shared_elements(const DecoderConfig& c) {
  const double router = double(c.hidden) * c.moe.experts;
  return double(c.hidden) * (c.attention.qkv_width() + c.attention.query_width() + 3.0 * c.mlp_hidden) + router;
}
constexpr double expert_elements(const DecoderConfig& c) { return 3.0 * c.hidden * c.moe.mlp_hidden; }

/// Elements of the matrices that one row meets.
constexpr double matrix_elements(const DecoderConfig& c) {
  return c.layers * (shared_elements(c) + c.moe.active * expert_elements(c));
}

/// Floating-point operations of `rows` tokens behind `before` others, of which the last one gets logits.
inline double prefill_flops(const DecoderConfig& c, double vocab_rows, double rows, double before) {
  const double pairs = rows * (before + (rows + 1) / 2);
  return 2 * rows * matrix_elements(c) + 4 * pairs * c.layers * c.attention.query_width() + 2 * c.hidden * vocab_rows;
}

/// Floating-point operations of tower and projector for one tile.
inline double vision_flops(const VlmConfig& config) {
  const VitConfig& c = config.vit;
  const double rows = c.tokens(), d = c.hidden, hidden = config.decoder.hidden;
  const double block = 2 * rows * d * (4 * d + 2.0 * c.mlp_hidden) + 4 * rows * rows * d;
  const double projector = 2.0 * config.tokens_per_tile() * hidden * (config.projector.input(c) + hidden);
  return 2.0 * c.patches() * c.patch_width() * d + c.layers * block + projector;
}

/// Bytes of weights as they are placed.
struct WeightBytes {
  double language = 0;  ///< without embedding and experts: what every step reads
  double experts = 0;   ///< of all layers
  double vision = 0;    ///< tower and projector
  double embedding = 0;
  double vectors = 0;  ///< biases and norms
  double all() const { return language + experts + vision + embedding + vectors; }
};

template <VlmConfig C>
WeightBytes weight_bytes_of(const Vlm<C>& vlm) {
  WeightBytes bytes;
  Vlm<C>::each_weight(vlm, [&](const char* module, int, const char* part, const auto& weight, const auto&...) {
    const auto& placed = weight.placed;
    if constexpr (requires { placed.all; }) {
      for (const Strip& strip : placed.all.strips) bytes.experts += double(strip.memory.bytes);
    } else if constexpr (requires { placed.strips; }) {
      double& sum = std::string_view(module).starts_with("language.") ? bytes.language : bytes.vision;
      for (const Strip& strip : placed.strips) sum += double(strip.memory.bytes);
    } else {
      (std::string_view(part) == "embedding.weight" ? bytes.embedding : bytes.vectors) += double(placed.memory.bytes);
    }
  });
  return bytes;
}

/// Bytes that a step of so many rows reads: matrices once, of the experts those that some row goes to (if they choose
/// at random), and the keys and values of all sequences.
inline double step_bytes(const DecoderConfig& c, const WeightBytes& weights, int rows, double kv_tokens) {
  const double chosen = c.sparse() ? 1 - std::pow(1 - double(c.moe.active) / c.moe.experts, rows) : 0;
  return weights.language + chosen * weights.experts + kv_tokens * double(kv_bytes_per_token(c));
}

// ---- measuring ---------------------------------------------------------------------------------------------------

struct Figure {
  double median = 0, ceiling = 0;
  double noise = 0;             ///< half the distance of the quartiles, as a share of the median
  double bytes = 0, flops = 0;  ///< that a step, a picture or an answer's first token takes at least; 0: no work
};

/// sample() and ceiling() in turns, both in the figure's unit.
template <class Sample, class Ceiling>
Figure measure(Sample&& sample, Ceiling&& ceiling) {
  constexpr std::size_t least = 5, most = 15;
  constexpr double enough_s = 8;
  std::vector<double> samples, ceilings;
  sample();
  double total_s = 0;
  while (samples.size() < least || (samples.size() < most && total_s < enough_s)) {
    ceilings.push_back(ceiling());
    total_s += seconds_of([&] { samples.push_back(sample()); });
  }
  std::sort(samples.begin(), samples.end());
  const auto quantile = [&](double q) { return samples[std::size_t(q * double(samples.size() - 1))]; };
  return {quantile(0.5), median(ceilings), (quantile(0.75) - quantile(0.25)) / 2 / quantile(0.5)};
}

/// `share` is of the ceiling's speed, so a time's share is the inverse.
inline void report(const Options& options, const std::string& name, const char* unit, const Figure& figure) {
  const bool is_time = std::string_view(unit) == "ms";
  const double share = is_time ? figure.ceiling / figure.median : figure.median / figure.ceiling;
  if (options.json) {
    std::printf(
        "{\"name\": \"%s\", \"median\": %.2f, \"unit\": \"%s\", \"ceiling\": %.2f, \"share\": %.3f, \"noise\": %.3f, "
        "\"bytes\": %.4g, \"flops\": %.4g}\n",
        name.c_str(), figure.median, unit, figure.ceiling, share, figure.noise, figure.bytes, figure.flops);
  } else {
    std::printf("%-22s %10.2f %-6s %10.2f %6.0f %% %6.1f %%", name.c_str(), figure.median, unit, figure.ceiling,
                100 * share, 100 * figure.noise);
    if (figure.flops > 0) std::printf(" %10.4g %10.4g", 1e-6 * figure.bytes, 1e-9 * figure.flops);
    std::printf("\n");
  }
  std::fflush(stdout);
}

/// Machine: a Context, its ceilings, and what it has to say of itself.
template <VlmConfig C, class Machine>
class ModelBench {
  using Context = Filled<typename Machine::Context>;
  static constexpr int rows = 512, text_tokens = 32, many_sequences = 8;
  static constexpr int most_context = 16384;
  static constexpr int steps = 8;  ///< of one sample of decoding
  static constexpr int most_steps = 16 * steps;

 public:
  explicit ModelBench(const Options& options)
      : options_(options),
        ctx_(Machine::open(options, std::size_t(model_bytes()))),
        vlm_(random_model(*ctx_, options.weights)),
        weight_bytes_(weight_bytes_of(vlm_)),
        tokenizer_(random_tokenizer(facts().vocab_rows)),
        runner_(*ctx_, vlm_),
        engine_(runner_, {.kv_tokens = kv_tokens, .max_sequences = many_sequences, .max_rows = rows}) {
    first_token_ms();  // everything has its memory now, and the ceilings' memory does not count yet
    ctx_->filling = false;
    memory_ = {Machine::peak_mib(*ctx_), (weight_bytes_.all() + double(cache_bytes())) / (1 << 20), 0};
    machine_.emplace(*ctx_);
  }

  void run() {
    if (!options_.json) {
      std::printf("%s\n%-22s %10s %-6s %10s %8s %8s %10s %10s\n", machine_->description().c_str(), "name", "median",
                  "unit", "ceiling", "share", "noise", "Mbyte", "Gflop");
    }
    if (options_.wanted("peak_memory")) report(options_, "peak_memory", "MiB", memory_);
    for (const int context : {1, 512, 4096, most_context}) {
      const std::string name = context == 1 ? "decode" : "decode_at_" + std::to_string(context);
      if (options_.wanted(name) && fits(context)) report(options_, name, "tok/s", decode(1, context));
    }
    if (options_.wanted("decode_8_sequences"))
      report(options_, "decode_8_sequences", "tok/s", decode(many_sequences, 512));
    for (const int context : {0, 512, 4096, most_context}) {
      const std::string name = context == 0 ? "prefill_512" : "prefill_512_at_" + std::to_string(context);
      if (options_.wanted(name) && fits(context)) report(options_, name, "tok/s", prefill(context));
    }
    if (options_.wanted("vision_1_tile")) report(options_, "vision_1_tile", "ms", vision());
    if (options_.wanted("first_token")) report(options_, "first_token", "ms", first_token());
  }

 private:
  static constexpr int kv_tokens = most_context + std::max(rows, most_steps) + 64;

  /// Weights as a folder has them, keys and values.
  static std::int64_t model_bytes() {
    const std::int64_t vocab_rows = facts_of(C).vocab_rows;
    const std::int64_t weights =
        C.decoder.attention.sinks ? weight_bytes_mxfp4(C, vocab_rows) : weight_bytes(C, vocab_rows);
    return weights + cache_bytes();
  }
  static std::int64_t cache_bytes() {
    return std::int64_t(kv_tokens + (many_sequences - 1) * 64) * kv_bytes_per_token(C.decoder);
  }

  static Vlm<C> random_model(typename Machine::Context& ctx, GgufMixture mixture) {
    Vlm<C> vlm;
    vlm.facts = facts_of(C);
    const RandomWeights weights(host_pool(ctx), weight_slots(vlm), vlm.facts, C.decoder.layers, mixture);
    place_weights(ctx, weights.binding(), "random weights");
    return vlm;
  }

  const ModelFacts& facts() const { return vlm_.facts; }
  bool fits(int context) const { return context + rows <= facts().context_length; }

  /// A sequence whose first `cached` tokens count as run already: their keys and values are what the memory holds.
  /// Another `number`, other tokens, which go to other experts.
  std::shared_ptr<Sequence> start(int length, int cached, int new_tokens, int number = 0) {
    return engine_.start({.prompt = text(length, number),
                          .generation = {.max_new_tokens = new_tokens, .ignore_stop_ids = true},
                          .tokenizer = &tokenizer_,
                          .cache_salt = std::to_string(++started_),  // nothing is taken over from the one before
                          .assumed_tokens = cached});
  }
  Prompt text(int length, int number) const {
    Prompt prompt;
    for (int i = 0; i < length; ++i) prompt.ids.push_back((i + 37 * number) % facts().vocab_rows);
    return prompt;
  }

  /// Tokens a second of all sequences together.
  Figure decode(int sequences, int context) {
    std::vector<std::shared_ptr<Sequence>> running;
    for (int i = 0; i < sequences; ++i) running.push_back(start(context, context - 1, most_steps, i));
    const double vocab_rows = facts().vocab_rows;
    double length = 0;  // in the middle of the sample
    const auto bytes = [&] { return step_bytes(C.decoder, weight_bytes_, sequences, sequences * length); };
    Figure figure = measure(
        [&] {
          const double seconds = seconds_of([&] {
            for (int i = 0; i < steps; ++i) engine_.step();
          });
          return steps * sequences / seconds;
        },
        [&] {
          length = running[0]->length() + (steps - 1) / 2.0;
          return sequences * machine_->read_bytes_per_s() / bytes();
        });
    figure.bytes = bytes();
    figure.flops = sequences * prefill_flops(C.decoder, vocab_rows, 1, length - 1);
    for (const auto& sequence : running) engine_.stop(*sequence);
    return figure;
  }

  Figure prefill(int context) {
    const double flops = prefill_flops(C.decoder, facts().vocab_rows, rows, context);
    Figure figure = measure(
        [&] {
          const auto sequence = start(context + rows, context, 1);
          return rows / seconds_of([&] { engine_.step(); });
        },
        [&] { return rows * machine_->flops_per_s() / flops; });
    figure.bytes = step_bytes(C.decoder, weight_bytes_, rows, context + rows);
    figure.flops = flops;
    return figure;
  }

  Figure vision() {
    const Picture picture = new_picture();
    const std::int32_t first_row = 0;
    Figure figure = measure(
        [&] {
          return 1e3 * seconds_of([&] {
                   see(runner_, picture, {&first_row, 1});
                   Machine::wait(*ctx_);
                 });
        },
        [&] { return 1e3 * vision_flops(C) / machine_->flops_per_s(); });
    figure.bytes = weight_bytes_.vision;
    figure.flops = vision_flops(C);
    return figure;
  }

  /// Of one tile, and unlike those before: an engine sees no picture twice.
  Picture new_picture() {
    Image image{C.vit.tile_px, C.vit.tile_px, std::vector<std::uint8_t>(3u * C.vit.tile_px * C.vit.tile_px, 100)};
    ++pictures_;
    image.rgb[0] = std::uint8_t(pictures_);
    image.rgb[1] = std::uint8_t(pictures_ >> 8);
    return Picture(std::move(image), {.tile_px = C.vit.tile_px});
  }

  /// From a decoded picture of one tile to the first token: preprocessing, vision, prefill.
  double first_token_ms() {
    Prompt prompt = text(text_tokens, 0);
    prompt.pictures.push_back({0, new_picture()});
    const auto sequence = engine_.start({.prompt = std::move(prompt),
                                         .generation = {.max_new_tokens = 1, .ignore_stop_ids = true},
                                         .tokenizer = &tokenizer_});
    const double ms = 1e3 * seconds_of([&] { engine_.step(); });
    if (sequence->error()) std::rethrow_exception(sequence->error());
    return ms;
  }
  Figure first_token() {
    constexpr int prompt = C.tokens_per_tile() + text_tokens;
    const double vocab_rows = facts().vocab_rows;
    const double flops = vision_flops(C) + prefill_flops(C.decoder, vocab_rows, prompt, 0);
    Figure figure = measure([&] { return first_token_ms(); }, [&] { return 1e3 * flops / machine_->flops_per_s(); });
    figure.bytes = weight_bytes_.vision + step_bytes(C.decoder, weight_bytes_, prompt, prompt);
    figure.flops = flops;
    return figure;
  }

  Options options_;
  std::unique_ptr<Context> ctx_;
  Vlm<C> vlm_;
  WeightBytes weight_bytes_;
  Tokenizer tokenizer_;
  Runner<C, Context> runner_;
  Engine engine_;
  int pictures_ = 0, started_ = 0;
  std::optional<Machine> machine_;
  Figure memory_;
};

template <VlmConfig C, class Machine>
void run_model(const Options& options) {
  std::make_unique<ModelBench<C, Machine>>(options)->run();
}

/// What a backend was compiled for, by name.
using CheckpointTypes = std::map<std::string, void (*)(const Options&)>;

inline void run_type(const CheckpointTypes& types, const std::string& name, const Options& options) {
  const auto type = types.find(name);
  if (type != types.end()) return type->second(options);
  std::string names;
  for (const auto& [known, run] : types) names += (names.empty() ? "" : ", ") + known;
  fail<Error>("--checkpoint-type: expected one of ", names, ", found ", name);
}

// model_cuda/, or model_without_cuda.cpp where there is no nvcc or no GPU.
CheckpointTypes internvl3_on_cuda(), internvl3_5_on_cuda(), mixtures_on_cuda();
void run_on_cuda(const std::string& checkpoint_type, const Options& options);

}  // namespace ivl::bench
