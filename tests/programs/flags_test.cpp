// What every program says of itself, and how it ends.
#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ivl/core/simd.hpp"
#include "ivl/core/version.hpp"
#include "ivl/files/json.hpp"
#include "ivl/files/safetensors.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "tests/programs/run.hpp"

using namespace ivl;
using namespace ivl::programs;

namespace {

const char* const all_programs[] = {"ask_many",       "batch_chat",        "batch_of_prompts", "chat",
                                    "convert",        "custom_checkpoint", "describe_image",   "hello_world",
                                    "inspect_inputs", "list_checkpoints",  "look_inside",      "one_block",
                                    "quantise",       "sessions",          "several_pictures", "take_logits"};

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= 0x20 && c < 0x7f); });
}

}  // namespace

TEST_CASE("every program says what it is for, in printable text") {
  for (const std::string program : all_programs) {
    CAPTURE(program);
    const Ran help = run(program + " --help");
    CHECK(help.code == 0);
    CHECK(help.err.empty());
    CHECK(is_printable(help.out));
    CHECK(contains(help.out, "--help"));
    CHECK(contains(help.out, "--version"));
    const Ran version = run(program + " --version");
    CHECK(version.code == 0);
    CHECK(version.out.starts_with("ivl " + std::string(ivl::version) + ", built for "));
    CHECK(is_printable(version.out));
  }
}

TEST_CASE("a flag that nobody knows ends with code 2 and its name") {
  for (const std::string program : all_programs) {
    CAPTURE(program);
    const Ran wrong = run(program + " --no-such-flag");
    CHECK(wrong.code == 2);
    CHECK(wrong.out.empty());
    CHECK(is_printable(wrong.err));
  }
  const Ran format = run("convert --from a --to b --format xml");
  CHECK(format.code == 2);
  CHECK(contains(format.err, "github"));
  CHECK(is_printable(format.err));
}

TEST_CASE("--thinking brings its own system message") {
  for (const std::string program : {"describe_image", "chat"}) {
    CAPTURE(program);
    const Ran both = run(program + " --checkpoint x --thinking --system y");
    CHECK(both.code == 2);
    CHECK(contains(both.err, "--system excludes --thinking"));
  }
}

TEST_CASE("an answer that cannot be written is an error") {
  for (const std::string redirection : {" >/dev/full", " >&-"}) {
    CAPTURE(redirection);
    const std::vector<std::string> commands = {"describe_image" + toy + balloons, "list_checkpoints",
                                               "inspect_inputs --checkpoint examples/drawn_scenes/checkpoint",
                                               "describe_image --help"};
    for (const std::string& command : commands) {
      CAPTURE(command);
      const Ran lost = run(command + redirection);
      CHECK(lost.code == 1);
      CHECK(contains(lost.err, "error: standard output: cannot write"));
    }
  }
}

TEST_CASE("an answer that is cut says so") {
  const Ran cut = run("describe_image" + toy + " --image " + demo + "balloons.png --max-new-tokens 2");
  CHECK(cut.code == 0);
  CHECK(contains(cut.err, "note: the answer was cut after 2 tokens, which --max-new-tokens allows"));
  const Ran whole = run("describe_image" + toy + balloons);
  CHECK(whole.code == 0);
  CHECK(!contains(whole.err, "note:"));
  CHECK(contains(whole.out, "3"));
  CHECK(!contains(whole.err, "loading"));  // progress is for terminals
}

TEST_CASE("flags about tokens reach the answer") {
  const std::string asked = "describe_image" + toy + balloons;
  const Ran plain = run(asked);
  const Ran without = run(asked + " --bad-word " + plain.out.substr(0, plain.out.find_first_of(" \n")));
  CHECK(without.code == 0);
  CHECK(without.out != plain.out);
  CHECK(run(asked + " --min-new-tokens 12 --max-new-tokens 12").out.size() > plain.out.size());
  const auto refusal = [&](const std::string& flags) {
    const Ran refused = run(asked + flags);
    CHECK(refused.code == 1);
    CHECK(refused.out.empty());
    return refused.err.substr(std::min(refused.err.size(), refused.err.find("error: ")));
  };
  CHECK(refusal(" --min-new-tokens 5 --max-new-tokens 3") ==
        "error: min_new_tokens: expected at most 3, the longest answer, found 5\n");
  CHECK(refusal(" --no-repeat-ngram-size -1") == "error: no_repeat_ngram_size: expected 0 (none) or more, found -1\n");
  CHECK(refusal(" --frequency-penalty nan") == "error: frequency_penalty: expected a number, found nan\n");
  CHECK(refusal(" --presence-penalty inf") == "error: presence_penalty: expected a number, found inf\n");
}

