// One question about many pictures, answered together: those that find no room wait. The functions are in ask_many.hpp.
#include "ask_many.hpp"

#include "command_line.hpp"
#include "ivl/model/checkpoint.hpp"

int main(int argc, char** argv) {
  CLI::App app("Asks one question about each of many pictures, several at a time.");
  ModelFlags model;
  std::vector<std::string> images;
  std::string question = "Describe the picture.";
  int together = 4, max_new_tokens = 256;
  float gumbel_temperature = 0;
  model.add_to(app);
  app.get_option("--context")
      ->description("room for the answers that are written at a time, in tokens (default: 8192)");
  app.add_option("--image", images, "PNG, JPEG, WebP, GIF, BMP or TIFF; repeat for more")->required();
  app.add_option("--question", question)->capture_default_str();
  app.add_option("--together", together, "answers that are written at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 512));
  app.add_option("--max-new-tokens", max_new_tokens, "longest answer")->capture_default_str();
  app.add_option("--gumbel", gumbel_temperature, "draw with the example's own sampler at this temperature");

  return run_program(app, argc, argv, [&] {
    const ivl::Processor processor = ivl::load_processor(model.checkpoint, model.load.mmproj);
    const int kv_tokens = model.chat.kv_tokens.value_or(8192);
    StatusLine status(model.quiet);
    std::vector<ivl::Prompt> prompts;
    for (const ivl::Picture& picture : open_pictures(images, model, processor, status)) {
      const std::string marked = ivl::with_image_marks(processor.style(), question, 1);
      prompts.push_back(processor.prompt(model.chat.system, {}, marked, std::span(&picture, 1)));
      naming_flags([&] { check_room(processor, prompts.back(), kv_tokens, max_new_tokens); });
    }
    const ivl::AnyModel opened = open_model(model, status);
    ivl::Engine engine(opened.runner(), {.kv_tokens = kv_tokens, .max_sequences = together});
    ivl::GenerationOptions generation;
    if (gumbel_temperature > 0) generation = ask_many::gumbel(gumbel_temperature, 1);
    generation.max_new_tokens = max_new_tokens;
    const auto answers = ask_many::answers(engine, std::move(prompts), generation, &processor.tokenizer());
    for (std::size_t i = 0; i < answers.size(); ++i) {
      if (answers[i]->error()) std::rethrow_exception(answers[i]->error());
      print_text(images[i] + ": " + answers[i]->text() + "\n");
    }
  });
}
