#pragma once
#include <algorithm>
#include <cassert>
#include <set>
#include <string_view>

#include "ivl/text/jinja_lexer.hpp"
#include "ivl/text/jinja_scopes.hpp"

namespace ivl::detail::jinja {

/// Calls visit(part) for the expressions right inside of one.
template <class Visit>
void each_part(const Expression& expression, const Visit& visit) {
  for (const ExpressionPtr& part : expression.parts) {
    if (part) visit(*part);
  }
  for (const auto& [name, part] : expression.named) visit(*part);
}

/// The names of one scope, while they are found: jinja2's Symbols.
class Symbols {
 public:
  using Begin = Scope::Begin::Kind;
  explicit Symbols(const Symbols* parent) : parent_(parent) {}

  void parameter(const std::string& name) {
    stores_.insert(name);
    begin(name) = Begin::parameter;
  }
  void store(const std::string& name) {
    stores_.insert(name);
    if (!find(name)) begin(name) = parent_ && parent_->knows(name) ? Begin::outer : Begin::undefined;
  }
  void load(const std::string& name) {
    if (!knows(name)) begin(name) = Begin::context;
  }

  void read(const Expression& expression) {
    if (expression.kind == Expression::Kind::name || expression.kind == Expression::Kind::member) load(expression.text);
    each_part(expression, [&](const Expression& part) { read(part); });
  }
  /// The names of a target; `store` is called with each that is no member of a namespace.
  template <class Store>
  void write(const Expression& target, const Store& store) {
    if (target.kind == Expression::Kind::name) return store(target.text);
    if (target.kind == Expression::Kind::member) return load(target.text);
    each_part(target, [&](const Expression& part) { write(part, store); });
  }
  void parameters(const Expression& target) {
    write(target, [&](const std::string& name) { parameter(name); });
  }

  void visit(const Body& body) {
    for (const Statement& statement : body) visit(statement);
  }
  void visit(const Statement& statement) {
    using S = Statement::Kind;
    switch (statement.kind) {
      case S::print:
      case S::loop:
      case S::call_block:
      case S::filter_block:
        if (statement.expression) read(*statement.expression);
        break;
      case S::set:
        read(*statement.expression);
        [[fallthrough]];
      case S::set_block:
        write(*statement.target, [&](const std::string& name) { store(name); });
        break;
      case S::with:
        for (const ExpressionPtr& value : statement.defaults) read(*value);
        break;
      case S::macro:
        store(statement.text);
        break;
      case S::condition: {
        read(*statement.expression);
        Symbols body(*this), otherwise(*this);
        body.visit(statement.body);
        otherwise.visit(statement.otherwise);
        merge({&body, &otherwise});
        break;
      }
      default:
        break;
    }
  }

  Place place(const std::string& name) const {
    int scopes = 0;
    for (const Symbols* symbols = this; symbols; symbols = symbols->parent_, ++scopes) {
      if (const auto* found = symbols->find(name)) return {scopes, int(found - symbols->names_.data())};
    }
    assert(!"a name that no scope knows");
    return {};
  }
  Scope scope() const {
    Scope scope;
    for (const auto& [name, kind] : names_) {
      scope.names.push_back(name);
      Place outer;
      if (kind == Begin::outer) outer = parent_->place(name), ++outer.scopes;
      scope.begins.push_back({kind, name, outer});
    }
    return scope;
  }
  bool comes_from_context(const std::string& name) const {
    const auto* found = find(name);
    return found ? found->second == Begin::context : !parent_ || parent_->comes_from_context(name);
  }

 private:
  const std::pair<std::string, Begin>* find(const std::string& name) const {
    const auto found = std::ranges::find(names_, name, &std::pair<std::string, Begin>::first);
    return found == names_.end() ? nullptr : &*found;
  }
  bool knows(const std::string& name) const { return find(name) || (parent_ && parent_->knows(name)); }
  Begin& begin(const std::string& name) {
    const auto* found = find(name);
    return found ? names_[std::size_t(found - names_.data())].second : names_.emplace_back(name, Begin()).second;
  }

  /// What a branch alone sets begins as what it was outside.
  void merge(std::initializer_list<const Symbols*> branches) {
    std::set<std::string> stores;
    for (const Symbols* branch : branches) stores.insert(branch->stores_.begin(), branch->stores_.end());
    for (const std::string& name : stores_) stores.erase(name);
    for (const Symbols* branch : branches) {
      for (const auto& [name, kind] : branch->names_) begin(name) = kind;
      stores_.insert(branch->stores_.begin(), branch->stores_.end());
    }
    for (const std::string& name : stores) {
      begin(name) = parent_ && parent_->knows(name) ? Begin::outer : Begin::context;
    }
  }

  const Symbols* parent_;
  std::vector<std::pair<std::string, Begin>> names_;
  std::set<std::string> stores_;
};

/// Whether a macro's body reads `name` before it sets it: jinja2's UndeclaredNameVisitor.
class Mention {
 public:
  explicit Mention(std::string_view name) : name_(name) {}
  bool in(const Body& body) {
    for (const Statement& statement : body) visit(statement);
    return read_;
  }

 private:
  void read(const Expression& expression) {
    if (set_ || read_) return;
    read_ = expression.kind == Expression::Kind::name && expression.text == name_;
    each_part(expression, [&](const Expression& part) { read(part); });
  }
  void read(const ExpressionPtr& expression) {
    if (expression) read(*expression);
  }
  void write(const Expression& target) {
    if (target.kind == Expression::Kind::name && target.text == name_) set_ = true;
    each_part(target, [&](const Expression& part) { write(part); });
  }
  void visit(const Statement& statement) {
    if (set_ || read_) return;
    if (statement.target) write(*statement.target);
    read(statement.expression);
    for (const ExpressionPtr& parameter : statement.parameters) write(*parameter);
    for (const ExpressionPtr& value : statement.defaults) read(value);
    in(statement.body);
    in(statement.otherwise);
    read(statement.test);
  }

