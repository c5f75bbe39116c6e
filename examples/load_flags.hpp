// Flags of all programs that read weights.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "ivl/checkpoint/load_options.hpp"
#include "status_line.hpp"

/// Flags about the weights of a folder.
struct LoadFlags {
  std::string mmproj, lora, load_as = "stored", numbers = "exact";
  bool ignore_extra_tensors = false;

  void add_to(CLI::App& app) {
    add_those_of_files_to(app);
    app.add_option("--load-as", load_as,
                   "int8: weights of a folder of floats as LLM.int8, as bitsandbytes' load_in_8bit makes them")
        ->capture_default_str()
        ->check(CLI::IsMember({"stored", "int8"}));
    app.add_option("--numbers", numbers,
                   "int8: matrix products of activations and weights in 8 bits: faster, and less exact; CPU only")
        ->capture_default_str()
        ->check(CLI::IsMember({"exact", "int8"}));
  }
  bool int8_products() const { return numbers == "int8"; }
  /// All but how numbers are held in memory.
  void add_those_of_files_to(CLI::App& app) {
    app.add_option("--mmproj", mmproj,
                   "of a GGUF file: the GGUF file of its tower and projector (default: the one that lies beside it)");
    app.add_option("--lora", lora, "folder of a LoRA adapter to merge into the weights");
    app.add_flag("--ignore-extra-tensors", ignore_extra_tensors, "leave out what is in the files and not in the model");
  }
  ivl::LoadOptions options(StatusLine& status) const {
    return {.progress = [&](const ivl::LoadProgress& progress) { status.show(progress); },
            .ignore_extra_tensors = ignore_extra_tensors,
            .lora = lora,
            .mmproj = mmproj,
            .load_as = load_as == "int8" ? ivl::LoadAs::int8 : ivl::LoadAs::stored,
            .note = [&](const std::string& text) { status.say("note: " + text); }};
  }
};
