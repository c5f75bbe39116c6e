// Over 400 lines: statements, macros and expressions call each other, and share the scopes of one class.
#pragma once
#include <algorithm>
#include <optional>
#include <vector>

#include "ivl/files/json.hpp"
#include "ivl/text/jinja_filters.hpp"
#include "ivl/text/jinja_functions.hpp"
#include "ivl/text/jinja_interpreter.hpp"
#include "ivl/text/jinja_methods.hpp"
#include "ivl/text/jinja_operators.hpp"
#include "ivl/text/jinja_print.hpp"
#include "ivl/text/jinja_tests.hpp"

namespace ivl::detail::jinja {

/// The variables of one scope that is being run.
struct Frame : Object {
  explicit Frame(std::shared_ptr<Frame> outer_frame) : outer(std::move(outer_frame)) {}
  std::shared_ptr<Frame> outer;
  std::vector<Value> variables;
  bool kept = false;
  void clear() override { variables.clear(); }
};
using FramePtr = std::shared_ptr<Frame>;

/// A macro where it was defined, with the variables that it sees.
struct Macro : Object {
  const Statement* definition = nullptr;
  FramePtr frame;
};

class Interpreter {
 public:
  Interpreter(const Template& parsed, const ChatTemplateLimits& limits) : parsed_(parsed), run_(parsed.where, limits) {}

  std::string render(const nlohmann::ordered_json& context) {
    if (!context.is_object()) run_.fail("expected an object to render, found ", context.type_name());
    context_ = from_json(run_, context);
    std::string text;
    const FramePtr root = std::make_shared<Frame>(nullptr);
    begin(*root, parsed_.scope);
    execute(parsed_.body, root, text);
    return text;
  }

 private:
  enum class Flow { next, broken, continued };
  using E = Expression::Kind;
  using S = Statement::Kind;

  class Level {
   public:
    explicit Level(Interpreter& interpreter) : depth_(interpreter.depth_) {
      if (++depth_ > max_run_depth) {
        --depth_;
        interpreter.run_.fail("expected at most ", max_run_depth, " calls and blocks inside of each other, found more");
      }
    }
    ~Level() { --depth_; }

   private:
    int& depth_;
  };

  // ---- variables -----------------------------------------------------------------------------------

  static Value& variable(Frame& frame, const Place& place) {
    Frame* at = &frame;
    for (int i = 0; i < place.scopes; ++i) at = at->outer.get();
    return at->variables[std::size_t(place.variable)];
  }
  /// Gives every variable except the parameters its first value.
  void begin(Frame& frame, const Scope& scope) {
    run_.charge(scope.begins.size() + 1);
    frame.variables.resize(scope.begins.size());
    for (std::size_t i = 0; i < scope.begins.size(); ++i) {
      const Scope::Begin& how = scope.begins[i];
      switch (how.kind) {
        case Scope::Begin::Kind::parameter:
          break;
        case Scope::Begin::Kind::context: {
          const Value* found = find(run_, context_.as<Dict>(), how.name);
          frame.variables[i] = found ? *found : global(how.name);
          break;
        }
        case Scope::Begin::Kind::outer:
          frame.variables[i] = variable(frame, how.outer);
          break;
        case Scope::Begin::Kind::undefined:
          frame.variables[i] = Value();
          break;
      }
    }
  }
  FramePtr inner(const FramePtr& outer, const Scope& scope) {
    auto frame = std::make_shared<Frame>(outer);
    begin(*frame, scope);
    return frame;
  }

  void assign(const Expression& target, Value value, Frame& frame) {
    if (target.kind == E::name) {
      variable(frame, target.place) = std::move(value);
    } else if (target.kind == E::member) {
      set_member(target, std::move(value), frame);
    } else {
      Iterator iterator(run_, value);
      std::vector<Value> parts;
      for (Value part; parts.size() <= target.parts.size() && iterator.next(run_, part);) parts.push_back(part);
      if (parts.size() != target.parts.size()) {
        run_.fail("expected ", target.parts.size(), " values to set as many names, found ",
                  parts.size() > target.parts.size() ? "more" : std::to_string(parts.size()));
      }
      for (std::size_t i = 0; i < parts.size(); ++i) assign(*target.parts[i], std::move(parts[i]), frame);
    }
  }
  void set_member(const Expression& target, Value value, Frame& frame) {
    auto& members = variable(frame, target.place).as<Namespace>().members;
    run_.charge(members.size() / 8 + 1);
    for (auto& [name, old] : members) {
      if (name == target.attribute) {
        old = std::move(value);
        return;
      }
    }
    members.emplace_back(target.attribute, std::move(value));
  }
  /// Only members of namespaces can be set, which is checked before the value is made.
  void check_members(const Expression& target, Frame& frame) {
    if (target.kind == E::member && !variable(frame, target.place).is(Kind::name_space)) {
      run_.line = target.line;
      run_.fail("cannot set ", target.text, ".", target.attribute, ": ", target.text, " is no namespace");
    }
    if (target.kind == E::tuple) {
      for (const ExpressionPtr& part : target.parts) check_members(*part, frame);
    }
  }

