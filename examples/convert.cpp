// A checkpoint folder in the other published layout: GitHub format (internvl_chat) <-> HF format (internvl).
#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>

#include "ivl/checkpoint/convert.hpp"
#include "ivl/model/checkpoint.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Converts a checkpoint folder between the two published layouts. Weights keep their bits; converting back gives "
      "the\n"
      "same weights and configs. The HF format also wants a chat_template.jinja and processor_config.json, which only "
      "whoever\n"
      "runs transformers needs: take them from a published folder of that format.");
  std::string from, to;
  ivl::FolderFormat format = ivl::FolderFormat::hf;
  const std::map<std::string, ivl::FolderFormat> formats{{"github", ivl::FolderFormat::github},
                                                         {"hf", ivl::FolderFormat::hf}};
  app.add_option("--from", from, "checkpoint folder")->required();
  app.add_option("--to", to, "new folder")->required();
  app.add_option("--format", format, "of the new folder: github or hf")
      ->required()
      ->transform(CLI::CheckedTransformer(formats));
  CLI11_PARSE(app, argc, argv);

  try {
    const auto processor = ivl::load_processor(from);
    ivl::convert_folder(
        from, to, format,
        {.image = processor.tokenizer().id_of(ivl::image_context_token).value(), .end = processor.end_token()},
        [](const ivl::LoadProgress& progress) {
          std::fprintf(stderr, "\r%6.2f of %.2f GB", double(progress.bytes_done) / 1e9,
                       double(progress.bytes_total) / 1e9);
        });
    std::fprintf(stderr, "\n");
    std::cout << to << '\n';
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
