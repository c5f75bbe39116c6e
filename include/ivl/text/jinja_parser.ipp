#pragma once
#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <set>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_filters.hpp"
#include "ivl/text/jinja_lexer.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_parser.hpp"

namespace ivl::detail::jinja {

/// A recursive descent, function by function that of jinja2.parser.
class Parser {
 public:
  Parser(std::string_view source, const std::string& where) : where_(where), tokens_(tokens_of(source, where)) {}

  Body run() { return statements({}); }

 private:
  using Names = std::vector<std::string_view>;
  using E = Expression::Kind;
  using S = Statement::Kind;

  // ---- tokens --------------------------------------------------------------------------------------

  const Token& now() const { return tokens_[at_]; }
  const Token& after() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return at_ + 1 < tokens_.size() ? std::move(tokens_[at_++]) : tokens_.back(); }
  bool skip_op(std::string_view op) { return now().is_op(op) && (take(), true); }
  bool skip_name(std::string_view name) { return now().is_name(name) && (take(), true); }

  template <class... Parts>
  [[noreturn]] void refuse(int line, const Parts&... parts) const {
    jinja::refuse(where_, line, parts...);
  }
  /// A name that may become a variable. Finding out which takes as long as there are names.
  std::string variable(int line, std::string name) {
    names_.insert(name);
    if (names_.size() > max_names) refuse(line, "expected at most ", max_names, " names, found more");
    return name;
  }
  static std::string describe(const Token& token) {
    switch (token.kind) {
      case Token::Kind::data:
        return "text";
      case Token::Kind::variable_begin:
        return "'{{'";
      case Token::Kind::variable_end:
        return "'}}'";
      case Token::Kind::block_begin:
        return "'{%'";
      case Token::Kind::block_end:
        return "'%}'";
      case Token::Kind::integer:
      case Token::Kind::real:
        return "a number";
      case Token::Kind::end:
        return "the end of the template";
      default:
        return in_quotes(token.text);
    }
  }
  void expect_op(std::string_view op) {
    if (!skip_op(op)) refuse(now().line, "expected '", op, "', found ", describe(now()));
  }
  std::string expect_name() {
    if (now().kind != Token::Kind::name) refuse(now().line, "expected a name, found ", describe(now()));
    return take().text;
  }
  void expect_end(Token::Kind kind) {
    if (now().kind != kind) {
      refuse(now().line, "expected '", kind == Token::Kind::block_end ? "%}" : "}}", "', found ", describe(now()));
    }
    take();
  }