TEST_CASE("answers follow --choice, --regex and --json-schema") {
  const std::string asked = "describe_image" + toy + balloons;
  const std::string chosen = run(asked + " --choice many --choice none").out;
  CHECK((chosen == "many\n" || chosen == "none\n"));
  CHECK(run(asked + " --choice one --choice 3").out == "3\n");
  const Ran matching = run(asked + " --regex 'about [0-9]{2} circles'");
  CHECK(matching.code == 0);
  CHECK((matching.out.size() == 17 && matching.out.starts_with("about ") && matching.out.ends_with(" circles\n")));
  const std::string schema =
      R"({"type": "object", "properties": {"circles": {"type": "integer", "minimum": 1, "maximum": 9},
      "colour": {"enum": ["blue", "red"]}}, "required": ["circles", "colour"], "additionalProperties": false})";
  const Ran by_schema = run(asked + " --json-schema -", schema);
  CHECK(by_schema.code == 0);
  const Json answer = parse_json(by_schema.out, "answer");
  CHECK(answer.size() == 2);
  CHECK((answer["circles"] >= 1 && answer["circles"] <= 9));
  CHECK((answer["colour"] == "blue" || answer["colour"] == "red"));

  const Ran refused = run(asked + " --json-schema -", R"({"not": {}})");
  CHECK(refused.code == 1);
  CHECK(refused.err == "error: json_schema: #/not: this keyword is not supported\n");
  CHECK(contains(run(asked + " --choice a --regex b").err, "--choice excludes --regex"));
  CHECK(contains(run(asked + " --choice a --thinking").err, "--thinking excludes --choice"));
}

TEST_CASE("settings that nobody knows are noted, and those that are not implemented end the program") {
  const std::filesystem::path folder = work_folder() / "settings";
  std::filesystem::copy(IVL_SOURCE_DIR "/examples/drawn_scenes/checkpoint", folder);
  const auto inspect = [&](const std::string& settings) {
    std::ofstream(folder / "generation_config.json") << settings;
    return run("inspect_inputs --checkpoint " + folder.string());
  };
  const Ran noted = inspect(R"({"magic": 1})");
  CHECK(noted.code == 0);
  CHECK(noted.err == "note: " + (folder / "generation_config.json").string() + ": unknown key 'magic' is not obeyed\n");
  const Ran refused = inspect(R"({"num_beams": 4})");
  CHECK(refused.code == 1);
  CHECK(refused.out.empty());
  CHECK(refused.err == "error: " + (folder / "generation_config.json").string() + ": num_beams: expected 1, found 4\n");
}

TEST_CASE("what does not fit is refused with numbers and flags before a picture is seen") {
  const Ran small = run("describe_image" + toy + balloons + " --context 10");
  CHECK(small.code == 1);
  CHECK(small.out.empty());
  CHECK(contains(small.err, "room for"));
  CHECK(contains(small.err, "--context"));
  CHECK(contains(small.err, "--max-tiles"));
  std::string many = "describe_image" + toy + " --stats";
  for (int i = 0; i < 300; ++i) many += " --image " + demo + "balloons.png";
  const Ran refused = run(many);
  CHECK(refused.code == 1);
  CHECK(contains(refused.err, "--context"));
}

TEST_CASE("what a folder holds beside the model is named, and left out where that is asked for") {
  const std::filesystem::path folder = work_folder() / "extra";
  std::filesystem::copy(IVL_SOURCE_DIR "/examples/drawn_scenes/checkpoint", folder);
  {
    const Safetensors files(folder);
    std::vector<NamedTensor> tensors;
    for (const std::string& name : files.names()) tensors.push_back({name, *files.find(name)});
    const float value = 0;
    tensors.push_back({"more.weight", {Dtype::f32, {1}, std::as_bytes(std::span(&value, 1))}});
    write_safetensors(folder / "model.safetensors", tensors);
  }
  const std::string flags = "describe_image --threads 1 --checkpoint " + folder.string() + balloons;
  const Ran refused = run(flags);
  CHECK(refused.code == 1);
  CHECK(contains(refused.err, "more.weight: expected none"));
  const Ran answered = run(flags + " --ignore-extra-tensors");
  CHECK(answered.code == 0);
  CHECK(answered.out == run("describe_image" + toy + balloons).out);
  CHECK(contains(answered.err, "note: tensors that are not the model's were left out: 1\n  more.weight"));
}

