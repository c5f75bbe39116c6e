// One running conversation of an engine: its tokens, its pages, how they are chosen and the text that came out.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/ops/memory.hpp"
#include "ivl/ops/sample.hpp"
#include "ivl/serve/kv_pool.hpp"
#include "ivl/serve/options.hpp"
#include "ivl/serve/sampling.hpp"
#include "ivl/text/stream_decoder.hpp"

namespace ivl {

enum class Finish : std::uint8_t { running, stop_token, stop_string, length };

/// Projector rows of a request's pictures: [rows, hidden] in the engine's scalar and the context's memory.
struct ImageRows {
  Memory memory;
  int rows = 0;
};

/// What a model is asked: tokens in which every <IMG_CONTEXT> to be filled is `-1 - row` of `images`.
struct Prompt {
  std::vector<std::int32_t> sources;
  ImageRows images;
};

/// Made by `Engine::start`; gives its pages back when it dies. The engine must not step while one is destroyed.
class Sequence {
 public:
  Sequence(std::shared_ptr<KvPages> pages, const Tokenizer& tokenizer, Prompt prompt, GenerationOptions options,
           TextCallback on_text, int usable_ids)
      : sources(std::move(prompt.sources)),
        images(std::move(prompt.images)),
        prompt_length(int(sources.size())),
        max_new_tokens(options.max_new_tokens),
        stop_ids(std::move(options.stop_ids)),
        sampling(options.sampling),
        usable_ids(usable_ids),
        decoder(tokenizer, std::move(options.stop_strings), options.special_tokens),
        on_text(std::move(on_text)),
        pool(std::move(pages)) {}
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;
  ~Sequence() {
    for (const std::int32_t page : pages) pool->give_back(page);
  }

  bool done() const { return finish != Finish::running; }
  bool stops_at(int id) const { return std::find(stop_ids.begin(), stop_ids.end(), id) != stop_ids.end(); }
  int length() const { return int(sources.size()); }
  /// Tokens generated so far, the stop token not among them.
  std::span<const std::int32_t> generated() const { return std::span(sources).subspan(std::size_t(prompt_length)); }

  /// What its next token is drawn with.
  Draw next_draw() const {
    return draw_of(sampling, generated().size(), usable_ids, reinterpret_cast<std::uint8_t*>(seen.data));
  }

  std::vector<std::int32_t> sources;  ///< the prompt, then what was generated
  ImageRows images;
  int prompt_length;
  int max_new_tokens;
  std::vector<int> stop_ids;
  int cached = 0;  ///< tokens whose keys and values lie in the pages
  int slot = 0;    ///< its place among those running: whose ring is whose
  std::int64_t turn =
      0;            ///< when it took the slot, which is its own until the engine gives it to a later one; 0: has none
  int written = 0;  ///< positions that the slot's rings have seen, those of sequences that it took over among them
  Finish finish = Finish::running;
  std::string text;  ///< the answer so far
  SamplingOptions sampling;
  int usable_ids;  ///< that may be drawn; those behind are padding rows of the head
  Memory seen;     ///< [usable_ids] bytes, 1 where the sequence holds the id; only where there is a repetition penalty
  StreamDecoder decoder;
  TextCallback on_text;
  std::shared_ptr<KvPages> pool;
  std::vector<std::int32_t> pages;
};

}  // namespace ivl
