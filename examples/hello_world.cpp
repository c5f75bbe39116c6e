// LMDeploy's "Hello, world": pipe(('describe this image', image)).
#include "command_line.hpp"

int main(int argc, char** argv) {
  CLI::App app("Describes a picture, as LMDeploy's 'Hello, world' does.");
  ModelFlags model;
  std::string image;
  model.add_to(app);
  app.add_option("--image", image, "PNG, JPEG or WebP")->required();

  return run_program(app, argc, argv, [&] {
    StatusLine status(model.quiet);
    const ivl::AnyModel pipe = open_model(model, status);
    ivl::Chat chat(pipe.runner(), pipe.processor(), model.chat);
    const auto pictures = open_pictures({image}, model, pipe.processor(), status);
    const ivl::GenerationOptions greedy{.max_new_tokens = 512, .sampling = {.temperature = 0}};  // LMDeploy's default
    print_text(chat.ask_about(pictures, "describe this image", greedy) + "\n");
  });
}
