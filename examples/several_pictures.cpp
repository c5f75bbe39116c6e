// LMDeploy's "Multi-images": pipe((f'Image-1: {IMAGE_TOKEN}\nImage-2: {IMAGE_TOKEN}\ndescribe these two images',
// images)).
#include "command_line.hpp"

int main(int argc, char** argv) {
  CLI::App app("Describes two pictures, as LMDeploy's 'Multi-images' does.");
  ModelFlags model;
  std::vector<std::string> images;
  model.add_to(app);
  app.add_option("--image", images, "PNG, JPEG or WebP; two of them")->required()->expected(2);

  return run_program(app, argc, argv, [&] {
    StatusLine status(model.quiet);
    const ivl::AnyModel pipe = open_model(model, status);
    ivl::Chat chat(pipe.runner(), pipe.processor(), model.chat);
    const std::string question = "Image-1: <image>\nImage-2: <image>\ndescribe these two images";
    const auto pictures = open_pictures(images, model, pipe.processor(), status);
    const ivl::GenerationOptions greedy{.max_new_tokens = 512, .sampling = {.temperature = 0}};  // LMDeploy's default
    print_text(chat.ask_about(pictures, question, greedy) + "\n");
  });
}
