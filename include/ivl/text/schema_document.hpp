// A JSON schema as it is read: its places with their pointers, which keywords there are, what refers to what.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ivl/core/compiled.hpp"
#include "ivl/core/error.hpp"
#include "ivl/core/quotes.hpp"
#include "ivl/files/json.hpp"

namespace ivl::detail {

/// What a value can be: a bit each.
enum JsonKind : unsigned {
  no_kind = 0,
  null_kind = 1,
  boolean_kind = 2,
  number_kind = 4,
  string_kind = 8,
  array_kind = 16,
  object_kind = 32,
  every_kind = 63,
  integer_kind = 64  ///< in a schema's `type` alone: such a value is a number
};

unsigned kind_of_json(const Json& value);

/// A place in a schema; JSON pointers name it in errors.
struct SchemaPlace {
  const Json* schema;
  std::string pointer;

  bool has(std::string_view keyword) const { return schema->contains(std::string(keyword)); }
  SchemaPlace at(std::string_view keyword) const { return {&schema->at(std::string(keyword)), below(keyword)}; }
  SchemaPlace at(std::size_t index) const { return {&schema->at(index), below(std::to_string(index))}; }
  std::string below(std::string_view name) const;

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    const std::string quoted = in_quotes(pointer);
    fail<RequestError>("json_schema: #", std::string_view(quoted).substr(1, quoted.size() - 2), ": ", parts...);
  }

  /// Refuses keywords that are not read, and gives the kinds that the others speak of.
  unsigned check_keywords() const;
  /// Refuses keywords that ask something, beside `keyword` and `also`.
  void check_alone(std::string_view keyword, std::string_view also = {}) const;
  /// Of what stands at `type`. Of both integer and number, the latter.
  unsigned kinds_of_type() const;
  /// A whole number of 0 or more, or `otherwise` where the keyword is missing; 10^9 stands for all that are larger.
  std::int64_t count(std::string_view keyword, std::int64_t otherwise) const;
};

/// Knows the order in which each object's keys were written. Throws FileError for what is no JSON.
class SchemaDocument : private JsonBuilder {
 public:
  explicit SchemaDocument(std::string_view text);

  SchemaPlace root() const { return {&root_, ""}; }
  std::vector<std::string> keys(const Json& object) const;

  /// Where a chain of $ref ends.
  SchemaPlace resolved(SchemaPlace place) const;

  /// The kinds of all values that are valid at a place, whether we write them or not.
  unsigned kinds_of(const SchemaPlace& unresolved, int nested = 0) const;

 private:
  bool key(string_t& name) override;
  SchemaPlace target_of(const SchemaPlace& reference) const;

  Json root_;
  std::map<const Json::object_t*, std::vector<std::string>> keys_;  // an object moves without its map
};

}  // namespace ivl::detail

#ifndef IVL_COMPILED
#include "ivl/text/schema_document.ipp"
#endif
