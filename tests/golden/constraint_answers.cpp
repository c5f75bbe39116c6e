// Random answers for check_constraints.py. Reads JSON lines {"schema": text} or {"regex": text}, with "answers" and
// "seed"; writes for each a line {"refused": error} or {"answers": [text], "cut": how many had no end, "states": n}.
// Of each answer it also tries some with one byte changed, and writes those that would be taken.
#include <iostream>
#include <nlohmann/json.hpp>

#include "../text/json_tokens.hpp"

int main() {
  using nlohmann::json;
  const ivl::Tokenizer tokenizer = json_tokens::tokenizer();
  const auto tokens = std::make_shared<const ivl::TokenTrie>(tokenizer);
  for (std::string line; std::getline(std::cin, line);) {
    const json task = json::parse(line);
    std::mt19937_64 random(task["seed"].get<std::uint64_t>());
    json result = json::object();
    try {
      const auto constraint = task.contains("regex")
                                  ? ivl::Constraint::regex(tokens, task["regex"].get<std::string>())
                                  : ivl::Constraint::json_schema(tokens, task["schema"].get<std::string>());
      int cut = 0;
      result["answers"] = json::array();
      for (int i = 0; i < task["answers"].get<int>(); ++i) {
        const auto answer = json_tokens::random_answer(tokenizer, constraint, random);
        if (!answer) {
          ++cut;
          continue;
        }
        if (!json_tokens::takes(*constraint, *answer)) throw std::logic_error("its bytes are not taken: " + *answer);
        result["answers"].push_back(*answer);
        for (int change = 0; change < 20 && !answer->empty(); ++change) {
          std::string changed = *answer;
          const std::size_t at = random() % changed.size();
          constexpr std::string_view bytes = "0129-.e\"\\,: []{}abctnu";
          if (change % 2 == 0)
            changed[at] = bytes[random() % bytes.size()];
          else
            changed.erase(at, 1 + random() % 3);
          if (changed != *answer && json_tokens::takes(*constraint, changed)) result["answers"].push_back(changed);
        }
      }
      result["cut"] = cut;
      result["states"] = constraint->automaton().states();
    } catch (const ivl::RequestError& error) {
      result["refused"] = error.what();
    }
    std::cout << result.dump() << '\n';
  }
}