  // ---- statements ----------------------------------------------------------------------------------

  Flow execute(const Body& body, const FramePtr& frame, std::string& text) {
    for (const Statement& statement : body) {
      run_.line = statement.line;
      run_.charge(1);
      if (const Flow flow = execute(statement, frame, text); flow != Flow::next) return flow;
    }
    return Flow::next;
  }

  Flow execute(const Statement& statement, const FramePtr& frame, std::string& text) {
    const Level level(*this);
    switch (statement.kind) {
      case S::data:
        run_.append(text, statement.text);
        return Flow::next;
      case S::print:
        print(evaluate(*statement.expression, *frame), text);
        return Flow::next;
      case S::condition:
        return execute(truth(evaluate(*statement.expression, *frame)) ? statement.body : statement.otherwise, frame,
                       text);
      case S::loop:
        return loop(statement, frame, text);
      case S::set:
        check_members(*statement.target, *frame);
        assign(*statement.target, evaluate(*statement.expression, *frame), *frame);
        return Flow::next;
      case S::macro:
        variable(*frame, statement.target->place) = macro(statement, frame);
        return Flow::next;
      case S::call_block:
        call_block(statement, frame, text);
        return Flow::next;
      case S::break_loop:
        return Flow::broken;
      case S::continue_loop:
        return Flow::continued;
      case S::with: {
        std::vector<Value> values;
        const FramePtr own = inner(frame, statement.scope);
        for (std::size_t i = 0; i < statement.parameters.size(); ++i) {
          assign(*statement.parameters[i], evaluate(*statement.defaults[i], *frame), *own);
        }
        return execute(statement.body, own, text);
      }
      case S::set_block:
      case S::filter_block:
        break;
    }
    const FramePtr own = inner(frame, statement.scope);
    std::string block;
    if (const Flow flow = execute(statement.body, own, block); flow != Flow::next) return flow;
    run_.line = statement.line;
    block_ = run_.text(std::move(block));
    const Value value = statement.expression ? evaluate(*statement.expression, *own) : block_;
    if (statement.kind == S::filter_block) {
      append(value, text);
    } else {
      check_members(*statement.target, *frame);
      assign(*statement.target, value, *frame);
    }
    return Flow::next;
  }

  /// What a block makes is not converted.
  void append(const Value& value, std::string& text) {
    if (!value.is(Kind::string)) run_.fail("expected a block that makes a str, found ", type_name(value));
    print(value, text);
  }
  void print(const Value& value, std::string& text) {
    if (value.is(Kind::string)) return run_.append(text, value.bytes());
    run_.append(text, str(run_, value));
  }

  Flow loop(const Statement& statement, const FramePtr& frame, std::string& text) {
    const auto state = std::make_shared<Loop>();
    const Value source = evaluate(*statement.expression, *frame);
    Iterator iterator(run_, source);
    if (!statement.test) {
      if (iterator.has_size()) state->length = length(run_, source);
      state->next_item = [this, iterator](Value& item) mutable { return iterator.next(run_, item); };
    } else {
      state->next_item = [this, iterator, &statement, own = FramePtr(), frame](Value& item) mutable {
        if (!own) own = inner(frame, statement.test_scope);
        while (iterator.next(run_, item)) {
          assign(*statement.target, item, *own);
          if (truth(evaluate(*statement.test, *own))) return true;
        }
        return false;
      };
    }
    const Value loop_value(Kind::loop, state);
    const FramePtr own = std::make_shared<Frame>(frame);
    own->variables.resize(statement.scope.begins.size());
    bool none = true;
    for (Value item; state->advance(item);) {
      assign(*statement.target, item, *own);
      own->variables[std::size_t(statement.loop_variable)] = loop_value;
      begin(*own, statement.scope);
      const Flow flow = execute(statement.body, own, text);
      if (flow == Flow::broken) break;
      if (flow == Flow::next) none = false;  // jinja2 takes a loop that only continues for one without items
    }
    if (!none || statement.otherwise.empty()) return Flow::next;
    return execute(statement.otherwise, inner(frame, statement.otherwise_scope), text);
  }

  // ---- macros --------------------------------------------------------------------------------------

  Value macro(const Statement& definition, const FramePtr& frame) {
    auto macro = std::make_shared<Macro>();
    macro->definition = &definition;
    macro->frame = frame;
    // A frame that holds a macro that holds the frame: taken apart at the end.
    for (FramePtr at = frame; at && !at->kept; at = at->outer) {
      at->kept = true;
      run_.keep(at);
    }
    return run_.object(Kind::macro, std::move(macro), 0);
  }

