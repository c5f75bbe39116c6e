// A checkpoint as a GGUF pair, for this library and llama.cpp.
#include <cstdio>
#include <string>
#include <vector>

#include "ivl/checkpoint/gguf_mixture.hpp"
#include "ivl/model/gguf_pair.hpp"
#include "notes.hpp"
#include "program.hpp"
#include "status_line.hpp"

int main(int argc, char** argv) {
  CLI::App app(
      "Writes a checkpoint as GGUF: a folder in either published layout, or a GGUF file with its mmproj beside it.\n"
      "Matrices get the types of the published mixture, all else stays F32; rows that no block divides get the next\n"
      "smaller block. Experts in MXFP4 stay as they are. The tower and the projector never get fewer than eight bits.");
  std::string from, type;
  ivl::GgufFiles to;
  ivl::LoadOptions options;
  app.add_option("from", from, "checkpoint folder or GGUF file")->required();
  app.add_option("to", to.model, "new GGUF file of the language model")->required();
  std::vector<std::string> types;
  for (const auto& row : ivl::detail::mixture_rows) types.emplace_back(row.name);
  app.add_option("--type", type, "mixture of types; mxfp4 is for mixtures of experts")
      ->required()
      ->check(CLI::IsMember(types));
  app.add_option("--mmproj", to.mmproj, "new GGUF file of the tower and the projector (default: none is written)");
  app.add_option("--from-mmproj", options.mmproj,
                 "of a GGUF file: the one of its tower and projector (default: the one that lies beside it)");
  app.add_flag("--ignore-extra-tensors", options.ignore_extra_tensors,
               "leave out what is in the files and not in the model");

  return run_program(app, argc, argv, [&] {
    StatusLine status;
    print_notes(from, options.mmproj);
    options.note = [&](const std::string& text) {
      status.clear();
      std::fprintf(stderr, "note: %s\n", text.c_str());
    };
    options.progress = [&](const ivl::LoadProgress& progress) {
      char text[160];
      std::snprintf(text, sizeof text, "%6.2f of %.2f GB  %.100s", double(progress.bytes_done) / 1e9,
                    double(progress.bytes_total) / 1e9, std::string(progress.tensor).c_str());
      status.show(text);
    };
    ivl::write_gguf_pair(from, to, ivl::find_mixture(type).value(), options);
    status.clear();
    print_text(to.model.string() + "\n");
    if (!to.mmproj.empty()) print_text(to.mmproj.string() + "\n");
  });
}
