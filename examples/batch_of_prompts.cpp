// LMDeploy's "Batch Prompts": pipe([('describe this image', image) for image in images]).
#include "command_line.hpp"
#include "ivl/serve/batch_chat.hpp"

int main(int argc, char** argv) {
  CLI::App app("Describes pictures, each on its own, as LMDeploy's 'Batch Prompts' does.");
  ModelFlags model;
  std::vector<std::string> images;
  model.add_to(app);
  app.add_option("--image", images, "PNG, JPEG or WebP; repeat for more")->required();

  return run_program(app, argc, argv, [&] {
    StatusLine status(model.quiet);
    const ivl::AnyModel pipe = open_model(model, status);
    std::vector<ivl::Question> prompts;
    for (const ivl::Picture& picture : open_pictures(images, model, pipe.processor(), status))
      prompts.push_back({"describe this image", {picture}});
    ivl::Engine engine(pipe.runner(), {.kv_tokens = model.chat.kv_tokens.value_or(32768), .max_sequences = 8});
    const ivl::GenerationOptions greedy{.max_new_tokens = 512, .sampling = {.temperature = 0}};  // LMDeploy's default
    for (const auto& answer : batch_chat(engine, pipe.processor(), prompts, greedy, model.chat.system)) {
      if (answer->error()) std::rethrow_exception(answer->error());
      print_text(std::string(answer_text(pipe.processor(), *answer)) + "\n");
    }
  });
}
