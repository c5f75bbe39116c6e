// Errors that a caller can meet: each names the thing, what was expected and what was found.
#pragma once
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include "ivl/core/compiled.hpp"

namespace ivl {

/// Base of everything the library throws on purpose.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file is missing, unreadable, truncated or breaks its format.
struct FileError : Error {
  using Error::Error;
};

/// A config or checkpoint does not say what its type says.
struct ConfigError : Error {
  using Error::Error;
};

/// An image cannot be decoded, or its size is absurd.
struct ImageError : Error {
  using Error::Error;
};

/// A prompt, its images or its sampling options do not fit together, or do not fit the model.
struct RequestError : Error {
  using Error::Error;
};

/// A model computed NaN or infinity: its weights are damaged, or values overflow their type.
struct ModelError : Error {
  using Error::Error;
};

namespace detail {

/// One part of an error's text, good while the expression lasts that it was made in.
class ErrorPart {
 public:
  ErrorPart(const char* text) : ErrorPart(std::string_view(text)) {}
  ErrorPart(const std::string& text) : ErrorPart(std::string_view(text)) {}
  ErrorPart(std::string_view text) : kind_(Kind::text), text_(text) {}
  ErrorPart(char letter) : kind_(Kind::letter), letter_(letter) {}
  ErrorPart(signed char letter) : ErrorPart(char(letter)) {}
  ErrorPart(unsigned char letter) : ErrorPart(char(letter)) {}
  ErrorPart(int number) : ErrorPart(static_cast<long long>(number)) {}  // bool too, as 0 or 1
  ErrorPart(unsigned number) : ErrorPart(static_cast<unsigned long long>(number)) {}
  ErrorPart(long number) : ErrorPart(static_cast<long long>(number)) {}
  ErrorPart(unsigned long number) : ErrorPart(static_cast<unsigned long long>(number)) {}
  ErrorPart(long long number) : kind_(Kind::integer), integer_(number) {}
  ErrorPart(unsigned long long number) : kind_(Kind::natural), natural_(number) {}
  ErrorPart(double number) : kind_(Kind::real), real_(number) {}

 private:
  friend std::string error_text(std::initializer_list<ErrorPart> parts);
  enum class Kind { text, letter, integer, natural, real };

  Kind kind_;
  union {
    std::string_view text_;
    char letter_;
    long long integer_;
    unsigned long long natural_;
    double real_;
  };
};

/// The parts, written one after the other.
std::string error_text(std::initializer_list<ErrorPart> parts);

template <class Kind>
[[noreturn, gnu::noinline]] void throw_error(std::initializer_list<ErrorPart> parts) {
  throw Kind(error_text(parts));
}

}  // namespace detail

/// A prompt, its pictures and its answer find no room in the engine, or in the model's context.
struct RoomError : RequestError {
  using RequestError::RequestError;
};

/// Throws `Kind` with the parts written one after the other, as a std::ostream writes them: text, characters, integers
/// and floating-point numbers.
template <class Kind, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  detail::throw_error<Kind>({detail::ErrorPart(parts)...});
}

/// Of a list that ends an error, each line after a "\n  ", the first ten, and how many more there are.
std::string first_lines(const std::string& lines);

/// Gives action(). A FileError that it throws gets `where`, mostly the path of the file that is read, in front.
template <class Action>
auto naming(const std::string& where, const Action& action) {
  try {
    return action();
  } catch (const FileError& error) {
    throw FileError(where + ": " + error.what());
  }
}

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/core/error.ipp"
#endif