  /// Counts nesting, for as long as it lives.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser.depth_ > max_syntax_depth) {
        parser.refuse(parser.now().line, "nested deeper than ", max_syntax_depth, " levels");
      }
    }
    ~Level() { --parser_.depth_; }

   private:
    Parser& parser_;
  };

  // ---- statements ----------------------------------------------------------------------------------

  /// Up to the first of the tags `ends`, whose name is then the current token; to the end of the template where there
  /// are none.
  Body statements(const Names& ends) {
    const Level level(*this);
    const int line = now().line;
    Body body;
    while (true) {
      switch (now().kind) {
        case Token::Kind::data: {
          Token token = take();
          add(body, S::data, token.line).text = std::move(token.text);
          break;
        }
        case Token::Kind::variable_begin: {
          take();
          const int print_line = now().line;
          add(body, S::print, print_line).expression = tuple_expression({});
          expect_end(Token::Kind::variable_end);
          break;
        }
        case Token::Kind::block_begin:
          take();
          if (now().kind == Token::Kind::name && std::ranges::find(ends, now().text) != ends.end()) return body;
          statement(body);
          expect_end(Token::Kind::block_end);
          break;
        default:
          if (!ends.empty()) refuse(line, "expected '{% ", ends.back(), " %}' for what begins here, found none");
          return body;
      }
    }
  }
  Statement& add(Body& body, S kind, int line) {
    Statement& statement = body.emplace_back();
    statement.kind = kind;
    statement.line = line;
    return statement;
  }
  /// The statements of a block: after its tag's last word up to `ends`.
  Body block(const Names& ends) {
    skip_op(":");
    expect_end(Token::Kind::block_end);
    return statements(ends);
  }
  Body last_block(std::string_view end) {
    Body body = block({end});
    take();
    return body;
  }

  void statement(Body& body) {
    if (now().kind != Token::Kind::name) refuse(now().line, "expected the name of a tag, found ", describe(now()));
    const Token tag = take();
    const std::string& name = tag.text;
    const auto outside_loops = [&](const auto& action) {
      const int loops = std::exchange(loops_, 0);
      action();
      loops_ = loops;
    };
    if (name == "for") {
      loop(add(body, S::loop, tag.line));
    } else if (name == "if") {
      condition(add(body, S::condition, tag.line));
    } else if (name == "set") {
      set(body, tag.line);
    } else if (name == "macro") {
      Statement& macro = add(body, S::macro, tag.line);
      macro.text = variable(tag.line, expect_name());
      signature(macro);
      outside_loops([&] { macro.body = last_block("endmacro"); });
    } else if (name == "call") {
      Statement& call = add(body, S::call_block, tag.line);
      if (now().is_op("(")) signature(call);
      call.expression = expression();
      if (call.expression->kind != E::call) refuse(tag.line, "expected a call after 'call'");
      outside_loops([&] { call.body = last_block("endcall"); });
    } else if (name == "generation") {
      Statement& generation = add(body, S::call_block, tag.line);
      outside_loops([&] { generation.body = last_block("endgeneration"); });
    } else if (name == "filter") {
      Statement& filter = add(body, S::filter_block, tag.line);
      filter.expression = filters(nullptr, true);
      filter.body = last_block("endfilter");
    } else if (name == "with") {
      with(add(body, S::with, tag.line));
    } else if (name == "print") {
      for (bool first = true; now().kind != Token::Kind::block_end; first = false) {
        if (!first) expect_op(",");
        const int line = now().line;
        add(body, S::print, line).expression = expression();
      }
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) refuse(tag.line, "'", name, "' outside of a loop");
      add(body, name == "break" ? S::break_loop : S::continue_loop, tag.line);
    } else {
      constexpr std::array<std::string_view, 8> known{"block",   "extends", "include",    "from",
                                                      "import",  "do",      "autoescape", "trans"};
      if (std::ranges::find(known, name) != known.end()) refuse(tag.line, "the tag '", name, "' is not supported");
      refuse(tag.line, "unexpected tag ", in_quotes(name));
    }
  }

  void loop(Statement& loop) {
    loop.target = target(false, "in");
    if (!skip_name("in")) refuse(now().line, "expected 'in', found ", describe(now()));
    loop.expression = tuple_expression({.conditional = false, .end = "recursive"});
    if (skip_name("if")) loop.test = expression();
    if (now().is_name("recursive")) refuse(now().line, "recursive loops are not supported");
    ++loops_;
    loop.body = block({"else", "endfor"});
    --loops_;
    if (take().text == "else") loop.otherwise = last_block("endfor");
  }

  void condition(Statement& first) {
    const Level level(*this);  // of each elif in the one before
    first.expression = tuple_expression({.conditional = false});
    first.body = block({"elif", "else", "endif"});
    const Token tag = take();
    if (tag.text == "elif") {
      condition(add(first.otherwise, S::condition, now().line));
    } else if (tag.text == "else") {
      first.otherwise = last_block("endif");
    }
  }

  void set(Body& body, int line) {
    ExpressionPtr place = target(true, "");
    if (skip_op("=")) {
      Statement& set = add(body, S::set, line);
      set.target = std::move(place);
      set.expression = tuple_expression({});
      return;
    }
    Statement& set = add(body, S::set_block, line);
    set.target = std::move(place);
    set.expression = filters(nullptr, false);
    set.body = last_block("endset");
  }

  void with(Statement& with) {
    while (now().kind != Token::Kind::block_end) {
      if (!with.parameters.empty()) expect_op(",");
      with.parameters.push_back(target(false, ""));
      expect_op("=");
      with.defaults.push_back(expression());
    }
    with.body = last_block("endwith");
  }

  void signature(Statement& macro) {
    expect_op("(");
    while (!now().is_op(")")) {
      if (!macro.parameters.empty()) expect_op(",");
      const int line = now().line;
      macro.parameters.push_back(make(E::name, line));
      std::string& name = macro.parameters.back()->text = variable(line, expect_name());
      if (name == "caller" || name == "kwargs" || name == "varargs") {
        refuse(line, "a parameter called '", name, "' is not supported");
      }
      macro.parameters.back()->value = undefined("parameter '" + name + "' was not provided");
      if (skip_op("=")) {
        macro.defaults.push_back(expression());
      } else if (!macro.defaults.empty()) {
        refuse(line, "a parameter without a default follows one that has a default");
      }
    }
    expect_op(")");
  }

  /// What can be set: names, tuples of them and, where wanted, members of namespaces.
  ExpressionPtr target(bool members, std::string_view end) {
    members_ = members;
    ExpressionPtr target = tuple_expression({.simple = true, .end = end});
    members_ = false;
    check_target(*target);
    return target;
  }
  void check_target(const Expression& target) const {
    if (target.kind == E::name || target.kind == E::member) return;
    if (target.kind != E::tuple) refuse(target.line, "expected a name to set, found another expression");
    for (const ExpressionPtr& part : target.parts) check_target(*part);
  }

  // ---- expressions ---------------------------------------------------------------------------------

  static ExpressionPtr make(E kind, int line) {
    auto expression = std::make_unique<Expression>();
    expression->kind = kind;
    expression->line = line;
    return expression;
  }
  static ExpressionPtr make(E kind, int line, ExpressionPtr first, ExpressionPtr second = nullptr) {
    ExpressionPtr expression = make(kind, line);
    expression->parts.push_back(std::move(first));
    if (second) expression->parts.push_back(std::move(second));
    return expression;
  }
  static ExpressionPtr constant(int line, Value value) {
    ExpressionPtr expression = make(E::constant, line);
    expression->value = std::move(value);
    return expression;
  }

  /// `expression`, now that it has all its parts.
  ExpressionPtr done(ExpressionPtr expression) const {
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

  struct TupleRules {
    bool simple = false, conditional = true, parentheses = false;
    std::string_view end = "";
  };
  /// An expression, or several with commas, which make a tuple.
  ExpressionPtr tuple_expression(const TupleRules& rules) {
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

  ExpressionPtr expression() {
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

  ExpressionPtr logical_or() {
    ExpressionPtr left = logical_and();
    for (int line = now().line; skip_name("or"); line = now().line) {
      left = done(make(E::logical_or, line, std::move(left), logical_and()));
    }
    return left;
  }
  ExpressionPtr logical_and() {
    ExpressionPtr left = logical_not();
    for (int line = now().line; skip_name("and"); line = now().line) {
      left = done(make(E::logical_and, line, std::move(left), logical_not()));
    }
    return left;
  }
  ExpressionPtr logical_not() {
    const int line = now().line;
    if (!skip_name("not")) return comparison();
    const Level level(*this);
    return done(make(E::logical_not, line, logical_not()));
  }

  std::optional<Op> comparison_op() {
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
  ExpressionPtr comparison() {
    ExpressionPtr first = sum();
    ExpressionPtr compare;
    for (int line = now().line; const std::optional<Op> op = comparison_op(); line = now().line) {
      if (!compare) compare = make(E::compare, line, std::move(first));
      compare->ops.push_back(*op);
      compare->parts.push_back(sum());
    }
    return compare ? done(std::move(compare)) : std::move(first);
  }

  using Ops = std::initializer_list<std::pair<std::string_view, Op>>;
  template <class Operand>
  ExpressionPtr chain(const Ops& ops, const Operand& operand) {
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
  ExpressionPtr sum() {
    return chain({{"+", Op::add}, {"-", Op::subtract}}, [&] { return concatenation(); });
  }
  ExpressionPtr concatenation() {
    const int line = now().line;
    ExpressionPtr first = product();
    if (!now().is_op("~")) return first;
    ExpressionPtr all = make(E::concatenate, line, std::move(first));
    while (skip_op("~")) all->parts.push_back(product());
    return done(std::move(all));
  }
  ExpressionPtr product() {
    return chain({{"*", Op::multiply}, {"/", Op::divide}, {"//", Op::floor_divide}, {"%", Op::modulo}},
                 [&] { return chain({{"**", Op::power}}, [&] { return unary(true); }); });
  }

  ExpressionPtr unary(bool with_filters) {
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

  ExpressionPtr primary() {
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
  void elements(std::string_view end, const Element& element) {
    for (bool first = true; !now().is_op(end); first = false) {
      if (!first) expect_op(",");
      if (now().is_op(end)) break;
      element();
    }
    expect_op(end);
  }

  ExpressionPtr name() {
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

  ExpressionPtr postfix(ExpressionPtr node) {
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
  ExpressionPtr attribute(ExpressionPtr node, int line) {
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
  ExpressionPtr subscript(ExpressionPtr node, int line) {
    const auto part = [&]() -> ExpressionPtr {
      return now().is_op(":") || now().is_op("]") || now().is_op(",") ? nullptr : expression();
    };
    ExpressionPtr first = part();
    if (!now().is_op(":")) {
      if (!first || !now().is_op("]")) refuse(now().line, "expected one index, found ", describe(now()));
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

  void arguments(Expression& call) {
    expect_op("(");
    for (bool first = true; !now().is_op(")"); first = false) {
      if (!first) expect_op(",");
      if (now().is_op(")")) break;
      if (now().is_op("*") || now().is_op("**")) {
        refuse(now().line, "arguments with '", now().text, "' are not supported");
      }
      if (now().kind == Token::Kind::name && after().is_op("=")) {
        std::string name = take().text;
        take();
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

  ExpressionPtr call(ExpressionPtr node) {
    ExpressionPtr call = make(E::call, now().line, std::move(node));
    const Expression& callee = *call->parts[0];
    if (callee.kind == E::attribute && !is_method(callee.text)) {
      refuse(callee.line, "the method '", callee.text, "' is not supported");
    }
    arguments(*call);
    return call;
  }

  ExpressionPtr filters_and_tests(ExpressionPtr node) {
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

  std::string dotted_name() {
    std::string name = expect_name();
    while (skip_op(".")) name += "." + expect_name();
    return name;
  }

  /// What map, select and their kin apply to each item is checked here, where it is written out.
  void check_applied(const Expression& filter) const {
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

  /// `begins`: the first has no '|' before it. A null `node` is what a block holds; null where there are no filters.
  ExpressionPtr filters(ExpressionPtr node, bool begins) {
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

  ExpressionPtr test(ExpressionPtr node) {
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

  static constexpr std::size_t max_names = 300;

  const std::string& where_;
  std::set<std::string> names_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
  bool members_ = false;  // while a target is read that may name members of namespaces
};

IVL_INLINE Template parse(std::string_view source, const std::string& where) {
  return {where, Parser(source, where).run(), {}};
}

}  // namespace ivl::detail::jinja
