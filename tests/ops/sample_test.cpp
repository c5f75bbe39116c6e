#include "ivl/cpu/sample.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

namespace {

using namespace ivl;

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

TEST_CASE("argmax takes the lowest id of a row's largest logits") {
  cpu::Context ctx(2);
  // Rows of four; what lies in the gaps would be larger.
  const std::vector<float> memory{-3,        -1,        -2,     -1,        infinity,  //
                                  -0.0f,     0,         0,      -1,        infinity,  //
                                  -infinity, -infinity, -1e38f, -infinity, infinity,  //
                                  1,         2,         3,      infinity,  infinity};
  std::vector<std::int32_t> ids(6, -1);
  argmax(ctx, Rows<const float>(memory.data(), 4, 4, 5), ids.data() + 1);
  CHECK(ids == std::vector<std::int32_t>{-1, 1, 0, 2, 3, -1});
  argmax(ctx, Rows<const float>(memory.data() + 3, 1, 1), ids.data());
  CHECK(ids[0] == 0);
}

TEST_CASE("argmax gives -1 where a logit is NaN, wherever it stands, or none is above -infinity") {
  cpu::Context ctx(1);
  for (const int width : {1, 2, 15, 16, 17, 40}) {
    CAPTURE(width);
    const auto id_of = [&](const std::vector<float>& row) {
      std::int32_t id = -7;
      argmax(ctx, Rows<const float>(row.data(), 1, width), &id);
      return id;
    };
    for (int at = 0; at < width; ++at) {
      std::vector<float> row(std::size_t(width), -infinity);
      CHECK(id_of(row) == -1);
      row[std::size_t(at)] = -3;
      CHECK(id_of(row) == at);
      row[std::size_t(at)] = infinity;
      CHECK(id_of(row) == at);
      for (const float others : {1.0f, infinity, -infinity}) {
        row.assign(std::size_t(width), others);
        row[std::size_t(at)] = not_a_number;
        CHECK(id_of(row) == -1);
        row[std::size_t(at)] = -not_a_number;
        CHECK(id_of(row) == -1);
      }
    }
  }
}

// ---- draw --------------------------------------------------------------------------------------------------------

/// What part of [0, 1) draws an id.
struct Share {
  std::int32_t id;
  double begin, end;
};

/// In the order of the ids' shares, from the definition.
std::vector<Share> shares_of(const Draw& draw, const float* logits) {
  std::vector<double> x(logits, logits + draw.ids);
  for (int id = 0; id < draw.ids; ++id) {
    double& logit = x[std::size_t(id)];
    if (!draw.uses || draw.uses[id] == 0) continue;
    logit = logit > 0 ? logit / draw.repetition_penalty : logit * draw.repetition_penalty;
    if (draw.uses[id] > 1)
      logit -= double(draw.frequency_penalty) * (draw.uses[id] - 1) + double(draw.presence_penalty);
  }
  std::vector<std::int32_t> order;
  for (int id = 0; id < draw.ids; ++id) order.push_back(id);
  const auto by_likelihood = [&](std::int32_t a, std::int32_t b) { return x[std::size_t(a)] > x[std::size_t(b)]; };
  std::stable_sort(order.begin(), order.end(), by_likelihood);
  const double largest = x[std::size_t(order[0])];
  const auto weight = [&](std::int32_t id) {
    return std::exp((x[std::size_t(id)] - largest) / double(draw.temperature));
  };
  const bool fewer = draw.top_k > 0 && draw.top_k < draw.ids;
  if (fewer) {
    auto end = order.begin() + draw.top_k;
    while (end != order.end() && x[std::size_t(*end)] == x[std::size_t(order[std::size_t(draw.top_k - 1)])]) ++end;
    order.erase(end, order.end());
  }
  double total = 0, sum = 0;
  for (const std::int32_t id : order) total += weight(id);
  std::size_t kept = 0;
  while (kept < order.size() && (kept == 0 || (sum < double(draw.top_p) * total && weight(order[kept]) >= draw.min_p)))
    sum += weight(order[kept++]);
  order.resize(kept);
  if (!fewer && draw.top_p == 1 && draw.min_p == 0) std::sort(order.begin(), order.end());
  std::vector<Share> shares;
  double before = 0;
  for (const std::int32_t id : order) {
    shares.push_back({id, before / sum, (before + weight(id)) / sum});
    before += weight(id);
  }
  return shares;
}

/// Rows that lie apart, with NaN between them.
struct Drawing {
  std::int64_t width;
  std::vector<float> memory = {};
  std::vector<Draw> draws = {};
  std::vector<std::int32_t> wanted = {};
  std::vector<std::vector<std::int32_t>> uses = {};

