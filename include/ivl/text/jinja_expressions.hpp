// The expressions of chat templates: jinja2.parser, function by function.
#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "ivl/core/compiled.hpp"
#include "ivl/text/jinja_lexer.hpp"
#include "ivl/text/jinja_syntax.hpp"

namespace ivl::detail::jinja {

/// A recursive descent. Throws FileError with the line if the text is not an expression or uses something unsupported.
class ExpressionParser : protected TokenStream {
 protected:
  using TokenStream::TokenStream;
  using E = Expression::Kind;

  /// What can be set: names, tuples of them and, where wanted, members of namespaces.
  ExpressionPtr target(bool members, std::string_view end);
  void check_target(const Expression& target) const;
  static ExpressionPtr make(E kind, int line);
  static ExpressionPtr make(E kind, int line, ExpressionPtr first, ExpressionPtr second = nullptr);
  static ExpressionPtr constant(int line, Value value);
  /// `expression`, now that it has all its parts.
  ExpressionPtr done(ExpressionPtr expression) const;
  struct TupleRules {
    bool simple = false, conditional = true, parentheses = false;
    std::string_view end = "";
  };
  /// An expression, or several with commas, which make a tuple.
  ExpressionPtr tuple_expression(const TupleRules& rules);
  ExpressionPtr expression();
  ExpressionPtr logical_or();
  ExpressionPtr logical_and();
  ExpressionPtr logical_not();
  std::optional<Op> comparison_op();
  ExpressionPtr comparison();
  using Ops = std::initializer_list<std::pair<std::string_view, Op>>;
  template <class Operand>
  ExpressionPtr chain(const Ops& ops, const Operand& operand);
  ExpressionPtr sum();
  ExpressionPtr concatenation();
  ExpressionPtr product();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  template <class Element>
  void elements(std::string_view end, const Element& element);
  ExpressionPtr name();
  ExpressionPtr postfix(ExpressionPtr node);
  ExpressionPtr attribute(ExpressionPtr node, int line);
  ExpressionPtr subscript(ExpressionPtr node, int line);
  void arguments(Expression& call);
  ExpressionPtr call(ExpressionPtr node);
  ExpressionPtr filters_and_tests(ExpressionPtr node);
  std::string dotted_name();
  /// What map, select and their kin apply to each item is checked here, where it is written out.
  void check_applied(const Expression& filter) const;
  /// `begins`: the first has no '|' before it. A null `node` is what a block holds; null where there are no filters.
  ExpressionPtr filters(ExpressionPtr node, bool begins);
  ExpressionPtr test(ExpressionPtr node);
  bool members_ = false;  // while a target is read that may name members of namespaces
};

}  // namespace ivl::detail::jinja

#ifndef IVL_COMPILED
#include "ivl/text/jinja_expressions.ipp"
#endif
