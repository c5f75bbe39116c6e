// Runs sequences of one model together: prefill chunks and decode rows of all of them share a step.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ivl/core/buffer.hpp"
#include "ivl/core/constant.hpp"
#include "ivl/facts/pixel_statistics.hpp"
#include "ivl/image/tile_grid.hpp"
#include "ivl/model/vlm.hpp"
#include "ivl/ops/memory.hpp"
#include "ivl/ops/picture.hpp"
#include "ivl/ops/replay.hpp"
#include "ivl/ops/sample.hpp"
#include "ivl/serve/kv_pool.hpp"
#include "ivl/serve/sequence.hpp"

namespace ivl {

/// What an engine makes room for. Nothing is allocated later but by `encode` and `start`.
struct EngineOptions {
  int kv_tokens = 4096;   ///< tokens of all sequences together; memory is touched only as they come. Layers with a
                          ///< window hold window + max_rows tokens of each sequence instead
  int max_sequences = 1;  ///< running together
  int max_rows = 512;     ///< of one step: the prefill chunk
};

template <VlmConfig C, class Context, class Scalar = bf16>
class Engine {
  static_assert(PictureOp<Context, Scalar> && SampleOps<Context> && ReplayOp<Context>,
                "Engine: include the backend's header (such as ivl/cpu/cpu.hpp) before use");
  static constexpr int hidden = C.decoder.hidden;
  static constexpr int patch_width = C.vit.patch_width();
  static constexpr std::int64_t patches_per_tile = C.vit.patches();
  static constexpr int page_tokens = 64;
  static constexpr int vision_page_tokens = int(round_up(C.vit.tokens(), kv_page_unit));
  /// Rows of one vision step: enough for a matrix product to be efficient, few enough to keep memory small.
  static constexpr int tiles_per_step = std::max(1, 2048 / C.vit.tokens());
  using Tower = VisionTower<C.vit>;
  using Language = Decoder<C.decoder>;
  using Projection = Projector<C.vit, C.projector, C.decoder.hidden>;

 public:
  /// `ctx` and `vlm` must outlive the engine. Throws RequestError for options that leave no room.
  Engine(Context& ctx, const Vlm<C>& vlm, const EngineOptions& options = {}) : ctx_(ctx), vlm_(vlm), options_(options) {
    if (options.max_sequences < 1 || options.max_rows < options.max_sequences || options.kv_tokens < 1)
      fail<RequestError>("engine: expected at least one sequence, a row for each and one token, found max_sequences ",
                         options.max_sequences, ", max_rows ", options.max_rows, ", kv_tokens ", options.kv_tokens);
    const int pages = int(ceil_div(options.kv_tokens, page_tokens)) + options.max_sequences - 1;
    pages_ = std::make_shared<KvPages>(pages, page_tokens);
    kv_page_bytes_ = kv_page_bytes(ctx, DecoderBlock<C.decoder>::attention_shape, kind_of<Scalar>, page_tokens);
    ring_ = KvRing::of(C.decoder.attention.window, options.max_rows, page_tokens, pages);
    const auto ring_pages = [&](int layer) { return C.decoder.attention.window_of(layer) > 0 ? ring_.pages : 0; };
    const auto layer_pages = [&](int layer) {
      return ring_pages(layer) > 0 ? ring_pages(layer) * options.max_sequences : pages;
    };
    std::int64_t all_pages = 0;
    for (int layer = 0; layer < C.decoder.layers; ++layer) all_pages += layer_pages(layer);
    kv_memory_ = allocate(ctx, std::size_t(kv_page_bytes_ * all_pages));
    std::byte* next = kv_memory_.data;
    for (int layer = 0; layer < C.decoder.layers; ++layer) {
      kv_[std::size_t(layer)] = {next, kv_page_bytes_, page_tokens, ring_pages(layer)};
      next += kv_page_bytes_ * layer_pages(layer);
    }
    turn_of_slot_.resize(std::size_t(options.max_sequences));

    Carver measure;
    lay_out(measure);
    memory_ = allocate(ctx, measure.used());
    Carver place(memory_.data);
    lay_out(place);
    host_step_.resize(std::size_t(step_ints()));
    host_draws_.resize(std::size_t(options.max_sequences));
    host_ids_.resize(std::size_t(options.max_sequences));
    running_.reserve(std::size_t(options.max_sequences));
    sampled_.reserve(std::size_t(options.max_sequences));
  }

