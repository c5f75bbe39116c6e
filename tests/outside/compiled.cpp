// A user's program that links the bodies compiled once: it declares what it calls, and no more.
#include <cstdio>
#include <string>

#include "ivl/text/chat_template.hpp"

#ifndef IVL_COMPILED
#error "ivl::compiled defines IVL_COMPILED"
#endif

int main() {
  const std::string prompt = ivl::render(ivl::PromptStyle::hf, {}, {}, "Hello");
  std::printf("%s\n", prompt.c_str());
  return prompt == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n" ? 0 : 1;
}
