// What a model makes of a prompt, as tensors: for comparisons with a reference, between formats and between devices.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <vector>

#include "command_line.hpp"
#include "ivl/files/safetensors_writer.hpp"
#include "ivl/model/checkpoint.hpp"

/// Ids separated by anything but digits and signs; a run of -1 is the place of the next picture's rows.
static ivl::Prompt prompt_of_ids(const std::string& file, const std::vector<ivl::Picture>& pictures,
                                 const ivl::Processor& processor) {
  std::ifstream in(file);
  if (!in) ivl::fail<ivl::FileError>(file, ": cannot be opened");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '[' || c == ']' || c == ','; }, ' ');
  std::istringstream numbers(text);
  ivl::Prompt prompt;
  int left = 0;  // rows of the picture that began last
  for (int id; numbers >> id;) {
    if (id != -1) {
      if (left > 0) ivl::fail<ivl::RequestError>(file, ": expected ", left, " more -1 for a picture, found ", id);
      prompt.ids.push_back(id);
    } else if (left > 0) {
      --left;
    } else {
      if (prompt.pictures.size() == pictures.size())
        ivl::fail<ivl::RequestError>(file, ": expected -1 for ", pictures.size(), " pictures alone, found more");
      prompt.pictures.push_back({prompt.ids.size(), pictures[prompt.pictures.size()]});
      left = processor.tokens_of(prompt.pictures.back().picture) - 1;
    }
  }
  if (!numbers.eof()) ivl::fail<ivl::FileError>(file, ": expected token ids, found something else");
  if (left > 0 || prompt.pictures.size() != pictures.size())
    ivl::fail<ivl::RequestError>(file, ": expected a -1 for each row of ", pictures.size(), " pictures, found fewer");
  return prompt;
}

int main(int argc, char** argv) {
  CLI::App app(
      "Writes what a model makes of a prompt to a safetensors file: ids [n] (I32, -1 for rows of pictures), logits\n"
      "[n, vocabulary] (F32), features [rows of pictures, hidden] (F32) where there are pictures, and greedy (I32), "
      "the\n"
      "ids of the greedy answer up to its end.");
  LoadFlags load;
  ModelChoice choice{.threads = ivl::usable_cpus()};
  std::string checkpoint, device = "cpu", question = "Describe the picture.", ids_file, out;
  std::vector<std::string> images;
  std::optional<std::string> system;
  std::optional<int> max_tiles;
  PictureFlags flags;
  int new_tokens = 0;
  app.add_option("--checkpoint", checkpoint, "folder of a checkpoint, or a GGUF file")->required();
  load.add_to(app);
  app.add_option("--image", images, "PNG, JPEG, WebP, GIF, BMP or TIFF; repeat for several pictures");
  auto* asked = app.add_option("--question", question, "may place pictures itself with <image>")->capture_default_str();
  app.add_option("--ids-file", ids_file, "token ids instead of a question, -1 for each row of a picture")
      ->excludes(asked);
  app.add_option("--system", system, "system message (default: the checkpoint's own)");
  app.add_option("--max-tiles", max_tiles, "most tiles of a picture (default: the checkpoint's own)");
  flags.add_to(app);
  app.add_option("--new-tokens", new_tokens, "longest greedy answer")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--float", choice.in_float, "activations, keys and values in float instead of bf16; CPU only");
  app.add_option("--device", device, "cpu or cuda")->capture_default_str()->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--threads", choice.threads, "CPU threads")->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("--out", out, "safetensors file to write")->required();

  return run_program(app, argc, argv, [&] {
    const ivl::Processor processor = ivl::load_processor(checkpoint, load.mmproj);
    std::vector<ivl::Picture> pictures;
    for (const std::string& file : images)
      pictures.push_back(flags.open(file, processor, processor.tile_rules(max_tiles)));
    ivl::Prompt prompt =
        ids_file.empty()
            ? processor.prompt(system, {}, with_image_marks(processor.style(), question, int(images.size())), pictures)
            : prompt_of_ids(ids_file, pictures, processor);
    check_room(processor, prompt);
    const int rows = processor.tokens_of(prompt), feature_rows = rows - int(prompt.ids.size());

    StatusLine status;
    const ivl::LoadOptions options = load.options(status);
    choice.checkpoint = checkpoint;
    choice.int8_products = load.int8_products();
    print_notes(checkpoint, load.mmproj);
    std::string said;
    const ivl::AnyModel model = device == "cuda"  ? open_on_cuda(choice, options, said)
                                : choice.in_float ? open_on_cpu_in_float(choice, options)
                                                  : open_on_cpu(choice, options, said);
    ivl::Engine engine(model.runner(), {.kv_tokens = rows + std::max(1, new_tokens),
                                        .max_rows = 64,
                                        .max_logit_rows = 64,
                                        .feature_tokens = std::max(1, feature_rows)});
    std::vector<float> features, logits;
    for (const ivl::Picture& picture : pictures) {
      const auto values = engine.features(picture);
      features.insert(features.end(), values.begin(), values.end());
    }
    ivl::GenerationOptions generation{.max_new_tokens = std::max(1, new_tokens),
                                      .sampling = {.temperature = 0, .repetition_penalty = 1},
                                      .stop_ids = processor.stop_ids()};
    generation.on_prompt_logits = [&](int, std::span<const float> row) {
      logits.insert(logits.end(), row.begin(), row.end());
    };
    const auto sequence = engine.start({.prompt = std::move(prompt), .generation = std::move(generation)});
    engine.run();
    if (sequence->error()) std::rethrow_exception(sequence->error());

    const auto ids = sequence->tokens().first(std::size_t(rows));
    const auto greedy = sequence->generated().first(std::min(sequence->generated().size(), std::size_t(new_tokens)));
    const auto tensor = [](const char* name, ivl::Dtype dtype, ivl::Shape shape, auto values) {
      return ivl::NamedTensor{name, {dtype, shape, std::as_bytes(std::span(values))}};
    };
    std::vector<ivl::NamedTensor> tensors{
        tensor("ids", ivl::Dtype::i32, {rows}, ids),
        tensor("logits", ivl::Dtype::f32, {rows, processor.facts().vocab_rows}, std::span<const float>(logits)),
        tensor("greedy", ivl::Dtype::i32, {std::int64_t(greedy.size())}, greedy)};
    if (feature_rows > 0)
      tensors.push_back(tensor("features", ivl::Dtype::f32, {feature_rows, model.runner().sizes().hidden},
                               std::span<const float>(features)));
    ivl::write_safetensors(out, tensors);
  });
}