  const Vlm<C>& vlm() const { return vlm_; }

  /// Vision: pictures into rows for their <IMG_CONTEXT> tokens, picture by picture, tile by tile, behind those of
  /// `before`. Throws RequestError and ImageError.
  ImageRows encode(std::span<const Image> pictures, const TileRules& rules, const ImageRows& before = {}) {
    if (pictures.empty()) return before;
    ImageRows result;
    result.rows = before.rows;
    int most_tiles = 0;
    for (const Image& picture : pictures) {
      const int tiles = choose_grid(picture.width, picture.height, rules).tiles(rules);
      result.rows += tiles * C.tokens_per_tile();
      most_tiles = std::max(most_tiles, tiles);
    }
    ensure_vision();
    ensure_patches(most_tiles);
    result.memory = allocate(ctx_, std::size_t(result.rows) * hidden * sizeof(Scalar));
    const Rows<Scalar, hidden> rows(reinterpret_cast<Scalar*>(result.memory.data), result.rows);
    copy(ctx_, result.memory.data, before.memory.data, before.memory.bytes);
    std::int64_t done = before.rows;
    for (const Image& picture : pictures) {
      const int tiles = choose_grid(picture.width, picture.height, rules).tiles(rules);
      const Rows<Scalar, patch_width> patches(reinterpret_cast<Scalar*>(vision_.patches.data),
                                              tiles * patches_per_tile);
      unfold_picture<C.vit.patch_px>(ctx_, picture, rules, statistics(), patches);
      for (int first = 0; first < tiles; first += tiles_per_step) {
        const std::int64_t now = std::min(tiles_per_step, tiles - first), tokens = now * C.tokens_per_tile();
        encode_tiles(patches.slice(first * patches_per_tile, now * patches_per_tile), rows.slice(done, tokens));
        done += tokens;
      }
    }
    return result;
  }

  /// Begins a sequence; `step` then runs it. Where its prompt begins like what `earlier` holds, those tokens' keys and
  /// values are taken over; image rows of one number must then be rows of the same picture.
  /// Throws RequestError where the prompt does not fit the context, the engine's room or the vocabulary.
  std::unique_ptr<Sequence> start(const Tokenizer& tokenizer, Prompt prompt, GenerationOptions options,
                                  TextCallback on_text = {}, std::unique_ptr<Sequence> earlier = nullptr) {
    check_prompt(prompt, options);
    const int prompt_length = int(prompt.sources.size());
    options.max_new_tokens = std::min(options.max_new_tokens, vlm_.facts.context_length - prompt_length);
    const int usable = std::min(vlm_.facts.vocab_rows, tokenizer.size());
    auto sequence = std::make_unique<Sequence>(pages_, tokenizer, std::move(prompt), std::move(options),
                                               std::move(on_text), usable);
    const int total = prompt_length + sequence->max_new_tokens;
    sequence->sources.reserve(std::size_t(total));
    sequence->pages.reserve(std::size_t(ceil_div(total, page_tokens)));
    sequence->text.reserve(std::size_t(sequence->max_new_tokens) * 8);
    note_prompt(*sequence);
    if (earlier) take_over(*earlier, *sequence);
    earlier.reset();
    reserve_pages(*sequence, total);
    if (running_.size() == std::size_t(options_.max_sequences))
      fail<RequestError>("engine: expected at most ", options_.max_sequences, " sequences, found one more");
    if (sequence->turn == 0) take_slot(*sequence);
    running_.push_back(sequence.get());
    return sequence;
  }

  /// Takes a sequence out before it is done.
  void stop(const Sequence& sequence) { std::erase(running_, &sequence); }

  /// One step of all running sequences. Returns whether any of them goes on. What a callback throws leaves here once
  /// all sequences have their token; the engine can go on.
  bool step() {
    if (running_.empty()) return false;
    const Step step = plan();
    upload(ctx_, step_memory_, host_step_.data(), host_step_.size() * sizeof(std::int32_t));
    if (step.greedy_ids == 0) upload(ctx_, draws_, host_draws_.data(), sampled_.size() * sizeof(Draw));
    run(step);
    if (!sampled_.empty()) download(ctx_, host_ids_.data(), ids_, sampled_.size() * sizeof(std::int32_t));
    for (const Planned& planned : step.parts()) {
      Sequence& sequence = *planned.sequence;
      sequence.cached += planned.rows;
      sequence.written = std::max(sequence.written, sequence.cached);
    }
    std::size_t row = 0;
    std::exception_ptr thrown;
    for (Sequence* sequence : sampled_) {
      try {
        take_token(*sequence, host_ids_[row++]);
      } catch (...) {
        thrown = std::current_exception();
      }
    }
    std::erase_if(running_, [](const Sequence* sequence) { return sequence->done(); });
    if (thrown) std::rethrow_exception(thrown);
    return !running_.empty();
  }

