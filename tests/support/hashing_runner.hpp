// A runner without a model, for tests of what runs on top of one: answers are hashes of what a model would see.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "ivl/model/prompt.hpp"
#include "ivl/model/step.hpp"

namespace ivl_test {

using namespace ivl;

/// SplitMix64's mixing function over two numbers.
constexpr std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  std::uint64_t x = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

/// What the fake model computes. A token's key is a hash of all tokens up to it, as in a model of many layers; the
/// logits of a position are hashes of every key that it sees, in layers with and without a window.
struct HashingModel {
  static constexpr int stop_id = 1;

  int vocab_rows = 61;
  int window = 0;  ///< 0: no layers of KvGroup::window
  int repeating =
      0;            ///< percent of positions at which the next id follows from the last one alone, so that texts repeat
  int context = 0;  ///< 0: none; else keys beyond it depend on the prompt's length, as under dynamic NTK

  static std::uint64_t value_of_id(std::int32_t id) { return mixed(1, std::uint64_t(id)); }
  static std::uint64_t value_of_picture_row(const Digest& key, int row) {
    std::uint64_t begin = 0;
    std::memcpy(&begin, key.data(), sizeof begin);
    return mixed(begin, std::uint64_t(row));
  }
  std::uint64_t key(std::uint64_t key_before, std::uint64_t value, int rope_length) const {
    return mixed(key_before, context > 0 && rope_length > context ? mixed(value, std::uint64_t(rope_length)) : value);
  }
  static constexpr std::uint64_t first_key_before = 7;

  /// `key_at(group, position)` is what the pages of a group hold; `id_at_position` is negative for a picture's row.
  template <class KeyAt>
  std::vector<float> logits(int position, std::int32_t id_at_position, const KeyAt& key_at) const {
    std::uint64_t seen = 0;
    for (int p = 0; p <= position; ++p) seen = seen * 31 + key_at(KvGroup::full, p);
    if (window > 0) {
      for (int p = std::max(0, position - window + 1); p <= position; ++p)
        seen = seen * 31 + key_at(KvGroup::window, p);
    }
    std::vector<float> logits(std::size_t(vocab_rows), 0.0f);
    for (int id = 0; id < vocab_rows; ++id)
      logits[std::size_t(id)] = float(mixed(seen, std::uint64_t(id)) >> 40);  // exact
    if (id_at_position >= 0 && int(seen % 100) < repeating)
      logits[std::size_t(id_at_position * 7 + 5) % logits.size()] = 0x1p24f;  // the largest
    return logits;
  }

  static std::int32_t choose(std::span<const float> logits, const Draw& draw) {
    const auto usable = logits.first(std::size_t(draw.ids));
    if (is_greedy(draw)) return std::int32_t(std::ranges::max_element(usable) - usable.begin());
    std::uint64_t hash = std::uint64_t(draw.uniform * 0x1p53);
    for (const float x : usable) hash = mixed(hash, std::uint64_t(std::max(x, 0.0f)));
    return std::int32_t(hash % usable.size());
  }

  using ChooseId = std::function<std::int32_t(std::vector<float> logits, int number)>;

  /// The answer of a prompt alone, by the definition above: up to `longest` ids, or the stop id.
  /// `choose(logits, number)` chooses id number 0, 1, ...
  std::vector<std::int32_t> answer(const Prompt& prompt, int tokens_per_tile, int longest, int stop_id,
                                   const ChooseId& choose_id) const {
    int prompt_tokens = int(prompt.ids.size());
    for (const Prompt::Place& place : prompt.pictures) prompt_tokens += place.picture.tiles() * tokens_per_tile;
    std::vector<std::uint64_t> keys;
    const auto push = [&](std::uint64_t value) {
      const int rope_length = std::max(prompt_tokens, int(keys.size()) + 1);
      keys.push_back(key(keys.empty() ? first_key_before : keys.back(), value, rope_length));
    };
    auto place = prompt.pictures.begin();
    for (std::size_t i = 0; i <= prompt.ids.size(); ++i) {
      for (; place != prompt.pictures.end() && place->at == i; ++place) {
        for (int row = 0; row < place->picture.tiles() * tokens_per_tile; ++row)
          push(value_of_picture_row(key_of(place->picture), row));
      }
      if (i < prompt.ids.size()) push(value_of_id(prompt.ids[i]));
    }
    std::vector<std::int32_t> ids;
    const bool ends_with_picture = !prompt.pictures.empty() && prompt.pictures.back().at == prompt.ids.size();
    std::int32_t last = ends_with_picture ? -1 : prompt.ids.back();
    while (int(ids.size()) < longest) {
      const std::int32_t id = choose_id(
          logits(int(keys.size()) - 1, last, [&](KvGroup, int p) { return keys[std::size_t(p)]; }), int(ids.size()));
      if (id == stop_id) break;
      ids.push_back(last = id);
      push(value_of_id(id));
    }
    return ids;
  }
};

/// Executes steps of a HashingModel in pages and feature rows as a real runner has them: an answer is right only where
/// every page, row, position and draw of every step was.
class HashingRunner final : public AnyRunner {
 public:
  HashingRunner(const HashingModel& model, int tokens_per_tile) : model_(model) {
    facts_.vocab_rows = model.vocab_rows;
    facts_.context_length = 1 << 20;
    facts_.stop_ids = {HashingModel::stop_id};
    if (model.context > 0) facts_.rope = {.kind = RopeKind::dynamic_ntk, .context = model.context};
    sizes_ = {.hidden = 1, .tokens_per_tile = tokens_per_tile, .tile_px = TileRules{}.tile_px, .window = model.window};
    sizes_.layers[KvGroup::full] = 1;
    sizes_.layers[KvGroup::window] = model.window > 0;
  }

