// One step of a language model as plain data, on the host: a scheduler writes it, a runner executes it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "ivl/facts/model_facts.hpp"
#include "ivl/image/picture.hpp"
#include "ivl/ops/memory.hpp"
#include "ivl/ops/sample.hpp"

namespace ivl {

/// Layers that keep the keys and values of every token, and layers with a sliding window: a page belongs to one group,
/// and holds `kv_page_tokens` tokens of one sequence in all of the group's layers.
enum class KvGroup : std::uint8_t { full, window };
inline constexpr int kv_group_count = 2;
inline constexpr int kv_page_tokens = 64;

/// One number or pointer for each group.
template <class Value>
struct PerGroup {
  std::array<Value, kv_group_count> of_group{};
  Value& operator[](KvGroup group) { return of_group[std::size_t(group)]; }
  const Value& operator[](KvGroup group) const { return of_group[std::size_t(group)]; }
};
inline constexpr KvGroup all_kv_groups[] = {KvGroup::full, KvGroup::window};

/// What of one row comes back.
enum class Want : std::uint8_t {
  token,   ///< the id that its Draw chooses; -1 where the model has gone wrong (ops/sample.hpp)
  logits,  ///< [vocab_rows]; no id
  hidden,  ///< [hidden]: the last layer's output, before the final norm; no id
};

/// What a runner makes room for, and no step exceeds.
struct StepRoom {
  int rows = 0;       ///< of one step
  int sequences = 0;  ///< of one step
  int wanted = 0;     ///< rows of one step that give something back
  PerGroup<int> pages{};
  int pages_per_sequence = 0;  ///< of page tables
  int feature_rows = 0;        ///< of pictures, held until they are overwritten
};

/// The rows of one step, in memory for as many as its room says; one block of integers, so that one copy moves it.
/// Rows of sequence s are [row_begin[s], row_begin[s + 1]): its newest tokens, in order.
class Step {
 public:
  Step() = default;
  explicit Step(const StepRoom& room) : room_(room), block_(std::size_t(ints(room))) {
    std::int32_t* next = block_.data();
    const auto take = [&next](std::int64_t number) { return std::exchange(next, next + number); };
    row_begin = take(room.sequences + 1);
    kv_length = take(room.sequences);
    sequence_of = take(room.rows);
    positions = take(room.rows);
    rope_lengths = take(room.rows);
    sources = take(room.rows);
    wanted_rows = take(room.wanted);
    for (const KvGroup group : all_kv_groups)
      page_table[group] = take(std::int64_t(room.sequences) * room.pages_per_sequence);
    wants.resize(std::size_t(room.wanted));
    draws.resize(std::size_t(room.wanted));
  }
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  Step(Step&&) = default;
  Step& operator=(Step&&) = default;

  static std::int64_t ints(const StepRoom& room) {
    return room.sequences + 1 + room.sequences + 4LL * room.rows + room.wanted +
           std::int64_t(kv_group_count) * room.sequences * room.pages_per_sequence;
  }
  const StepRoom& room() const { return room_; }
  std::span<const std::int32_t> block() const { return block_; }

  int rows = 0;
  int sequences = 0;
  int wanted = 0;
  int longest = 0;                       ///< the largest kv_length
  bool pictures = false;                 ///< whether a source is the row of a picture
  std::int32_t* row_begin = nullptr;     ///< [sequences + 1]
  std::int32_t* kv_length = nullptr;     ///< [sequences]: tokens with keys after the step
  std::int32_t* sequence_of = nullptr;   ///< [rows]
  std::int32_t* positions = nullptr;     ///< [rows]
  std::int32_t* rope_lengths = nullptr;  ///< [rows]: see ops/rope.hpp
  std::int32_t* sources = nullptr;       ///< [rows]: token id, or -1 - number of a feature row
  std::int32_t* wanted_rows = nullptr;   ///< [wanted]
  PerGroup<std::int32_t*> page_table{};  ///< [sequences, pages_per_sequence]
  std::vector<Want> wants;               ///< [wanted]
  std::vector<Draw> draws;               ///< [wanted], where the want is a token

 private:
  StepRoom room_;
  std::vector<std::int32_t> block_;
};

/// What came back of a step. A row that did not want a kind of result holds arbitrary values there.
struct StepResults {
  std::vector<std::int32_t> ids;  ///< [wanted]
  std::vector<float> logits;      ///< [wanted, vocab_rows]
  std::vector<float> hidden;      ///< [wanted, hidden]
};

/// Sizes of a model that a scheduler has to know.
struct RunnerSizes {
  int hidden = 0;
  int tokens_per_tile = 0;
  int tile_px = 0;
  int window = 0;                       ///< of the layers of KvGroup::window
  PerGroup<int> layers{};               ///< 0: the model has no such group
  PerGroup<std::int64_t> page_bytes{};  ///< of one page in all of the group's layers
};

/// Executes steps for one model, whichever it is. Serves one caller at a time, and one room: who makes room anew ends
/// what was kept in the old one.
class AnyRunner {
 public:
  virtual ~AnyRunner() = default;
  virtual const ModelFacts& facts() const = 0;
  virtual const RunnerSizes& sizes() const = 0;

  /// Allocates everything that steps of this room need, but for the tower's, which waits for the first picture. Throws
  /// where keys and values find no memory.
  virtual void make_room(const StepRoom& room) = 0;

  /// Embeds, runs all layers, and brings back what is wanted. Allocates nothing in the steady state.
  virtual void run(const Step& step, StepResults& results) = 0;

  /// Chooses from logits that the caller changed: [vocab_rows] on the host.
  virtual std::int32_t choose(std::span<const float> logits, const Draw& draw) = 0;

  /// Cuts a picture into tiles, of which `see_on` sees those from `first_tile` on. The picture before is forgotten.
  virtual void cut(const Picture& picture, int first_tile) = 0;

  /// Takes the tower one layer further over a few of the tiles that were cut, and returns how many are seen by that:
  /// mostly none. Tile t's rows become feature rows [first_rows[t], first_rows[t] + tokens_per_tile). So short are its
  /// pieces that steps can come between them.
  virtual int see_on(std::span<const std::int32_t> first_rows) = 0;

  /// Feature rows as floats: to [rows.size(), hidden].
  virtual void read_features(std::span<const std::int32_t> rows, float* to) = 0;

  /// What a sequence holds, for Draw::uses, in the runner's memory.
  virtual Memory place_uses(std::span<const std::int32_t> uses) = 0;
};

/// Sees a whole picture at once.
inline void see(AnyRunner& runner, const Picture& picture, std::span<const std::int32_t> first_rows) {
  runner.cut(picture, 0);
  for (std::size_t seen = 0; seen < first_rows.size();) seen += std::size_t(runner.see_on(first_rows));
}

}  // namespace ivl