 private:
  // ---- one step ------------------------------------------------------------------------------------------------
  struct Planned {
    Sequence* sequence;
    int first, rows;
  };
  struct Step {
    std::span<const Planned> planned;
    Batch batch;
    const std::int32_t* rope_lengths;
    const std::int32_t* sources;
    const std::int32_t* last_rows;
    bool images = false;
    int greedy_ids =
        0;  ///< how many ids are usable where all sampled sequences take the largest logit of as many; 0: draw
    std::span<const Planned> parts() const { return planned; }
  };

  int pages_per_sequence() const { return pages_->count(); }
  std::int64_t step_ints() const {
    return 5LL * options_.max_rows + 4LL * options_.max_sequences + 1 +
           std::int64_t(options_.max_sequences) * pages_per_sequence();
  }

  /// Decides who runs how many rows, and writes the batch's arrays: on the host, and where they will lie in the
  /// context.
  Step plan() {
    std::int32_t* host = host_step_.data();
    const auto take = [&](std::int64_t number) { return std::exchange(host, host + number); };
    const auto in_context = [&](const std::int32_t* array) { return step_memory_ + (array - host_step_.data()); };
    std::int32_t* row_begin = take(options_.max_sequences + 1);
    std::int32_t* kv_length = take(options_.max_sequences);
    std::int32_t* slot_of = take(options_.max_sequences);
    std::int32_t* last_rows = take(options_.max_sequences);
    std::int32_t* sequence_of = take(options_.max_rows);
    std::int32_t* positions = take(options_.max_rows);
    std::int32_t* rope_lengths = take(options_.max_rows);
    std::int32_t* sources = take(options_.max_rows);
    std::int32_t* page_table = take(std::int64_t(options_.max_sequences) * pages_per_sequence());

    Step step;
    plan_.clear();
    sampled_.clear();
    int rows = 0;
    // Every sequence gets one row at least; what is left goes to prefill, oldest first.
    int spare = options_.max_rows - int(running_.size());
    for (Sequence* sequence : running_) {
      const int waiting = sequence->length() - sequence->cached;
      const int count = 1 + std::min(waiting - 1, spare);
      spare -= count - 1;
      const int index = int(plan_.size());
      plan_.push_back({sequence, rows, count});
      row_begin[index] = rows;
      kv_length[index] = sequence->cached + count;
      slot_of[index] = sequence->slot;
      for (int i = 0; i < count; ++i, ++rows) {
        const int position = sequence->cached + i;
        sequence_of[rows] = index;
        positions[rows] = position;
        rope_lengths[rows] = std::max(sequence->prompt_length, position + 1);
        sources[rows] = sequence->sources[std::size_t(position)];
        step.images |= sources[rows] < 0;
      }
      std::copy(sequence->pages.begin(), sequence->pages.end(),
                page_table + std::int64_t(index) * pages_per_sequence());
      step.batch.longest = std::max(step.batch.longest, kv_length[index]);
      if (count == waiting) {
        last_rows[sampled_.size()] = rows - 1;
        host_draws_[sampled_.size()] = sequence->next_draw();
        sampled_.push_back(sequence);
      }
    }
    const int sequences = int(plan_.size());
    row_begin[sequences] = rows;
    step.planned = plan_;
    step.batch.rows = rows;
    step.batch.sequences = sequences;
    step.batch.row_begin = in_context(row_begin);
    step.batch.kv_length = in_context(kv_length);
    step.batch.sequence_of = in_context(sequence_of);
    step.batch.positions = in_context(positions);
    step.batch.page_table = in_context(page_table);
    step.batch.pages_per_sequence = pages_per_sequence();
    step.batch.slot_of = in_context(slot_of);
    step.rope_lengths = in_context(rope_lengths);
    step.sources = in_context(sources);
    step.last_rows = in_context(last_rows);
    step.greedy_ids = common_greedy_ids();
    if (is_decoding(step))
      step.batch.longest = int(std::bit_ceil(unsigned(std::max(step.batch.longest, 4 * page_tokens))));
    return step;
  }

