// A JSON schema as a grammar of the texts that are valid by it.
#pragma once
#include <string_view>

#include "ivl/core/compiled.hpp"
#include "ivl/text/byte_grammar.hpp"

namespace ivl {

/// Every text is JSON that is valid by `schema` (draft 2020-12; `definitions` for `$defs` too), but not every valid
/// text can be written: one space stands behind each `:` and `,` and no other white space, as Python's json.dumps
/// writes; properties come in the schema's order, those that are not required may be left out, and none is added to
/// those that are listed; a schema without `type` that has keywords of some types takes only those; numbers have at
/// most 18 digits as integers and 15 in front of the point and behind it, and no exponent where they are bounded.
/// docs/constraints.md lists what is read. Every other keyword, and every combination that is not obeyed, is a
/// RequestError that names its JSON pointer.
ByteGrammar json_schema_grammar(std::string_view schema);

}  // namespace ivl

#ifndef IVL_COMPILED
#include "ivl/text/json_schema.ipp"
#endif