  void add(const std::vector<float>& logits, Draw draw, std::int32_t id) {
    memory.insert(memory.end(), logits.begin(), logits.end());
    memory.insert(memory.end(), 3, not_a_number);
    uses.emplace_back(draw.ids);
    if (draw.uses) uses.back().assign(draw.uses, draw.uses + draw.ids);
    draws.push_back(draw);
    wanted.push_back(id);
  }

  void check(cpu::Context& ctx) {
    for (std::size_t r = 0; r < draws.size(); ++r) draws[r].uses = draws[r].uses ? uses[r].data() : nullptr;
    const std::vector<std::vector<std::int32_t>> uses_before = uses;
    std::vector<std::int32_t> ids(draws.size() + 1, -1);
    draw(ctx, draws.data(), Rows<float>(memory.data(), std::int64_t(draws.size()), width, width + 3), ids.data());
    REQUIRE(ids.back() == -1);
    for (std::size_t r = 0; r < draws.size(); ++r) {
      CAPTURE(r);
      CAPTURE(draws[r].uniform);
      REQUIRE(ids[r] == wanted[r]);
      for (int i = 0; i < 3; ++i) REQUIRE(std::isnan(memory[(r + 1) * std::size_t(width + 3) - std::size_t(i) - 1]));
      std::vector<std::int32_t> expected = uses_before[r];
      if (draws[r].uses && ids[r] >= 0) expected[std::size_t(ids[r])] = std::max(expected[std::size_t(ids[r])], 1) + 1;
      REQUIRE(uses[r] == expected);
    }
  }
};

TEST_CASE("draw gives each id its share of the random numbers, in the order and with the cuts of its definition") {
  cpu::Context ctx(3);
  for (const int width : {1, 2, 13, 300, 3000}) {
    CAPTURE(width);
    std::mt19937 random{unsigned(width)};
    std::normal_distribution<float> normal(0, 2);
    std::vector<float> logits;
    for (int id = 0; id < width; ++id) logits.push_back(id % 7 == 6 ? logits.back() : normal(random));  // equals, too
    if (width > 2) logits[2] = logits.back() = -infinity;
    std::vector<std::int32_t> held(logits.size());
    for (std::size_t id = 0; id < held.size(); id += 3) held[id] = 1 + std::int32_t(id / 3 % 4);

    Drawing drawing{width};
    for (const float temperature : {0.4f, 3.0f}) {
      for (const Draw& setting :
           {Draw{}, Draw{.top_k = 5}, Draw{.top_k = 2000}, Draw{.top_p = 0.9f}, Draw{.top_p = 0.3f},
            Draw{.min_p = 0.1f}, Draw{.top_k = 40, .top_p = 0.8f, .min_p = 0.02f}, Draw{.repetition_penalty = 1.7f},
            Draw{.top_k = 9, .repetition_penalty = 0.6f}, Draw{.frequency_penalty = 0.7f},
            Draw{.top_p = 0.8f, .presence_penalty = -1.5f},
            Draw{.repetition_penalty = 1.2f, .frequency_penalty = -0.3f, .presence_penalty = 0.9f}}) {
        Draw draw = setting;
        draw.temperature = temperature;
        draw.ids = std::max(1, width - int(drawing.draws.size()) % 5);  // what lies behind is not looked at
        if (draw.repetition_penalty != 1 || draw.frequency_penalty != 0 || draw.presence_penalty != 0)
          draw.uses = held.data();
        const std::vector<Share> shares = shares_of(draw, logits.data());
        const std::size_t apart = 1 + shares.size() / 12;
        for (std::size_t n = 0; n < shares.size(); ++n) {
          if (n % apart != 0 && n + 1 != shares.size()) continue;  // a dozen of them, and the last
          const double share = shares[n].end - shares[n].begin;
          // Edges are off by what floats round: an argument of exp of at most 50, off by 2^-24 of itself three times,
          // puts 9e-6 of a weight elsewhere. A tenth of the smallest share here is more.
          if (share < 1e-4) continue;
          for (const double at : {0.1, 0.5, 0.9}) {
            draw.uniform = shares[n].begin + at * share;
            drawing.add(logits, draw, shares[n].id);
          }
        }
        draw.uniform = 0;
        const auto has_one = [](const Share& share) { return share.end > share.begin; };
        drawing.add(logits, draw, std::find_if(shares.begin(), shares.end(), has_one)->id);
        draw.uniform = 1 - 0x1p-53;
        drawing.add(logits, draw, std::find_if(shares.rbegin(), shares.rend(), has_one)->id);
      }
    }
    drawing.check(ctx);
  }
}

TEST_CASE("draw without a temperature takes the largest logit, after the penalties") {
  cpu::Context ctx(2);
  std::vector<std::int32_t> held{1, 0, 0, 1}, of_answer{3, 0, 2, 1};
  Drawing drawing{4};
  drawing.add({2, 1.9f, 0, 9}, {.repetition_penalty = 1.1f, .ids = 3, .uses = held.data()}, 1);  // 2 / 1.1 < 1.9
  drawing.add({2, 1.8f, 0, 9}, {.repetition_penalty = 1.1f, .ids = 3, .uses = held.data()}, 0);  // 2 / 1.1 > 1.8
  drawing.add({2, 1.8f, 0, 9}, {.repetition_penalty = 1.1f, .ids = 4, .uses = held.data()}, 3);
  drawing.add({-1, -1.05f, -3, 9}, {.repetition_penalty = 1.1f, .ids = 2, .uses = held.data()}, 1);  // -1.1 < -1.05
  drawing.add({2, 1, 1.8f, 3}, {.frequency_penalty = 0.5f, .ids = 3, .uses = of_answer.data()}, 2);  // 1, 1, 1.3
  drawing.add({2, 1, 1.8f, 3}, {.presence_penalty = 0.5f, .ids = 3, .uses = of_answer.data()}, 0);   // 1.5, 1, 1.3
  drawing.add({2, 1, 1.8f, 3}, {.presence_penalty = 5, .ids = 4, .uses = of_answer.data()}, 3);      // of the prompt
  drawing.add({2, 1, 1.8f, 3}, {.presence_penalty = 5, .ids = 4, .uses = held.data()}, 3);
  drawing.add({2, 1, 1.8f, 3},
              {.repetition_penalty = 2,
               .frequency_penalty = 0.3f,
               .presence_penalty = 0.2f,
               .ids = 3,
               .uses = of_answer.data()},
              1);  // 1 - 0.6 - 0.2, 1, 0.9 - 0.3 - 0.2
  drawing.add({1, 3, 3, 9}, {.ids = 3}, 1);
  drawing.check(ctx);
  draw(ctx, static_cast<const Draw*>(nullptr), Rows<float>(nullptr, 0, 4), nullptr);
}

TEST_CASE("draw keeps no token more than top-p needs, and every one that min-p lets pass") {
  cpu::Context ctx(1);
  Drawing drawing{3};
  drawing.add({2, 2, 9}, {.uniform = 0.9, .temperature = 1, .top_p = 0.5f, .ids = 2}, 0);
  drawing.add({2, 2, 9}, {.uniform = 0.9, .temperature = 1, .min_p = 1, .ids = 2}, 1);
  drawing.check(ctx);
}

TEST_CASE("a top-k of all ids, or of more, draws in the order of ids, as none does") {
  cpu::Context ctx(1);
  Drawing drawing{3};
  for (const int top_k : {0, 3, 4}) {  // shares by id: 0.09, 0.24, 0.67
    for (const auto& [uniform, id] : {std::pair(0.05, 0), std::pair(0.2, 1), std::pair(0.9, 2)})
      drawing.add({0, 1, 2}, {.uniform = uniform, .temperature = 1, .top_k = top_k, .ids = 3}, id);
  }
  drawing.check(ctx);
}

TEST_CASE("a top-k keeps all that equal the last of it, in the order of ids") {
  cpu::Context ctx(1);
  Drawing drawing{7};
  for (const int top_k : {2, 3}) {  // of 1, 2 and 5 one is within, and all are as likely
    for (const auto& [uniform, id] :
         {std::pair(0.1, 3), std::pair(0.5, 1), std::pair(0.7, 2), std::pair(0.9, 5), std::pair(0.99, 5)})
      drawing.add({0, 1, 1, 2, 0.9f, 1, -infinity}, {.uniform = uniform, .temperature = 1, .top_k = top_k, .ids = 7},
                  id);
  }
  drawing.add({1, 1, 1, 1, 1, 1, 1}, {.uniform = 0.99, .temperature = 1, .top_k = 1, .ids = 7}, 6);
  drawing.add({-infinity, 2, -infinity, -infinity, -infinity, 1, -infinity},
              {.uniform = 0.99, .temperature = 1, .top_k = 3, .ids = 7}, 5);
  drawing.check(ctx);
}

TEST_CASE("draw gives no id without a weight, however its sums round") {
  cpu::Context ctx(1);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 2);
  const Draw last{.uniform = 1 - 0x1p-53, .temperature = 0.2f, .ids = 60};  // weights that no double can add up
  for (int row = 0; row < 100; ++row) {
    std::vector<float> logits(60);
    for (float& logit : logits) logit = normal(random);
    logits[59] = -infinity;
    std::int32_t id = -1;
    draw(ctx, &last, Rows<float>(logits.data(), 1, 60), &id);
    CHECK(id != 59);
  }
}