  int common_greedy_ids() const {
    const int ids = sampled_.empty() ? 0 : sampled_.front()->usable_ids;
    const auto agrees = [ids](const Sequence* sequence) {
      return is_greedy(sequence->sampling) && sequence->usable_ids == ids;
    };
    return std::all_of(sampled_.begin(), sampled_.end(), agrees) ? ids : 0;
  }

  /// Nothing but one token of each sequence: a step that comes again, and is told apart from others by little.
  bool is_decoding(const Step& step) const {
    return !step.images && step.batch.rows == step.batch.sequences &&
           sampled_.size() == std::size_t(step.batch.sequences);
  }

  void run(const Step& step) {
    if (!is_decoding(step)) return run_now(step);
    // `longest` is rounded up, so that thousands of steps share a key. Tokenizers have one size, mostly.
    const std::uint64_t key = std::uint64_t(step.batch.rows) << 48 ^
                              std::uint64_t(std::bit_width(unsigned(step.batch.longest))) << 32 ^
                              std::uint64_t(step.greedy_ids);
    replay(ctx_, recordings_, key, [&] { run_now(step); });
  }

  void run_now(const Step& step) {
    const Language& language = vlm_.language;
    const auto x = language_.x.slice(0, step.batch.rows);
    if (!step.images) {
      language.embed_rows(ctx_, step.sources, Rows<const Scalar, hidden>(), x);
    } else {
      for (const Planned& part : step.parts()) {
        const ImageRows& images = part.sequence->images;
        language.embed_rows(
            ctx_, step.sources + part.first,
            Rows<const Scalar, hidden>(reinterpret_cast<const Scalar*>(images.memory.data), images.rows),
            x.slice(part.first, part.rows));
      }
    }
    language.forward(ctx_, step.batch, kv_, vlm_.facts.rope, step.rope_lengths, vlm_.facts.language_norm_eps,
                     language_);
    if (sampled_.empty()) return;
    const auto logits = logits_.slice(0, std::int64_t(sampled_.size()));
    language.head_logits(ctx_, step.last_rows, vlm_.facts.language_norm_eps, language_, logits);
    if (step.greedy_ids > 0) {
      argmax(ctx_, Rows<const float>(logits.data, logits.count, step.greedy_ids, logits.stride), ids_);
    } else {
      draw(ctx_, draws_, logits, ids_);
    }
  }

  /// The sequence has its token, and knows whether it is done, before its callback may throw.
  void take_token(Sequence& sequence, int id) {
    const auto give = [&](std::string_view text) {
      sequence.text += text;
      if (sequence.on_text && !text.empty()) sequence.on_text(text);
    };
    if (sequence.stops_at(id)) {
      sequence.finish = Finish::stop_token;
      return give(sequence.decoder.finish());
    }
    sequence.sources.push_back(id);
    if (sequence.length() - sequence.prompt_length == sequence.max_new_tokens) sequence.finish = Finish::length;
    const std::string_view text = sequence.decoder.push(id);
    if (sequence.decoder.stopped_by()) sequence.finish = Finish::stop_string;
    give(text);
    if (sequence.finish != Finish::length) return;
    const std::string_view held_back = sequence.decoder.finish();
    if (sequence.decoder.stopped_by()) sequence.finish = Finish::stop_string;
    give(held_back);
  }

  // ---- starting --------------------------------------------------------------------------------------------------
  void check_prompt(const Prompt& prompt, const GenerationOptions& options) const {
    const int context = vlm_.facts.context_length;
    if (prompt.sources.empty()) fail<RequestError>("prompt: expected at least one token, found none");
    if (prompt.sources.size() >= std::size_t(context))
      fail<RequestError>("prompt: expected fewer tokens than the model's context of ", context, ", found ",
                         prompt.sources.size());
    if (options.max_new_tokens < 1)
      fail<RequestError>("max_new_tokens: expected at least 1, found ", options.max_new_tokens);
    check(options.sampling);
    for (const std::int32_t source : prompt.sources) {
      if (source >= vlm_.facts.vocab_rows)
        fail<RequestError>("prompt: token ", source, " is not in the model's vocabulary of ", vlm_.facts.vocab_rows);
      if (source < 0 && -1 - source >= prompt.images.rows)
        fail<RequestError>("prompt: it wants image row ", -1 - source, ", but its pictures have ", prompt.images.rows);
    }
  }