  Value call_macro(const Macro& macro, Args args) {
    const Statement& definition = *macro.definition;
    const std::size_t count = definition.parameters.size();
    const auto frame = std::make_shared<Frame>(macro.frame);
    auto& variables = frame->variables;
    variables.resize(definition.scope.begins.size());
    const auto take_named = [&](std::string_view name) {
      const auto found = std::ranges::find(args.named, name, &std::pair<std::string, Value>::first);
      if (found == args.named.end()) return Value();
      Value value = std::move(found->second);
      args.named.erase(found);
      return value;
    };
    for (std::size_t i = 0; i < count; ++i) {
      const auto place = std::size_t(definition.parameters[i]->place.variable);
      variables[place] = i < args.positional.size() ? args.positional[i] : take_named(definition.parameters[i]->text);
    }
    if (definition.caller >= 0) {
      Value caller = take_named("caller");
      const bool has_caller = !caller.is(Kind::missing) && !caller.is(Kind::none);
      variables[std::size_t(definition.caller)] = has_caller ? caller : undefined("No caller defined");
    }
    const std::string name = definition.text.empty() ? "caller" : definition.text;
    if (definition.other_named >= 0) {
      std::vector<std::pair<Value, Value>> members;
      for (auto& [key, value] : args.named) members.emplace_back(run_.text(key), std::move(value));
      variables[std::size_t(definition.other_named)] = run_.dict(std::move(members));
    } else if (!args.named.empty()) {
      run_.fail("macro '", name, "' takes no argument ", in_quotes(args.named[0].first));
    }
    if (definition.other_places >= 0) {
      std::vector<Value> others;
      if (args.positional.size() > count) {
        others.assign(args.positional.begin() + std::ptrdiff_t(count), args.positional.end());
      }
      variables[std::size_t(definition.other_places)] = run_.sequence(Kind::tuple, std::move(others));
    } else if (args.positional.size() > count) {
      run_.fail("macro '", name, "' takes at most ", count, " arguments, found ", args.positional.size());
    }
    begin(*frame, definition.scope);
    const std::size_t first_default = count - definition.defaults.size();
    for (std::size_t i = 0; i < count; ++i) {
      const Expression& parameter = *definition.parameters[i];
      Value& value = variables[std::size_t(parameter.place.variable)];
      if (!value.is(Kind::missing)) continue;
      Value otherwise = i < first_default ? parameter.value : evaluate(*definition.defaults[i - first_default], *frame);
      variables[std::size_t(parameter.place.variable)] = std::move(otherwise);
    }
    std::string text;
    execute(definition.body, frame, text);
    return run_.text(std::move(text));
  }

  void call_block(const Statement& statement, const FramePtr& frame, std::string& text) {
    Value caller = macro(statement, frame);
    if (!statement.expression) return append(call(caller, {}), text);  // {% generation %}
    const Expression& expression = *statement.expression;
    const Value callee = evaluate(*expression.parts[0], *frame);
    Args args = arguments(expression, 1, *frame);
    if (std::ranges::find(args.named, "caller", [](const auto& one) { return one.first; }) != args.named.end()) {
      run_.fail("the argument 'caller' is given twice");
    }
    args.named.emplace_back("caller", std::move(caller));
    run_.line = expression.line;
    append(call(callee, std::move(args)), text);
  }

  Args arguments(const Expression& expression, std::size_t first, Frame& frame) {
    Args args;
    for (std::size_t i = first; i < expression.parts.size(); ++i) {
      args.positional.push_back(evaluate(*expression.parts[i], frame));
    }
    for (const auto& [name, part] : expression.named) {
      Value value = evaluate(*part, frame);
      if (!name.starts_with('*')) {
        args.named.emplace_back(name, std::move(value));
      } else {
        add_unpacked(args, name, value);
      }
    }
    return args;
  }

  /// The arguments of *value or **value.
  void add_unpacked(Args& args, std::string_view stars, const Value& value) {
    need_defined(run_, value);
    if (stars == "*") {
      for (Value& item : Iterator(run_, value).rest(run_)) args.positional.push_back(std::move(item));
      return;
    }
    if (!value.is(Kind::dict)) run_.fail("'**': expected a dict, found ", type_name(value));
    for (const auto& [key, member] : value.as<Dict>().members) {
      if (!key.is(Kind::string)) run_.fail("'**': expected names that are str, found ", type_name(key));
      const auto is_key = [&](const auto& named) { return named.first == key.bytes(); };
      if (std::ranges::any_of(args.named, is_key)) {
        run_.fail("the argument ", in_quotes(key.bytes()), " is given twice");
      }
      args.named.emplace_back(key.bytes(), member);
    }
  }

