// LMDeploy's "Multi-turn": sess = pipe.chat(('describe this image', image)), then pipe.chat(question, session=sess).
#include "command_line.hpp"

int main(int argc, char** argv) {
  CLI::App app("Asks about a picture, and then again, as LMDeploy's 'Multi-turn Conversation' does.");
  ModelFlags model;
  std::string image, question = "What is the woman doing?";
  model.add_to(app);
  app.add_option("--image", image, "PNG, JPEG or WebP")->required();
  app.add_option("--question", question, "the second one")->capture_default_str();

  return run_program(app, argc, argv, [&] {
    StatusLine status(model.quiet);
    const ivl::AnyModel pipe = open_model(model, status);
    ivl::Chat session(pipe.runner(), pipe.processor(), model.chat);
    // The card's temperature, top_k and top_p do nothing there: LMDeploy is greedy unless do_sample is set.
    const ivl::GenerationOptions generation{.max_new_tokens = 8192, .sampling = {.temperature = 0}};
    const auto pictures = open_pictures({image}, model, pipe.processor(), status);
    print_text(session.ask_about(pictures, "describe this image", generation) + "\n");
    print_text(session.ask(question, {}, generation) + "\n");
  });
}