  /// Only a repetition penalty asks which ids a sequence holds. Those of pictures, and ids that no one draws, do not
  /// count.
  void note_prompt(Sequence& sequence) {
    if (sequence.sampling.repetition_penalty == 1) return;
    std::vector<std::uint8_t> seen(std::size_t(sequence.usable_ids));
    for (const std::int32_t source : sequence.sources) {
      if (source >= 0 && source < sequence.usable_ids) seen[std::size_t(source)] = 1;
    }
    sequence.seen = allocate(ctx_, seen.size());
    upload(ctx_, sequence.seen.data, seen.data(), seen.size());
  }

  /// Keeps what two conversations share: pages of `earlier` for as many tokens as both begin with.
  void take_over(Sequence& earlier, Sequence& sequence) {
    const auto limit = std::min({earlier.cached, earlier.length(), sequence.length() - 1});
    int common = 0;
    while (common < limit && earlier.sources[std::size_t(common)] == sequence.sources[std::size_t(common)]) ++common;
    // Beyond the context, dynamic NTK rotates a prompt's keys by the prompt's whole length.
    const int longest_prompt = std::max(earlier.prompt_length, sequence.prompt_length);
    if (vlm_.facts.rope.kind == RopeKind::dynamic_ntk && longest_prompt > vlm_.facts.rope.context) common = 0;
    const bool rings_are_its = turn_of_slot_[std::size_t(earlier.slot)] == earlier.turn;
    if (ring_.pages > 0 && !(rings_are_its && ring_.holds(common, earlier.written))) common = 0;
    if (ring_.pages > 0 && common > 0) {
      sequence.slot = earlier.slot;
      sequence.turn = earlier.turn;
      sequence.written = earlier.written;
    }
    sequence.cached = common;
    const std::size_t kept = std::size_t(ceil_div(common, page_tokens));
    sequence.pages.assign(earlier.pages.begin(), earlier.pages.begin() + std::ptrdiff_t(kept));
    earlier.pages.erase(earlier.pages.begin(), earlier.pages.begin() + std::ptrdiff_t(kept));
  }

  /// Of the slots that no running sequence has, the one that was taken longest ago: rings of sequences that ended last
  /// are the likeliest to be taken over.
  void take_slot(Sequence& sequence) {
    int oldest = -1;
    for (int slot = 0; slot < options_.max_sequences; ++slot) {
      const auto has_it = [slot](const Sequence* running) { return running->slot == slot; };
      if (std::any_of(running_.begin(), running_.end(), has_it)) continue;
      if (oldest < 0 || turn_of_slot_[std::size_t(slot)] < turn_of_slot_[std::size_t(oldest)]) oldest = slot;
    }
    sequence.slot = oldest;
    sequence.turn = turn_of_slot_[std::size_t(oldest)] = ++turns_;
  }

  void reserve_pages(Sequence& sequence, int total) {
    const int wanted = int(ceil_div(total, page_tokens)) - int(sequence.pages.size());
    if (wanted > pages_->free())
      fail<RequestError>("engine: the prompt and its answer need room for ", total, " tokens, but of ",
                         pages_->count() * page_tokens, " only ",
                         (pages_->free() + int(sequence.pages.size())) * page_tokens, " are free");
    for (int i = 0; i < wanted; ++i) sequence.pages.push_back(pages_->take());
  }

  // ---- memory ----------------------------------------------------------------------------------------------------
  void lay_out(Carver& carver) {
    language_ = Language::template Scratch<Scalar>::carve(carver, options_.max_rows);
    logits_ = Rows<float>(carver.take<float>(std::int64_t(options_.max_sequences) * vlm_.facts.vocab_rows),
                          options_.max_sequences, vlm_.facts.vocab_rows);
    ids_ = carver.take<std::int32_t>(options_.max_sequences);
    draws_ = carver.take<Draw>(options_.max_sequences);
    step_memory_ = carver.take<std::int32_t>(step_ints());
  }

  PixelStatistics statistics() const {
    const ImageFacts& facts = vlm_.facts.image;
    return {{facts.mean[0], facts.mean[1], facts.mean[2]},
            {facts.deviation[0], facts.deviation[1], facts.deviation[2]}};
  }

  // ---- vision ----------------------------------------------------------------------------------------------------
  struct Vision {
    Memory memory;
    Memory patches;  ///< of one picture; as large as the largest so far
    Rows<Scalar, C.vit.hidden> x;
    typename Tower::template Scratch<Scalar> tower;
    typename Projection::template Scratch<Scalar> projector;
    std::int32_t* tables = nullptr;
    KvView kv;
  };

