// Errors that a caller can meet: each names the thing, what was expected and what was found.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>

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

/// Throws `Kind` with the parts written one after the other.
template <class Kind, class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  throw Kind(text.str());
}

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
