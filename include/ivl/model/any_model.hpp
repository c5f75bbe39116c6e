// Any checkpoint behind one interface: whose type it is, is found out when it is opened.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>

#include "ivl/model/processor.hpp"
#include "ivl/model/step.hpp"

namespace ivl {

/// A loaded checkpoint with the backend that runs it. Move-only; what runs on it must not outlive it.
class AnyModel {
 public:
  const Processor& processor() const { return parts_->processor(); }
  AnyRunner& runner() const { return parts_->runner(); }
  std::int64_t parameters() const { return parts_->parameters(); }

  /// What a file does for each type; see `open_model`.
  struct Parts {
    virtual ~Parts() = default;
    virtual const Processor& processor() const = 0;
    virtual AnyRunner& runner() = 0;
    virtual std::int64_t parameters() const = 0;
  };
  explicit AnyModel(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace ivl