  void lay_out_vision(Carver& carver) {
    constexpr std::int64_t tiles = tiles_per_step, rows = tiles * C.vit.tokens();
    vision_.x = {carver.take<Scalar>(rows * C.vit.hidden), rows};
    vision_.tower = Tower::template Scratch<Scalar>::carve(carver, tiles);
    vision_.projector = Projection::template Scratch<Scalar>::carve(carver, tiles);
    vision_.tables = carver.take<std::int32_t>(3 * tiles + 1 + 2 * rows);
    const std::int64_t page_bytes =
        kv_page_bytes(ctx_, VitBlock<C.vit>::attention_shape, kind_of<Scalar>, vision_page_tokens);
    vision_.kv = {carver.take<std::byte>(tiles * page_bytes), page_bytes, vision_page_tokens};
  }

  /// A text-only conversation never pays for the tower's memory.
  void ensure_vision() {
    if (vision_.memory.data != nullptr) return;
    Carver measure;
    lay_out_vision(measure);
    vision_.memory = allocate(ctx_, measure.used());
    Carver place(vision_.memory.data);
    lay_out_vision(place);

    // A tile is a sequence of its own with one page, and all of its rows are new.
    std::vector<std::int32_t> tables;
    for (int tile = 0; tile <= tiles_per_step; ++tile) tables.push_back(tile * C.vit.tokens());
    for (int tile = 0; tile < tiles_per_step; ++tile) tables.push_back(C.vit.tokens());
    for (int tile = 0; tile < tiles_per_step; ++tile) tables.push_back(tile);
    for (int row = 0; row < tiles_per_step * C.vit.tokens(); ++row) tables.push_back(row / C.vit.tokens());
    for (int row = 0; row < tiles_per_step * C.vit.tokens(); ++row) tables.push_back(row % C.vit.tokens());
    upload(ctx_, vision_.tables, tables.data(), tables.size() * sizeof(std::int32_t));
  }

  void ensure_patches(int tiles) {
    const std::size_t bytes = std::size_t(tiles * patches_per_tile) * patch_width * sizeof(Scalar);
    if (bytes <= vision_.patches.bytes) return;
    vision_.patches = {};  // before there is more
    vision_.patches = allocate(ctx_, bytes);
  }

  void encode_tiles(Rows<const Scalar, patch_width> patches, Rows<Scalar, hidden> y) {
    Batch batch;
    batch.sequences = int(patches.count / patches_per_tile);
    batch.rows = batch.sequences * C.vit.tokens();
    batch.row_begin = vision_.tables;
    batch.kv_length = batch.row_begin + tiles_per_step + 1;
    batch.page_table = batch.kv_length + tiles_per_step;
    batch.sequence_of = batch.page_table + tiles_per_step;
    batch.positions = batch.sequence_of + tiles_per_step * C.vit.tokens();
    batch.pages_per_sequence = 1;
    batch.longest = C.vit.tokens();
    const auto x = vision_.x.slice(0, batch.rows);
    vlm_.vision.forward(ctx_, patches, batch, vision_.kv, vlm_.facts.vision_norm_eps, vision_.tower, x);
    vlm_.projector.forward(ctx_, x, vision_.projector, y);
  }

  Context& ctx_;
  const Vlm<C>& vlm_;
  EngineOptions options_;
  std::shared_ptr<KvPages> pages_;
  KvRing ring_;
  std::vector<std::int64_t> turn_of_slot_;  ///< when each slot was taken last, counted in `turns_`
  std::int64_t turns_ = 0;
  std::int64_t kv_page_bytes_ = 0;
  Memory kv_memory_, memory_;
  std::array<KvView, std::size_t(C.decoder.layers)> kv_;
  typename Language::template Scratch<Scalar> language_;
  Rows<float> logits_;
  std::int32_t *ids_ = nullptr, *step_memory_ = nullptr;
  Draw* draws_ = nullptr;
  Vision vision_;
  std::vector<std::int32_t> host_step_;
  std::vector<Draw> host_draws_;
  std::vector<std::int32_t> host_ids_;
  std::vector<Sequence*> running_, sampled_;
  std::vector<Planned> plan_;
  typename Context::Recordings recordings_;
};

}  // namespace ivl