TEST_CASE("a folder becomes a GGUF pair, which opens and says what it holds") {
  const std::filesystem::path folder = work_folder() / "pair";
  std::filesystem::create_directory(folder);
  const std::string flags = "quantise examples/drawn_scenes/checkpoint " + (folder / "m.gguf").string() +
                            " --type q8_0 --mmproj " + (folder / "mm.gguf").string();
  const Ran written = run(flags);
  CHECK(written.code == 0);
  CHECK(written.err.empty());
  CHECK(written.out == (folder / "m.gguf").string() + "\n" + (folder / "mm.gguf").string() + "\n");
  const Ran again = run(flags);
  CHECK(again.code == 1);
  CHECK(contains(again.err, "m.gguf: expected a new file, found one that is there"));
  CHECK(contains(run("quantise a b --type q4_k").err, "q4_k_m"));

  const Ran answer = run("describe_image --threads 1 --checkpoint " + folder.string() + balloons);
  CHECK(answer.code == 0);
  CHECK(answer.out == run("describe_image" + toy + balloons).out);
  const std::string there = (folder / "bf16").string();
  const Ran converted = run("convert --from " + folder.string() + " --to " + there);
  CHECK(converted.code == 0);
  CHECK(converted.err.empty());
  CHECK(converted.out == there + "\n");
  CHECK(run("describe_image --threads 1 --checkpoint " + there + balloons).out == answer.out);
  const Ran listed = run("list_checkpoints " + folder.string());
  CHECK(listed.code == 0);
  CHECK(contains(listed.out, "language.blocks.#.gate"));
  CHECK(contains(listed.out, " q8_0 "));
  CHECK(contains(listed.out, " tokens a second on this CPU"));
  const Json bf16 = parse_json(run("list_checkpoints --json examples/drawn_scenes/checkpoint").out, "listed");
  std::int64_t matrices = 0, vectors = 0;
  for (const Json& kind : bf16["tensors"]) {
    const auto name = kind["kind"].get<std::string>();
    CHECK(kind["format"] == "bf16");
    if (name.starts_with("language.") && name != "language.embedding") matrices += kind["bytes"].get<std::int64_t>();
    if (name == "vectors") vectors = kind["bytes"];
  }
  const Json& speed = bf16["speed"];
  const auto token = speed["bytes_per_token"].get<std::int64_t>() -
                     bf16["kv_bytes_per_token"].get<std::int64_t>() * bf16["fits"]["context"].get<std::int64_t>();
  CHECK(token > matrices);
  CHECK(token < matrices + vectors);
  if (!speed["read_bytes_per_second"].is_null())
    CHECK(speed["tokens_per_second_at_most"].get<double>() * speed["bytes_per_token"].get<double>() ==
          doctest::Approx(speed["read_bytes_per_second"].get<double>()));
}

TEST_CASE("weights of floats are loaded as int8 where that is asked for") {
  const Ran answer = run("describe_image --load-as int8" + toy + balloons);
  CHECK(answer.code == 0);
  CHECK(answer.out == run("describe_image" + toy + balloons).out);
  CHECK(contains(run("describe_image --load-as int7" + toy + balloons).err, "int8"));
}

TEST_CASE("products are in int8 where that is asked for, and what stays exact is said by name") {
  const std::string note = "note: --numbers int8: products with weights in mxfp4 stay exact\n",
                    moe = " --checkpoint examples/drawn_scenes_moe/checkpoint";
  const Ran dense = run("describe_image --numbers int8" + toy + balloons);
  CHECK(dense.code == 0);
  CHECK(dense.out == run("describe_image" + toy + balloons).out);
  CHECK(!contains(dense.err, "exact"));
  const Ran mixture = run("describe_image --numbers int8" + moe + balloons);
  CHECK(mixture.code == 0);
  CHECK(contains(mixture.err, note));
  CHECK(!contains(run("describe_image" + moe + balloons).err, "exact"));
  CHECK(contains(run("describe_image --numbers int7" + toy + balloons).err, "int8"));
}

TEST_CASE("an adapter that does not belong to the model is refused") {
  for (const char* program : {"describe_image", "chat", "ask_many", "take_logits"})
    CHECK(contains(run(std::string(program) + " --help").out, "--lora"));
  const Ran other = run("describe_image" + toy + balloons + " --lora tests/golden/lora/github");
  CHECK(other.code == 1);
  CHECK(contains(other.err, "error: tests/golden/lora/github: "));
  const Ran none = run("describe_image" + toy + balloons + " --lora examples");
  CHECK(none.code == 1);
  CHECK(contains(none.err, "examples: expected the folder of a LoRA adapter"));
}