  std::string_view name_;
  bool set_ = false, read_ = false;
};

class NameResolver {
 public:
  explicit NameResolver(const std::string& where) : where_(where) {}

  void body(Body& body, const Symbols& symbols) {
    for (Statement& one : body) statement(one, symbols);
  }

 private:
  using S = Statement::Kind;

  void expression(Expression& expression, const Symbols& symbols) const {
    const bool is_name = expression.kind == Expression::Kind::name;
    if (is_name || expression.kind == Expression::Kind::member) expression.place = symbols.place(expression.text);
    if (is_name && expression.text == "self" && symbols.comes_from_context("self")) {
      refuse(where_, expression.line, "the name 'self' is not supported");
    }
    if (expression.kind == Expression::Kind::call && expression.parts[0]->kind == Expression::Kind::name) {
      const std::string& name = expression.parts[0]->text;
      const bool known = name == "lipsum" || name == "cycler" || name == "joiner";
      if (known && symbols.comes_from_context(name)) {
        refuse(where_, expression.line, "the function '", name, "' is not supported");
      }
    }
    for (ExpressionPtr& part : expression.parts) this->expression(part, symbols);
    for (auto& [name, part] : expression.named) this->expression(part, symbols);
  }
  void expression(ExpressionPtr& expression, const Symbols& symbols) const {
    if (expression) this->expression(*expression, symbols);
  }

  void check_no_loop(const Expression& target) const {
    if (loops_ > 0 && target.kind == Expression::Kind::name && target.text == "loop") {
      refuse(where_, target.line, "'loop' cannot be set inside of a loop");
    }
    each_part(target, [&](const Expression& part) { check_no_loop(part); });
  }

  void statement(Statement& statement, const Symbols& symbols) {
    switch (statement.kind) {
      case S::data:
      case S::break_loop:
      case S::continue_loop:
        return;
      case S::print:
        return expression(statement.expression, symbols);
      case S::condition:
        expression(statement.expression, symbols);
        body(statement.body, symbols);
        return body(statement.otherwise, symbols);
      case S::loop:
        return loop(statement, symbols);
      case S::set:
        check_no_loop(*statement.target);
        expression(statement.expression, symbols);
        return expression(statement.target, symbols);
      case S::macro:
        return macro(statement, symbols);
      case S::call_block:
        expression(statement.expression, symbols);
        return macro(statement, symbols);
      case S::with:
        for (ExpressionPtr& value : statement.defaults) expression(value, symbols);
        break;
      case S::set_block:
        check_no_loop(*statement.target);
        expression(statement.target, symbols);
        break;
      case S::filter_block:
        break;
    }
    Symbols inner(&symbols);
    for (const ExpressionPtr& target : statement.parameters) inner.parameters(*target);
    inner.visit(statement.body);
    if (statement.expression) inner.read(*statement.expression);
    statement.scope = inner.scope();
    for (ExpressionPtr& target : statement.parameters) expression(target, inner);
    expression(statement.expression, inner);
    body(statement.body, inner);
  }

  void loop(Statement& loop, const Symbols& symbols) {
    expression(loop.expression, symbols);
    ++loops_;
    check_no_loop(*loop.target);
    Symbols inner(&symbols), test(&symbols);
    inner.parameters(*loop.target);  // first in both scopes, so that the target's places are right in both
    test.parameters(*loop.target);
    inner.parameter("loop");
    inner.visit(loop.body);
    loop.scope = inner.scope();
    loop.loop_variable = inner.place("loop").variable;
    expression(loop.target, inner);
    body(loop.body, inner);
    if (loop.test) {
      test.read(*loop.test);
      loop.test_scope = test.scope();
      expression(loop.test, test);
    }
    Symbols otherwise(&symbols);
    otherwise.visit(loop.otherwise);
    loop.otherwise_scope = otherwise.scope();
    body(loop.otherwise, otherwise);
    --loops_;
  }

  void macro(Statement& macro, const Symbols& symbols) {
    Symbols inner(&symbols);
    for (const ExpressionPtr& parameter : macro.parameters) inner.parameter(parameter->text);
    const auto special = [&](const std::string& name, int& variable) {
      if (!Mention(name).in(macro.body)) return;
      inner.parameter(name);
      variable = inner.place(name).variable;
    };
    special("caller", macro.caller);
    special("kwargs", macro.other_named);
    special("varargs", macro.other_places);
    for (const ExpressionPtr& value : macro.defaults) inner.read(*value);
    inner.visit(macro.body);
    macro.scope = inner.scope();
    for (ExpressionPtr& parameter : macro.parameters) expression(parameter, inner);
    for (ExpressionPtr& value : macro.defaults) expression(value, inner);
    body(macro.body, inner);
    if (macro.kind == S::macro) name_place(macro, symbols);
  }
  /// Where the macro itself goes: into a target like any other.
  void name_place(Statement& macro, const Symbols& symbols) const {
    macro.target = std::make_unique<Expression>();
    macro.target->kind = Expression::Kind::name;
    macro.target->line = macro.line;
    macro.target->text = macro.text;
    macro.target->place = symbols.place(macro.text);
  }

  const std::string& where_;
  int loops_ = 0;
};

IVL_INLINE void resolve_names(Template& parsed) {
  Symbols root(nullptr);
  root.visit(parsed.body);
  parsed.scope = root.scope();
  NameResolver(parsed.where).body(parsed.body, root);
}

}  // namespace ivl::detail::jinja