  const ModelFacts& facts() const override { return facts_; }
  const RunnerSizes& sizes() const override { return sizes_; }

  void make_room(const StepRoom& room) override {
    for (const KvGroup group : all_kv_groups) keys_[group].assign(std::size_t(room.pages[group]) * kv_page_tokens, 0);
    features_.assign(std::size_t(room.feature_rows), 0);
  }

  void run(const Step& step, StepResults& results) override {
    ++steps;
    rows += step.rows;
    int wanted = 0;
    for (int s = 0; s < step.sequences; ++s) {
      const int begin = step.row_begin[s], end = step.row_begin[s + 1];
      need(begin < end);
      for (int row = begin; row < end; ++row) {
        need(step.sequence_of[row] == s && step.positions[row] == step.kv_length[s] - (end - row));
        write_key(step, s, row);
        if (wanted == step.wanted || step.wanted_rows[wanted] != row) continue;
        give(step, s, row, wanted++, results);
      }
      if (fails_behind_sequence == s) {
        fails_behind_sequence = -1;
        throw std::runtime_error("the device is gone");
      }
    }
    need(wanted == step.wanted);
  }

  std::int32_t choose(std::span<const float> logits, const Draw& draw) override {
    return HashingModel::choose(logits, draw);
  }

  void cut(const Picture& picture, int first_tile) override {
    if (fails_to_cut) throw std::runtime_error("the picture is gone");
    cut_ = key_of(picture);
    tile_ = first_tile;
    layer_ = 0;
    ++cuts;
  }

  int see_on(std::span<const std::int32_t> first_rows) override {
    need(tile_ < int(first_rows.size()));
    ++pieces;
    if (std::exchange(fails_to_see, false)) {
      ++tile_;  // whatever is left behind
      throw std::runtime_error("the device is gone");
    }
    if (++layer_ < 3) return 0;
    for (int row = 0; row < sizes_.tokens_per_tile; ++row)
      features_[std::size_t(first_rows[std::size_t(tile_)] + row)] =
          HashingModel::value_of_picture_row(cut_, tile_ * sizes_.tokens_per_tile + row);
    ++tile_;
    ++tiles_seen;
    layer_ = 0;
    return 1;
  }

  void read_features(std::span<const std::int32_t>, float*) override {}
  Memory place_uses(std::span<const std::int32_t>) override { return {}; }

  std::int64_t steps = 0, rows = 0, tiles_seen = 0, pieces = 0, cuts = 0;
  bool fails_to_cut = false, fails_to_see = false;
  int fails_behind_sequence = -1;  ///< of the next step that has so many; the keys up to there are written

 private:
  static void need(bool holds) {
    if (!holds) throw std::logic_error("a step that contradicts itself");
  }

  std::uint64_t& key_at(const Step& step, int sequence, KvGroup group, int position) {
    const std::int32_t page =
        step.page_table[group][std::int64_t(sequence) * step.room().pages_per_sequence + position / kv_page_tokens];
    return keys_[group].at(std::size_t(page) * kv_page_tokens + std::size_t(position % kv_page_tokens));
  }

  void write_key(const Step& step, int sequence, int row) {
    const int position = step.positions[row];
    const std::int32_t source = step.sources[row];
    const std::uint64_t value = source < 0 ? features_.at(std::size_t(-1 - source)) : HashingModel::value_of_id(source);
    const std::uint64_t before = position == 0 ? HashingModel::first_key_before
                                               : std::uint64_t(key_at(step, sequence, KvGroup::full, position - 1));
    for (const KvGroup group : all_kv_groups) {
      if (sizes_.layers[group] > 0)
        key_at(step, sequence, group, position) = model_.key(before, value, step.rope_lengths[row]);
    }
  }

  void give(const Step& step, int sequence, int row, int wanted, StepResults& results) {
    const std::vector<float> logits =
        model_.logits(step.positions[row], step.sources[row],
                      [&](KvGroup group, int position) { return key_at(step, sequence, group, position); });
    if (step.wants[std::size_t(wanted)] == Want::token) {
      if (int(results.ids.size()) < step.wanted) results.ids.resize(std::size_t(step.wanted));
      results.ids[std::size_t(wanted)] = HashingModel::choose(logits, step.draws[std::size_t(wanted)]);
      return;
    }
    const auto width = logits.size();
    if (results.logits.size() < std::size_t(step.wanted) * width)
      results.logits.resize(std::size_t(step.wanted) * width);
    std::ranges::copy(logits, results.logits.begin() + std::ptrdiff_t(std::size_t(wanted) * width));
  }

  HashingModel model_;
  ModelFacts facts_;
  RunnerSizes sizes_;
  PerGroup<std::vector<std::uint64_t>> keys_;
  std::vector<std::uint64_t> features_;
  Digest cut_{};
  int tile_ = 0, layer_ = 0;
};

}  // namespace ivl_test
