// Walks the syntax tree. A {% for %} opens a scope, so {% set %} inside it ends with it (namespaces carry values out).
#include "suites/template/template.h"

#include "suites/template/functions.h"
#include "suites/template/syntax.h"
#include "suites/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace quantfleet {
namespace jinja {
namespace {

enum class Flow { kNext, kBreak, kContinue };

class Renderer {
 public:
  Renderer(const Json& variables, Meter& meter) : variables_(variables), meter_(meter) { scopes_.emplace_back(); }

  std::string run(const Body& body) {
    std::string out;
    print(body, out);
    return out;
  }

 private:
  using Kind = Expression::Kind;

  Flow print(const Body& body, std::string& out) {
    for (const Statement& statement : body.statements) {
      meter_.position = statement.position;
      meter_.step();
      const Flow flow = print(statement, out);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  Flow print(const Statement& statement, std::string& out) {
    switch (statement.kind) {
      case Statement::Kind::kText: append(out, statement.text); break;
      case Statement::Kind::kPrint: append(out, to_text(evaluate(*statement.expression), meter_)); break;
      case Statement::Kind::kIf:
        for (std::size_t i = 0; i < statement.bodies.size(); ++i)
          if (i >= statement.conditions.size() || truth(evaluate(*statement.conditions[i]), meter_))
            return print(statement.bodies[i], out);
        break;
      case Statement::Kind::kFor: loop(statement, out); break;
      case Statement::Kind::kSet: set(statement); break;
      case Statement::Kind::kSetBlock: {
        std::string text;
        print(statement.bodies[0], text);
        scopes_.back()[statement.names[0]] = of(std::move(text));
        break;
      }
      case Statement::Kind::kBlock: return print(statement.bodies[0], out);
      case Statement::Kind::kMacro: macros_[statement.names[0]] = &statement; break;
      case Statement::Kind::kBreak: return Flow::kBreak;
      case Statement::Kind::kContinue: return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void append(std::string& out, const std::string& text) {
    out += text;
    meter_.grows(out.size(), text.size());
  }

  void assign(const std::vector<std::string>& names, const Value& value, std::map<std::string, Value>& scope) {
    if (names.size() == 1) {
      scope[names[0]] = value;
      return;
    }
    const std::vector<Value> parts = elements(value, meter_);
    if (parts.size() != names.size())
      meter_.fail(fmt::format("expected {} values to unpack, got {}", names.size(), parts.size()));
    for (std::size_t i = 0; i < names.size(); ++i) scope[names[i]] = parts[i];
  }

  void set(const Statement& statement) {
    const Value value = evaluate(*statement.expression);
    meter_.position = statement.position;
    if (!statement.sets_attribute) return assign(statement.names, value, scopes_.back());
    const Value space = look_up(statement.names[0]);
    if (!space.members) meter_.fail(fmt::format("'{}' is not a namespace", statement.names[0]));
    if (value.members) meter_.fail("a namespace cannot hold a namespace");
    (*space.members)[statement.names[1]] = value;
  }

  void loop(const Statement& statement, std::string& out) {
    const std::vector<Value> all = elements(evaluate(*statement.expression), meter_);
    std::vector<Value> kept;
    for (const Value& element : all) {
      if (!statement.conditions.empty()) {
        scopes_.emplace_back();
        assign(statement.names, element, scopes_.back());
        const bool keep = truth(evaluate(*statement.conditions[0]), meter_);
        scopes_.pop_back();
        if (!keep) continue;
      }
      kept.push_back(element);
    }
    if (kept.empty() && statement.bodies.size() > 1) {
      print(statement.bodies[1], out);
      return;
    }
    for (std::size_t i = 0; i < kept.size(); ++i) {
      meter_.step();
      scopes_.emplace_back();
      assign(statement.names, kept[i], scopes_.back());
      scopes_.back()["loop"] = loop_variable(kept, i);
      const Flow flow = print(statement.bodies[0], out);
      scopes_.pop_back();
      if (flow == Flow::kBreak) break;
    }
  }

  static Value loop_variable(const std::vector<Value>& all, std::size_t i) {
    Value loop;
    loop.members = std::make_shared<std::map<std::string, Value>>();
    auto& members = *loop.members;
    const auto at = static_cast<std::int64_t>(i), size = static_cast<std::int64_t>(all.size());
    members["index"] = of(at + 1);
    members["index0"] = of(at);
    members["revindex"] = of(size - at);
    members["revindex0"] = of(size - at - 1);
    members["first"] = of(i == 0);
    members["last"] = of(i + 1 == all.size());
    members["length"] = of(size);
    if (i) members["previtem"] = all[i - 1];
    if (i + 1 < all.size()) members["nextitem"] = all[i + 1];
    return loop;
  }

  // What a macro prints. It sees its parameters and what stands outside of all loops, not the place that calls it.
  Value call_macro(const Statement& macro, const Arguments& given) {
    constexpr int kDepthMax = 16;
    if (++macro_depth_ > kDepthMax) meter_.fail(fmt::format("macros call each other more than {} deep", kDepthMax), Code::kTooLarge);
    const std::vector<std::string>& names = macro.names;  // its own, then its parameters'
    if (given.positional.size() + 1 > names.size()) meter_.fail(fmt::format("macro '{}' has {} parameters", names[0], names.size() - 1));
    for (const auto& [name, value] : given.keywords)
      if (std::find(names.begin() + 1, names.end(), name) == names.end()) meter_.fail(fmt::format("macro '{}' has no parameter '{}'", names[0], name));
    std::map<std::string, Value> scope;
    for (std::size_t i = 1; i < names.size(); ++i) {
      const Value* value = given.find(i - 1, names[i]);
      if (value) scope[names[i]] = *value;
      else if (macro.conditions[i - 1]) scope[names[i]] = evaluate(*macro.conditions[i - 1]);
      else scope[names[i]] = undefined(names[i]);
    }
    std::vector<std::map<std::string, Value>> outer(std::make_move_iterator(scopes_.begin() + 1), std::make_move_iterator(scopes_.end()));
    scopes_.resize(1);
    scopes_.push_back(std::move(scope));
    std::string text;
    print(macro.bodies[0], text);
    scopes_.resize(1);
    scopes_.insert(scopes_.end(), std::make_move_iterator(outer.begin()), std::make_move_iterator(outer.end()));
    --macro_depth_;
    return of(std::move(text));
  }

  Value look_up(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const auto found = scope->find(name);
      if (found != scope->end()) return found->second;
    }
    const auto found = variables_.find(name);
    if (found == variables_.end()) return undefined(name);
    return {std::shared_ptr<const Json>(std::shared_ptr<void>(), &*found), nullptr, {}};  // outlives the rendering
  }

  Arguments arguments(const Expression& call) {
    Arguments result;
    for (std::size_t i = 1; i < call.children.size(); ++i) result.positional.push_back(evaluate(*call.children[i]));
    for (const auto& [name, value] : call.keywords) result.keywords.emplace_back(name, evaluate(*value));
    meter_.position = call.position;
    return result;
  }

  bool compare(const std::string& op, const Value& left, const Value& right) {
    if (op == "in") return contains(right, left, meter_);
    if (op == "not in") return !contains(right, left, meter_);
    if (meter_.strict_undefined()) {
      require(left, fmt::format("'{}'", op), meter_);
      require(right, fmt::format("'{}'", op), meter_);
    }
    if (op == "==") return equal(left, right);
    if (op == "!=") return !equal(left, right);
    const int sign = order(require(left, "a comparison", meter_), require(right, "a comparison", meter_), meter_);
    return op == "<" ? sign < 0 : op == "<=" ? sign <= 0 : op == ">" ? sign > 0 : sign >= 0;
  }

  Value evaluate(const Expression& node) {
    meter_.step();
    meter_.position = node.position;
    const auto child = [&](std::size_t i) { return evaluate(*node.children[i]); };
    const auto here = [&] { meter_.position = node.position; };
    switch (node.kind) {
      case Kind::kLiteral: return {std::shared_ptr<const Json>(std::shared_ptr<void>(), &node.literal), nullptr, {}};
      case Kind::kName: return look_up(node.text);
      case Kind::kList: {
        Json list = Json::array();
        for (std::size_t i = 0; i < node.children.size(); ++i) {
          const Value element = child(i);
          meter_.copies(require(element, "a list", meter_));
          list.push_back(*element.json);
        }
        return of(std::move(list));
      }
      case Kind::kDictionary: {
        Json object = Json::object();
        for (std::size_t i = 0; i < node.children.size(); i += 2) {
          const Value key = child(i), element = child(i + 1);
          meter_.copies(require(element, "a dictionary", meter_));
          object[require_string(key, "a dictionary's key", meter_)] = *element.json;
        }
        return of(std::move(object));
      }
      case Kind::kAttribute: {
        const Value object = child(0);
        return here(), attribute(object, node.text, meter_);
      }
      case Kind::kIndex: {
        const Value object = child(0), key = child(1);
        return here(), index(object, key, meter_);
      }
      case Kind::kSlice: {
        const Value object = child(0);
        Value bounds[3];
        for (std::size_t i = 0; i < 3; ++i)
          if (node.children[i + 1]) bounds[i] = child(i + 1);
        here();
        return slice(object, node.children[1] ? &bounds[0] : nullptr, node.children[2] ? &bounds[1] : nullptr,
                     node.children[3] ? &bounds[2] : nullptr, meter_);
      }
      case Kind::kCall: {
        const Expression& callee = *node.children[0];
        if (callee.kind == Kind::kAttribute) {
          const Value object = evaluate(*callee.children[0]);
          const Arguments given = arguments(node);
          if (object.is_undefined()) meter_.fail(fmt::format("'{}' is undefined, so it has no '{}'", object.name, callee.text));
          return call_method(object, callee.text, given, meter_);
        }
        if (callee.kind != Kind::kName) meter_.fail("only functions and methods can be called");
        const auto macro = macros_.find(callee.text);
        return macro != macros_.end() ? call_macro(*macro->second, arguments(node)) : call_function(callee.text, arguments(node), meter_);
      }
      case Kind::kFilter: {
        const Value value = child(0);
        return apply_filter(node.text, value, arguments(node), meter_);
      }
      case Kind::kTest: {
        const Value value = child(0);
        return of(apply_test(node.text, value, arguments(node), meter_));
      }
      case Kind::kNot: return of(!truth(child(0), meter_));
      case Kind::kNegate: {
        const Value value = child(0);
        return here(), binary("-", of(0), value, meter_);
      }
      case Kind::kAnd: {
        const Value left = child(0);
        return truth(left, meter_) ? child(1) : left;
      }
      case Kind::kOr: {
        const Value left = child(0);
        return truth(left, meter_) ? left : child(1);
      }
      case Kind::kBinary: {
        const Value left = child(0), right = child(1);
        return here(), binary(node.text, left, right, meter_);
      }
      case Kind::kCompare: {
        Value left = child(0);
        for (std::size_t i = 0; i < node.operators.size(); ++i) {
          Value right = child(i + 1);
          here();
          if (!compare(node.operators[i], left, right)) return of(false);
          left = std::move(right);
        }
        return of(true);
      }
      case Kind::kConditional: {
        if (truth(child(1), meter_)) return child(0);
        return node.children[2] ? child(2) : undefined("the value of an if without else");
      }
    }
    return undefined("");
  }

  const Json& variables_;
  Meter& meter_;
  std::vector<std::map<std::string, Value>> scopes_;
  std::map<std::string, const Statement*> macros_;
  int macro_depth_ = 0;
};

Error error_at(const Failure& failure, std::string_view place) {
  return {failure.code, fmt::format("{}:{}:{}: {}", place, failure.position.line, failure.position.column, failure.what)};
}

}  // namespace
}  // namespace jinja

Result<Template> Template::parse(std::string_view source, std::string_view place, const TemplateOptions& options) {
  if (source.size() > kTemplateBytesMax)
    return Error{Code::kTooLarge, fmt::format("{}: template has {} bytes, at most {} are allowed", place, source.size(), kTemplateBytesMax)};
  if (const std::size_t bad = find_invalid_utf8(source); bad != std::string_view::npos)
    return Error{Code::kBadValue, fmt::format("{}: byte {} is not valid UTF-8", place, bad)};
  try {
    Template result;
    result.body_ = std::make_shared<const jinja::Body>(jinja::parse(jinja::tokenize(source, options)));
    result.place_ = place;
    result.options_ = options;
    return result;
  } catch (const jinja::Failure& failure) {
    return jinja::error_at(failure, place);
  }
}

Result<std::string> Template::render(const nlohmann::json& variables, const TemplateLimits& limits) const {
  jinja::Meter meter(limits, options_.strict_undefined);
  try {
    return jinja::Renderer(variables, meter).run(*body_);
  } catch (const jinja::Failure& failure) {
    return jinja::error_at(failure, place_);
  }
}

}  // namespace quantfleet