TEST_CASE("draw takes what argmax takes where the largest logit is not finite, or one is NaN") {
  cpu::Context ctx(1);
  const float nan = not_a_number;
  Drawing drawing{4};
  std::vector<std::int32_t> held(4);
  drawing.add({nan, 1, 2, 3}, {.repetition_penalty = 1.1f, .ids = 4, .uses = held.data()}, -1);
  for (const Draw& setting :
       {Draw{.uniform = 0.9}, Draw{.uniform = 0.9, .top_k = 2}, Draw{.uniform = 0.9, .top_p = 0.9f},
        Draw{.uniform = 0.9, .top_k = 3, .top_p = 0.99f, .min_p = 0.01f}}) {
    Draw draw = setting;
    draw.temperature = 1;
    draw.ids = 4;
    drawing.add({1, infinity, infinity, -infinity}, draw, 1);
    drawing.add({-infinity, -infinity, -infinity, -infinity}, draw, -1);
    drawing.add({nan, 1, 2, 3}, draw, -1);
    drawing.add({-20, 30, 3, nan}, draw, -1);
    drawing.add({1, infinity, infinity, nan}, draw, -1);
    drawing.add({nan, nan, nan, nan}, draw, -1);
    draw.ids = 3;
    drawing.add({-infinity, -5, -infinity, nan}, draw, 1);
  }
  drawing.check(ctx);
}

}  // namespace
