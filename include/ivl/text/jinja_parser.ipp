#pragma once
#include <algorithm>
#include <array>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_expressions.hpp"
#include "ivl/text/jinja_parser.hpp"

namespace ivl::detail::jinja {

/// The statements, function by function those of jinja2.parser.
class Parser : ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Body run() { return statements({}); }

 private:
  using Names = std::vector<std::string_view>;
  using S = Statement::Kind;

  /// Up to the first of the tags `ends`, whose name is then the current token; to the end of the template where there
  /// are none. `line` is that of the tag before.
  Body statements(const Names& ends, int line = 0) {
    const Level level(*this);
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
    const int line = now().line;
    expect_end(Token::Kind::block_end);
    return statements(ends, line);
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
      constexpr std::array<std::string_view, 8> known{"block",  "extends", "include",    "from",
                                                      "import", "do",      "autoescape", "trans"};
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

  int loops_ = 0;
};

IVL_INLINE Template parse(std::string_view source, const std::string& where) {
  return {where, Parser(source, where).run(), {}};
}

}  // namespace ivl::detail::jinja
