#pragma once
#include <algorithm>
#include <array>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_expressions.hpp"
#include "ivl/text/jinja_filters.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_tests.hpp"

namespace ivl::detail::jinja {

IVL_INLINE ExpressionPtr ExpressionParser::target(bool members, std::string_view end) {
  members_ = members;
  ExpressionPtr target = tuple_expression({.simple = true, .end = end});
  members_ = false;
  check_target(*target);
  return target;
}

IVL_INLINE void ExpressionParser::check_target(const Expression& target) const {
  if (target.kind == E::name || target.kind == E::member) return;
  if (target.kind != E::tuple) refuse(target.line, "expected a name to set, found another expression");
  for (const ExpressionPtr& part : target.parts) check_target(*part);
}

IVL_INLINE ExpressionPtr ExpressionParser::make(E kind, int line) {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = line;
  return expression;
}

IVL_INLINE ExpressionPtr ExpressionParser::make(E kind, int line, ExpressionPtr first, ExpressionPtr second) {
  ExpressionPtr expression = make(kind, line);
  expression->parts.push_back(std::move(first));
  if (second) expression->parts.push_back(std::move(second));
  return expression;
}

IVL_INLINE ExpressionPtr ExpressionParser::constant(int line, Value value) {
  ExpressionPtr expression = make(E::constant, line);
  expression->value = std::move(value);
  return expression;
}

IVL_INLINE ExpressionPtr ExpressionParser::done(ExpressionPtr expression) const {
  const auto count = [&](const ExpressionPtr& part) {
    if (part) expression->depth = std::max(expression->depth, part->depth + 1);
  };
  for (const ExpressionPtr& part : expression->parts) count(part);
  for (const auto& [name, part] : expression->named) count(part);
  if (expression->depth > max_expression_depth) {
    refuse(expression->line, "an expression nested deeper than ", max_expression_depth, " levels");
  }
  return expression;
}

IVL_INLINE ExpressionPtr ExpressionParser::tuple_expression(const TupleRules& rules) {
  const int line = now().line;
  const auto ends = [&] {
    return now().kind == Token::Kind::variable_end || now().kind == Token::Kind::block_end || now().is_op(")") ||
           (!rules.end.empty() && now().is_name(rules.end));
  };
  std::vector<ExpressionPtr> parts;
  bool is_tuple = false;
  while (true) {
    if (!parts.empty()) expect_op(",");
    if (ends()) break;
    parts.push_back(rules.simple ? primary() : rules.conditional ? expression() : logical_or());
    if (!now().is_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !parts.empty()) return std::move(parts[0]);
  if (!is_tuple && !rules.parentheses) refuse(now().line, "expected an expression, found ", describe(now()));
  ExpressionPtr tuple = make(E::tuple, line);
  tuple->parts = std::move(parts);
  return done(std::move(tuple));
}

IVL_INLINE ExpressionPtr ExpressionParser::expression() {
  const Level level(*this);
  ExpressionPtr first = logical_or();
  while (now().is_name("if")) {
    const int line = take().line;
    ExpressionPtr choice = make(E::conditional, line, std::move(first), logical_or());
    choice->parts.push_back(skip_name("else") ? expression() : nullptr);
    first = done(std::move(choice));
  }
  return first;
}

IVL_INLINE ExpressionPtr ExpressionParser::logical_or() {
  ExpressionPtr left = logical_and();
  for (int line = now().line; skip_name("or"); line = now().line) {
    left = done(make(E::logical_or, line, std::move(left), logical_and()));
  }
  return left;
}

IVL_INLINE ExpressionPtr ExpressionParser::logical_and() {
  ExpressionPtr left = logical_not();
  for (int line = now().line; skip_name("and"); line = now().line) {
    left = done(make(E::logical_and, line, std::move(left), logical_not()));
  }
  return left;
}

IVL_INLINE ExpressionPtr ExpressionParser::logical_not() {
  const int line = now().line;
  if (!skip_name("not")) return comparison();
  const Level level(*this);
  return done(make(E::logical_not, line, logical_not()));
}

IVL_INLINE std::optional<Op> ExpressionParser::comparison_op() {
  if (now().is_name("in")) return take(), Op::in;
  if (now().is_name("not") && after().is_name("in")) return take(), take(), Op::not_in;
  if (now().kind != Token::Kind::op) return std::nullopt;
  constexpr std::array<std::pair<std::string_view, Op>, 6> ops{{{"==", Op::equal},
                                                                {"!=", Op::not_equal},
                                                                {"<", Op::less},
                                                                {"<=", Op::less_equal},
                                                                {">", Op::greater},
                                                                {">=", Op::greater_equal}}};
  const auto found = std::ranges::find(ops, now().text, &std::pair<std::string_view, Op>::first);
  if (found == ops.end()) return std::nullopt;
  return take(), found->second;
}

IVL_INLINE ExpressionPtr ExpressionParser::comparison() {
  ExpressionPtr first = sum();
  ExpressionPtr compare;
  for (int line = now().line; const std::optional<Op> op = comparison_op(); line = now().line) {
    if (!compare) compare = make(E::compare, line, std::move(first));
    compare->ops.push_back(*op);
    compare->parts.push_back(sum());
  }
  return compare ? done(std::move(compare)) : std::move(first);
}

template <class Operand>
ExpressionPtr ExpressionParser::chain(const Ops& ops, const Operand& operand) {
  ExpressionPtr left = operand();
  while (now().kind == Token::Kind::op) {
    const auto found = std::ranges::find(ops, now().text, &std::pair<std::string_view, Op>::first);
    if (found == ops.end()) break;
    const int line = take().line;
    left = make(E::arithmetic, line, std::move(left), operand());
    left->ops.push_back(found->second);
    left = done(std::move(left));
  }
  return left;
}

IVL_INLINE ExpressionPtr ExpressionParser::sum() {
  return chain({{"+", Op::add}, {"-", Op::subtract}}, [&] { return concatenation(); });
}

IVL_INLINE ExpressionPtr ExpressionParser::concatenation() {
  const int line = now().line;
  ExpressionPtr first = product();
  if (!now().is_op("~")) return first;
  ExpressionPtr all = make(E::concatenate, line, std::move(first));
  while (skip_op("~")) all->parts.push_back(product());
  return done(std::move(all));
}

IVL_INLINE ExpressionPtr ExpressionParser::product() {
  return chain({{"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}}, [&] {
    return chain({{"**", Op::power}}, [&] { return unary(true); });
  });
}

IVL_INLINE ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const int line = now().line;
  ExpressionPtr node;
  if (now().is_op("-") || now().is_op("+")) {
    const Level level(*this);
    const E kind = take().text == "-" ? E::negate : E::plus;
    node = done(make(kind, line, unary(false)));
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filters ? filters_and_tests(std::move(node)) : std::move(node);
}

IVL_INLINE ExpressionPtr ExpressionParser::primary() {
  const int line = now().line;
  switch (now().kind) {
    case Token::Kind::name:
      return name();
    case Token::Kind::string: {
      std::string text;
      while (now().kind == Token::Kind::string) text += take().text;
      auto string = std::make_shared<String>();
      string->bytes = std::move(text);
      return constant(line, Value(jinja::Kind::string, std::move(string)));
    }
    case Token::Kind::integer:
      return constant(line, take().integer);
    case Token::Kind::real:
      return constant(line, take().real);
    default:
      break;
  }
  if (skip_op("(")) {
    const Level level(*this);
    const bool members = std::exchange(members_, false);
    ExpressionPtr inner = tuple_expression({.parentheses = true});
    members_ = members;
    expect_op(")");
    return inner;
  }
  if (skip_op("[")) {
    ExpressionPtr list = make(E::list, line);
    elements("]", [&] { list->parts.push_back(expression()); });
    return done(std::move(list));
  }
  if (skip_op("{")) {
    ExpressionPtr dict = make(E::dict, line);
    elements("}", [&] {
      dict->parts.push_back(expression());
      expect_op(":");
      dict->parts.push_back(expression());
    });
    return done(std::move(dict));
  }
  refuse(line, "expected an expression, found ", describe(now()));
}

template <class Element>
void ExpressionParser::elements(std::string_view end, const Element& element) {
  for (bool first = true; !now().is_op(end); first = false) {
    if (!first) expect_op(",");
    if (now().is_op(end)) break;
    element();
  }
  expect_op(end);
}

IVL_INLINE ExpressionPtr ExpressionParser::name() {
  Token token = take();
  const std::string& text = token.text;
  if (text == "true" || text == "True") return constant(token.line, true);
  if (text == "false" || text == "False") return constant(token.line, false);
  if (text == "none" || text == "None") return constant(token.line, Value::none());
  ExpressionPtr name = make(E::name, token.line);
  if (members_ && skip_op(".")) {
    name->kind = E::member;
    name->attribute = expect_name();
    if (name->attribute.starts_with('_')) {
      refuse(token.line, "names of a namespace must not begin with '_', found ", in_quotes(name->attribute));
    }
  }
  name->value = undefined(in_quotes(text) + " is undefined");
  name->text = variable(token.line, std::move(token.text));
  return name;
}

IVL_INLINE ExpressionPtr ExpressionParser::postfix(ExpressionPtr node) {
  while (true) {
    const int line = now().line;
    if (skip_op(".")) {
      node = attribute(std::move(node), line);
    } else if (skip_op("[")) {
      node = subscript(std::move(node), line);
    } else if (now().is_op("(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
    node = done(std::move(node));
  }
}

IVL_INLINE ExpressionPtr ExpressionParser::attribute(ExpressionPtr node, int line) {
  if (now().kind == Token::Kind::integer) {
    return make(E::item, line, std::move(node), constant(line, take().integer));
  }
  ExpressionPtr attribute = make(E::attribute, line, std::move(node));
  attribute->text = expect_name();
  if (attribute->text.starts_with("__")) {
    refuse(line, "the attribute ", in_quotes(attribute->text), " is not supported");
  }
  return attribute;
}

IVL_INLINE ExpressionPtr ExpressionParser::subscript(ExpressionPtr node, int line) {
  const auto part = [&]() -> ExpressionPtr {
    return now().is_op(":") || now().is_op("]") || now().is_op(",") ? nullptr : expression();
  };
  ExpressionPtr first = part();
  if (!now().is_op(":")) {
    if (now().is_op(",")) refuse(line, "several indices are not supported");
    if (!first) refuse(line, "expected an index, found ", describe(now()));
    expect_op("]");
    return make(E::item, line, std::move(node), std::move(first));
  }
  take();
  ExpressionPtr slice = make(E::slice, line, std::move(node));
  slice->parts.push_back(std::move(first));
  slice->parts.push_back(part());
  slice->parts.push_back(skip_op(":") ? part() : nullptr);
  expect_op("]");
  return slice;
}

IVL_INLINE void ExpressionParser::arguments(Expression& call) {
  expect_op("(");
  for (bool first = true; !now().is_op(")"); first = false) {
    if (!first) expect_op(",");
    if (now().is_op(")")) break;
    if (now().is_op("*") || now().is_op("**")) {
      std::string name = take().text;
      const bool again = !call.named.empty() && call.named.back().first.starts_with('*');
      if (again && (name == "*" || call.named.back().first == name)) refuse(now().line, "unexpected '", name, "'");
      call.named.emplace_back(std::move(name), expression());
      continue;
    }
    if (now().kind == Token::Kind::name && after().is_op("=")) {
      std::string name = take().text;
      take();
      if (!call.named.empty() && call.named.back().first == "**") refuse(now().line, "an argument follows '**'");
      if (std::ranges::find(call.named, name, [](const auto& one) { return one.first; }) != call.named.end()) {
        refuse(now().line, "the argument ", in_quotes(name), " is given twice");
      }
      call.named.emplace_back(std::move(name), expression());
    } else {
      if (!call.named.empty()) refuse(now().line, "an argument without a name follows one that has a name");
      call.parts.push_back(expression());
    }
  }
  expect_op(")");
}

IVL_INLINE ExpressionPtr ExpressionParser::call(ExpressionPtr node) {
  ExpressionPtr call = make(E::call, now().line, std::move(node));
  const Expression& callee = *call->parts[0];
  if (callee.kind == E::attribute && !is_method(callee.text)) {
    refuse(callee.line, "the method '", callee.text, "' is not supported");
  }
  arguments(*call);
  return call;
}

IVL_INLINE ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr node) {
  while (true) {
    if (now().is_op("|")) {
      node = filters(std::move(node), false);
    } else if (now().is_name("is")) {
      node = test(std::move(node));
    } else if (now().is_op("(")) {
      node = done(call(std::move(node)));
    } else {
      return node;
    }
  }
}

IVL_INLINE std::string ExpressionParser::dotted_name() {
  std::string name = expect_name();
  while (skip_op(".")) name += "." + expect_name();
  return name;
}

IVL_INLINE void ExpressionParser::check_applied(const Expression& filter) const {
  const bool attribute = filter.text == "selectattr" || filter.text == "rejectattr";
  const std::size_t at = attribute ? 2 : 1;
  const bool tests = attribute || filter.text == "select" || filter.text == "reject";
  if ((!tests && filter.text != "map") || filter.parts.size() <= at || filter.parts[at]->kind != E::constant) return;
  const Value& name = filter.parts[at]->value;
  if (!name.is(jinja::Kind::string)) return;
  if (tests ? !is_test(name.bytes()) : !is_filter(name.bytes())) {
    refuse(filter.line, "the ", tests ? "test" : "filter", " ", in_quotes(name.bytes()), " is not supported");
  }
}

IVL_INLINE ExpressionPtr ExpressionParser::filters(ExpressionPtr node, bool begins) {
  while (begins || skip_op("|")) {
    begins = false;
    ExpressionPtr filter = make(E::filter, now().line);
    filter->parts.push_back(std::move(node));
    filter->text = dotted_name();
    if (!is_filter(filter->text)) refuse(filter->line, "the filter ", in_quotes(filter->text), " is not supported");
    if (now().is_op("(")) arguments(*filter);
    check_applied(*filter);
    node = done(std::move(filter));
  }
  return node;
}

IVL_INLINE ExpressionPtr ExpressionParser::test(ExpressionPtr node) {
  const int line = take().line;
  const bool negated = skip_name("not");
  ExpressionPtr test = make(E::test, line, std::move(node));
  test->text = dotted_name();
  if (!is_test(test->text)) refuse(line, "the test ", in_quotes(test->text), " is not supported");
  const Token& next = now();
  const bool is_argument = next.kind == Token::Kind::name || next.kind == Token::Kind::string ||
                           next.kind == Token::Kind::integer || next.kind == Token::Kind::real || next.is_op("[") ||
                           next.is_op("{");
  if (next.is_op("(")) {
    arguments(*test);
  } else if (is_argument && !next.is_name("else") && !next.is_name("or") && !next.is_name("and")) {
    if (next.is_name("is")) refuse(line, "tests with 'is' cannot follow each other");
    test->parts.push_back(postfix(primary()));
  }
  test = done(std::move(test));
  return negated ? done(make(E::logical_not, line, std::move(test))) : std::move(test);
}

}  // namespace ivl::detail::jinja
