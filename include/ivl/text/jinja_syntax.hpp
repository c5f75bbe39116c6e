// What a chat template says, as a tree. Names are places in scopes, as jinja2's compiler resolves them.
#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ivl/text/jinja_value.hpp"

namespace ivl::detail::jinja {

/// Where a name lies at run time: so many scopes outwards, this variable there.
struct Place {
  int scopes = 0, variable = 0;
};

enum class Op {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in
};

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    constant,     // value
    name,         // text, place, value: undefined, for when nobody has set it
    member,       // text, place: of a namespace, to be set: ns.x, with its name ns
    list,         // parts; tuple too
    tuple,        // .
    dict,         // parts: key, value, key, value
    attribute,    // part . text
    item,         // parts: of, key
    slice,        // parts: of, begin, end, step, each but the first may be null
    call,         // parts: callee, arguments; named
    filter,       // parts: value (null: the block), arguments; named; text
    test,         // the same
    negate,       // part
    plus,         // part
    logical_not,  // part
    logical_and,  // parts: two
    logical_or,   // .
    arithmetic,   // parts: two; ops: one
    concatenate,  // parts
    compare,      // parts: first, then one for each of ops
    conditional   // parts: then, condition, else, which may be null
  };
  Kind kind;
  int line;
  int depth = 1;  // of expressions in expressions
  std::string text;
  std::vector<ExpressionPtr> parts;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<Op> ops;
  Place place;
  std::string attribute;  // of a member
  Value value;
};

/// How a scope's variables begin.
struct Scope {
  struct Begin {
    enum class Kind { parameter, context, outer, undefined };
    Kind kind = Kind::undefined;
    std::string name;  // in the context
    Place outer;       // seen from the scope
  };
  std::vector<std::string> names;
  std::vector<Begin> begins;
};

struct Statement;
using Body = std::vector<Statement>;

struct Statement {
  enum class Kind {
    data,          // text
    print,         // expression
    condition,     // expression, body, otherwise
    loop,          // target in expression, if test: body, else otherwise
    set,           // target = expression
    set_block,     // target = body, through expression, a chain of filters, or null
    with,          // targets and values: parameters, defaults
    macro,         // text(parameters), defaults of the last of them; also caller, kwargs, varargs
    call_block,    // expression, a call, with a macro named caller; expression is null for {% generation %}
    filter_block,  // expression, a chain of filters
    break_loop,
    continue_loop
  };
  Kind kind;
  int line;
  std::string text;
  ExpressionPtr expression, target, test;
  std::vector<ExpressionPtr> parameters, defaults;
  Body body, otherwise;
  Scope scope, otherwise_scope, test_scope;
  int loop_variable = -1;                                // place of `loop` in scope
  int caller = -1, other_named = -1, other_places = -1;  // of a macro that reads caller, kwargs, varargs
};

struct Template {
  std::string where;
  Body body;
  Scope scope;
};

}  // namespace ivl::detail::jinja