  Value call(const Value& callee, Args args) {
    const Level level(*this);
    switch (callee.kind()) {
      case Kind::macro:
        return call_macro(callee.as<Macro>(), std::move(args));
      case Kind::method:
        return call_method(run_, callee.as<Callable>(), std::move(args));
      case Kind::function:
        return call_function(run_, callee.as<Callable>().name, std::move(args));
      case Kind::loop:
        run_.fail("a loop must be recursive to be called, which is not supported");
      default:
        need_defined(run_, callee);
        run_.fail("expected something to call, found ", type_name(callee));
    }
  }

  // ---- expressions ---------------------------------------------------------------------------------

  Value evaluate(const ExpressionPtr& expression, Frame& frame) {
    return expression ? evaluate(*expression, frame) : Value();
  }
  Value evaluate(const Expression& expression, Frame& frame) {
    run_.line = expression.line;
    run_.charge(1);
    if (expression.kind == E::constant) return expression.value;
    if (expression.kind == E::name) {
      const Value& value = variable(frame, expression.place);
      return value.is(Kind::missing) ? expression.value : value;
    }
    const Level level(*this);
    return compound(expression, frame);
  }

  Value compound(const Expression& expression, Frame& frame) {
    const auto part = [&](std::size_t i) { return evaluate(expression.parts[i], frame); };
    switch (expression.kind) {
      case E::list:
      case E::tuple: {
        Args items = arguments(expression, 0, frame);
        return run_.sequence(expression.kind == E::list ? Kind::list : Kind::tuple, std::move(items.positional));
      }
      case E::dict:
        return dict(expression, frame);
      case E::attribute: {
        const Value of = part(0);
        run_.line = expression.line;
        return attribute(run_, of, expression.text);
      }
      case E::item: {
        const Value of = part(0), key = part(1);
        run_.line = expression.line;
        return item(run_, of, key);
      }
      case E::slice: {
        const Value of = part(0), first = part(1), last = part(2), step = part(3);
        run_.line = expression.line;
        return slice(run_, of, first, last, step);
      }
      case E::call: {
        const Value callee = part(0);
        Args args = arguments(expression, 1, frame);
        run_.line = expression.line;
        return call(callee, std::move(args));
      }
      case E::filter: {
        const Value value = expression.parts[0] ? part(0) : block_;
        Args args = arguments(expression, 1, frame);
        run_.line = expression.line;
        return apply_filter(run_, expression.text, value, std::move(args));
      }
      case E::test: {
        const Value value = part(0);
        Args args = arguments(expression, 1, frame);
        run_.line = expression.line;
        return apply_test(run_, expression.text, value, std::move(args));
      }
      case E::negate:
        return negate(run_, part(0));
      case E::plus:
        return arithmetic(run_, Op::add, 0, part(0));
      case E::logical_not:
        return !truth(part(0));
      case E::logical_and: {
        Value left = part(0);
        return truth(left) ? part(1) : left;
      }
      case E::logical_or: {
        Value left = part(0);
        return truth(left) ? left : part(1);
      }
      case E::arithmetic: {
        const Value left = part(0), right = part(1);
        run_.line = expression.line;
        return arithmetic(run_, expression.ops[0], left, right);
      }
      case E::concatenate: {
        std::string text;
        for (std::size_t i = 0; i < expression.parts.size(); ++i) print(part(i), text);
        return run_.text(std::move(text));
      }
      case E::compare:
        return comparison(expression, frame);
      case E::conditional:
        if (truth(part(1))) return part(0);
        if (expression.parts[2]) return part(2);
        return undefined("the inline if-expression evaluated to false and no else section was defined");
      default:
        run_.fail("cannot be evaluated");
    }
  }

  Value dict(const Expression& expression, Frame& frame) {
    std::vector<std::pair<Value, Value>> members;
    for (std::size_t i = 0; i < expression.parts.size(); i += 2) {
      Value key = evaluate(expression.parts[i], frame);
      set(run_, members, std::move(key), evaluate(expression.parts[i + 1], frame));
    }
    return run_.dict(std::move(members));
  }

  Value comparison(const Expression& expression, Frame& frame) {
    Value left = evaluate(expression.parts[0], frame);
    for (std::size_t i = 0; i < expression.ops.size(); ++i) {
      Value right = evaluate(expression.parts[i + 1], frame);
      run_.line = expression.line;
      if (!compares(run_, expression.ops[i], left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  const Template& parsed_;
  Run run_;
  Value context_, block_;
  int depth_ = 0;
};

IVL_INLINE std::string interpret(const Template& parsed, const nlohmann::ordered_json& context,
                                 const ChatTemplateLimits& limits) {
  return Interpreter(parsed, limits).render(context);
}

}  // namespace ivl::detail::jinja
