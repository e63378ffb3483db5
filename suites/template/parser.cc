// Recursive descent over the tokens. Binding, loosest first: a if c else b · or · and · not · comparisons, in · + - · ~ ·
// * / // % · ** · unary - · postfix (. [] ()) · | filter, is test.
#include "suites/template/syntax.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>

namespace quantfleet::jinja {
namespace {

constexpr int kHeightMax = 150;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Body run() {
    Body body = parse_body({}, 0);
    if (now().kind != Token::Kind::kEnd) fail(fmt::format("'{}' has no beginning", tokens_[at_ + 1].text));
    return body;
  }

 private:
  using Kind = Expression::Kind;

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  [[noreturn]] void fail(std::string what) const { throw Failure{now().position, std::move(what)}; }
  std::string found() const {
    return now().kind == Token::Kind::kEnd ? std::string("the end of the template") : fmt::format("'{}'", now().text);
  }
  bool is_operator(std::string_view text) const { return now().kind == Token::Kind::kOperator && now().text == text; }
  bool is_name(std::string_view text) const { return now().kind == Token::Kind::kName && now().text == text; }
  bool accept_operator(std::string_view text) { return is_operator(text) && (take(), true); }
  bool accept_name(std::string_view text) { return is_name(text) && (take(), true); }
  void expect_operator(std::string_view text) {
    if (!accept_operator(text)) fail(fmt::format("expected '{}', found {}", text, found()));
  }
  void expect_tag_end() {
    if (now().kind != Token::Kind::kTagEnd) fail(fmt::format("expected '%}}', found {}", found()));
    take();
  }
  std::string expect_name() {
    if (now().kind != Token::Kind::kName) fail(fmt::format("expected a name, found {}", found()));
    return take().text;
  }

  ExpressionPtr make(Kind kind, Position position, std::string text = "") {
    auto node = std::make_unique<Expression>();
    node->kind = kind;
    node->position = position;
    node->text = std::move(text);
    return node;
  }
  void adopt(Expression& parent, ExpressionPtr child) {
    if (child) {
      parent.height = std::max(parent.height, child->height + 1);
      if (parent.height > kHeightMax)
        throw Failure{child->position, fmt::format("expression nested deeper than {}", kHeightMax), Code::kTooLarge};
    }
    parent.children.push_back(std::move(child));
  }
  ExpressionPtr join(Kind kind, Position position, std::string text, ExpressionPtr left, ExpressionPtr right) {
    auto node = make(kind, position, std::move(text));
    adopt(*node, std::move(left));
    adopt(*node, std::move(right));
    return node;
  }

  struct Nesting {
    explicit Nesting(Parser& of) : parser(of) {
      if (++of.nesting_ > kHeightMax)
        throw Failure{of.now().position, fmt::format("nested deeper than {}", kHeightMax), Code::kTooLarge};
    }
    ~Nesting() { --parser.nesting_; }
    Parser& parser;
  };

  // Statements up to a tag whose name is one of `ends` (not consumed).
  Body parse_body(std::initializer_list<std::string_view> ends, int loops) {
    Nesting nesting(*this);
    Body body;
    for (;;) {
      const Token& token = now();
      if (token.kind == Token::Kind::kEnd) {
        if (ends.size()) fail(fmt::format("expected '{{% {} %}}' before the end of the template", *(ends.end() - 1)));
        return body;
      }
      if (token.kind == Token::Kind::kText) {
        Statement text{Statement::Kind::kText, token.position, {}, {}, {}, {}, false, nullptr};
        text.text = take().text;
        body.statements.push_back(std::move(text));
      } else if (token.kind == Token::Kind::kPrintBegin) {
        Statement print{Statement::Kind::kPrint, token.position, {}, {}, {}, {}, false, nullptr};
        take();
        print.expression = expression_or_tuple();
        if (now().kind != Token::Kind::kPrintEnd) fail(fmt::format("expected '}}}}', found {}", found()));
        take();
        body.statements.push_back(std::move(print));
      } else {
        if (next().kind != Token::Kind::kName) {
          take();
          fail(fmt::format("expected the name of a tag, found {}", found()));
        }
        const std::string& name = next().text;
        if (std::find(ends.begin(), ends.end(), name) != ends.end()) return body;
        if (name.starts_with("end") || name == "else" || name == "elif") {
          if (!ends.size()) return body;  // run() says that it has no beginning
          take();
          fail(fmt::format("expected '{{% {} %}}', found {}", *(ends.end() - 1), found()));
        }
        body.statements.push_back(parse_tag(loops));
      }
    }
  }

  Statement parse_tag(int loops) {
    take();
    Statement statement{Statement::Kind::kText, now().position, {}, {}, {}, {}, false, nullptr};
    const std::string name = take().text;
    if (name == "if") {
      statement.kind = Statement::Kind::kIf;
      statement.conditions.push_back(expression());
      expect_tag_end();
      for (;;) {
        statement.bodies.push_back(parse_body({"elif", "else", "endif"}, loops));
        take();
        const std::string end = take().text;
        if (end == "elif") {
          statement.conditions.push_back(expression());
          expect_tag_end();
        } else {
          expect_tag_end();
          if (end == "endif") return statement;
          statement.bodies.push_back(parse_body({"endif"}, loops));
          take(), take();
          expect_tag_end();
          return statement;
        }
      }
    }
    if (name == "for") {
      statement.kind = Statement::Kind::kFor;
      do statement.names.push_back(expect_name());
      while (accept_operator(","));
      if (!accept_name("in")) fail(fmt::format("expected 'in', found {}", found()));
      statement.expression = disjunction();
      if (accept_name("if")) statement.conditions.push_back(expression());
      expect_tag_end();
      statement.bodies.push_back(parse_body({"else", "endfor"}, loops + 1));
      take();
      const bool has_else = take().text == "else";
      expect_tag_end();
      if (has_else) {
        statement.bodies.push_back(parse_body({"endfor"}, loops));
        take(), take();
        expect_tag_end();
      }
      return statement;
    }
    if (name == "set") {
      statement.kind = Statement::Kind::kSet;
      statement.names.push_back(expect_name());
      if (accept_operator(".")) {
        statement.names.push_back(expect_name());
        statement.sets_attribute = true;
      } else {
        while (accept_operator(",")) statement.names.push_back(expect_name());
      }
      if (accept_operator("=")) {
        statement.expression = expression_or_tuple();
        expect_tag_end();
        return statement;
      }
      if (statement.names.size() != 1) fail(fmt::format("expected '=', found {}", found()));
      expect_tag_end();
      statement.kind = Statement::Kind::kSetBlock;
      statement.bodies.push_back(parse_body({"endset"}, 0));
      take(), take();
      expect_tag_end();
      return statement;
    }
    if (name == "generation") {  // marks what a model wrote, for training: printed as it is
      statement.kind = Statement::Kind::kBlock;
      expect_tag_end();
      statement.bodies.push_back(parse_body({"endgeneration"}, loops));
      take(), take();
      expect_tag_end();
      return statement;
    }
    if (name == "macro") {
      statement.kind = Statement::Kind::kMacro;
      statement.names.push_back(expect_name());
      expect_operator("(");
      while (!accept_operator(")")) {
        statement.names.push_back(expect_name());
        statement.conditions.push_back(accept_operator("=") ? expression() : nullptr);
        if (!is_operator(")")) expect_operator(",");
      }
      expect_tag_end();
      statement.bodies.push_back(parse_body({"endmacro"}, 0));
      take(), take();
      if (now().kind == Token::Kind::kName) take();  // the name again
      expect_tag_end();
      return statement;
    }
    if (name == "break" || name == "continue") {
      if (!loops) throw Failure{statement.position, fmt::format("'{}' outside of a loop", name)};
      statement.kind = name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue;
      expect_tag_end();
      return statement;
    }
    throw Failure{statement.position,
                  fmt::format("tag '{}' is not supported (if, for, set, macro, break, continue are)", name), Code::kUnsupported};
  }

  ExpressionPtr expression_or_tuple() {
    ExpressionPtr first = expression();
    if (!is_operator(",")) return first;
    auto list = make(Kind::kList, first->position);
    adopt(*list, std::move(first));
    while (accept_operator(",")) {
      if (now().kind == Token::Kind::kTagEnd || now().kind == Token::Kind::kPrintEnd || is_operator(")")) break;
      adopt(*list, expression());
    }
    return list;
  }

  ExpressionPtr expression() {
    Nesting nesting(*this);
    ExpressionPtr value = disjunction();
    while (is_name("if")) {
      auto node = make(Kind::kConditional, take().position);
      adopt(*node, std::move(value));
      adopt(*node, disjunction());
      adopt(*node, accept_name("else") ? expression() : nullptr);
      value = std::move(node);
    }
    return value;
  }

  ExpressionPtr disjunction() {
    ExpressionPtr left = conjunction();
    while (is_name("or")) {
      const Position position = take().position;
      left = join(Kind::kOr, position, "or", std::move(left), conjunction());
    }
    return left;
  }

  ExpressionPtr conjunction() {
    ExpressionPtr left = negation();
    while (is_name("and")) {
      const Position position = take().position;
      left = join(Kind::kAnd, position, "and", std::move(left), negation());
    }
    return left;
  }

  ExpressionPtr negation() {
    if (!is_name("not")) return comparison();
    Nesting nesting(*this);
    auto node = make(Kind::kNot, take().position);
    adopt(*node, negation());
    return node;
  }

  ExpressionPtr comparison() {
    ExpressionPtr left = sum();
    auto node = make(Kind::kCompare, now().position);
    for (;;) {
      std::string op;
      for (std::string_view candidate : {"==", "!=", "<=", ">=", "<", ">"})
        if (is_operator(candidate)) op = candidate;
      if (is_name("in")) op = "in";
      if (is_name("not") && next().kind == Token::Kind::kName && next().text == "in") {
        take();
        op = "not in";
      }
      if (op.empty()) break;
      take();
      if (node->children.empty()) adopt(*node, std::move(left));
      node->operators.push_back(op);
      adopt(*node, sum());
    }
    return node->children.empty() ? std::move(left) : std::move(node);
  }

  using Level = ExpressionPtr (Parser::*)();
  ExpressionPtr binary(std::initializer_list<std::string_view> operators, Level operand) {
    ExpressionPtr left = (this->*operand)();
    for (;;) {
      bool matched = false;
      for (std::string_view op : operators) {
        if (!is_operator(op)) continue;
        const Position position = take().position;
        left = join(Kind::kBinary, position, std::string(op), std::move(left), (this->*operand)());
        matched = true;
        break;
      }
      if (!matched) return left;
    }
  }
  ExpressionPtr sum() { return binary({"+", "-"}, &Parser::concatenation); }
  ExpressionPtr concatenation() { return binary({"~"}, &Parser::product); }
  ExpressionPtr product() { return binary({"*", "/", "//", "%"}, &Parser::power); }
  ExpressionPtr power() { return binary({"**"}, &Parser::unary_with_filters); }

  ExpressionPtr unary_with_filters() { return filters(unary()); }
  ExpressionPtr unary() {
    Nesting nesting(*this);
    if (is_operator("-")) {
      auto node = make(Kind::kNegate, take().position);
      adopt(*node, unary());
      return node;
    }
    if (accept_operator("+")) return unary();
    return postfix(primary());
  }

  ExpressionPtr primary() {
    const Token token = now();
    switch (token.kind) {
      case Token::Kind::kString: {
        auto node = make(Kind::kLiteral, token.position);
        std::string value;
        while (now().kind == Token::Kind::kString) value += take().text;  // neighbours join
        node->literal = std::move(value);
        return node;
      }
      case Token::Kind::kInteger: {
        take();
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
        if (error != std::errc{} || end != token.text.data() + token.text.size())
          throw Failure{token.position, fmt::format("integer {} does not fit into 64 bits", token.text)};
        auto node = make(Kind::kLiteral, token.position);
        node->literal = value;
        return node;
      }
      case Token::Kind::kFloat: {
        take();
        double value = 0;
        const auto [end, error] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
        if (error != std::errc{} || end != token.text.data() + token.text.size())
          throw Failure{token.position, fmt::format("number {} is out of range", token.text)};
        auto node = make(Kind::kLiteral, token.position);
        node->literal = value;
        return node;
      }
      case Token::Kind::kName: {
        take();
        auto node = make(Kind::kLiteral, token.position);
        if (token.text == "true" || token.text == "True") return node->literal = true, std::move(node);
        if (token.text == "false" || token.text == "False") return node->literal = false, std::move(node);
        if (token.text == "none" || token.text == "None") return node;
        for (std::string_view word : {"and", "or", "not", "in", "is", "if", "else"})
          if (token.text == word) throw Failure{token.position, fmt::format("expected a value, found '{}'", word)};
        node->kind = Kind::kName;
        node->text = token.text;
        return node;
      }
      default: break;
    }
    if (accept_operator("(")) {
      if (accept_operator(")")) return make(Kind::kList, token.position);
      ExpressionPtr inner = expression_or_tuple();
      expect_operator(")");
      return inner;
    }
    if (accept_operator("[")) {
      auto list = make(Kind::kList, token.position);
      while (!accept_operator("]")) {
        adopt(*list, expression());
        if (!is_operator("]")) expect_operator(",");
      }
      return list;
    }
    if (accept_operator("{")) {
      auto dictionary = make(Kind::kDictionary, token.position);
      while (!accept_operator("}")) {
        adopt(*dictionary, expression());
        expect_operator(":");
        adopt(*dictionary, expression());
        if (!is_operator("}")) expect_operator(",");
      }
      return dictionary;
    }
    fail(fmt::format("expected a value, found {}", found()));
  }

  void arguments(Expression& call) {  // behind "("
    while (!accept_operator(")")) {
      if (now().kind == Token::Kind::kName && next().kind == Token::Kind::kOperator && next().text == "=") {
        std::string name = take().text;
        take();
        ExpressionPtr value = expression();
        call.height = std::max(call.height, value->height + 1);
        call.keywords.emplace_back(std::move(name), std::move(value));
      } else {
        adopt(call, expression());
      }
      if (!is_operator(")")) expect_operator(",");
    }
  }

  ExpressionPtr postfix(ExpressionPtr value) {
    for (;;) {
      const Position position = now().position;
      if (accept_operator(".")) {
        auto node = make(Kind::kAttribute, position);
        if (now().kind == Token::Kind::kInteger) {  // list.0
          node->kind = Kind::kIndex;
          adopt(*node, std::move(value));
          adopt(*node, primary());
        } else {
          node->text = expect_name();
          adopt(*node, std::move(value));
        }
        value = std::move(node);
      } else if (accept_operator("[")) {
        auto node = make(Kind::kIndex, position);
        adopt(*node, std::move(value));
        ExpressionPtr first = is_operator(":") ? nullptr : expression();
        if (is_operator(":")) {
          node->kind = Kind::kSlice;
          adopt(*node, std::move(first));
          take();
          adopt(*node, is_operator("]") || is_operator(":") ? nullptr : expression());
          adopt(*node, accept_operator(":") && !is_operator("]") ? expression() : nullptr);
        } else {
          adopt(*node, std::move(first));
        }
        expect_operator("]");
        value = std::move(node);
      } else if (accept_operator("(")) {
        auto node = make(Kind::kCall, position);
        adopt(*node, std::move(value));
        arguments(*node);
        value = std::move(node);
      } else {
        return value;
      }
    }
  }

  ExpressionPtr filters(ExpressionPtr value) {
    for (;;) {
      const Position position = now().position;
      if (accept_operator("|")) {
        auto node = make(Kind::kFilter, position, expect_name());
        adopt(*node, std::move(value));
        if (accept_operator("(")) arguments(*node);
        value = postfix(std::move(node));
      } else if (accept_name("is")) {
        const bool negated = accept_name("not");
        auto node = make(Kind::kTest, position, expect_name());
        adopt(*node, std::move(value));
        if (accept_operator("(")) {
          arguments(*node);
        } else if (now().kind == Token::Kind::kInteger || now().kind == Token::Kind::kString) {
          adopt(*node, primary());
        }
        value = std::move(node);
        if (negated) {
          auto inverse = make(Kind::kNot, position);
          adopt(*inverse, std::move(value));
          value = std::move(inverse);
        }
      } else {
        return value;
      }
    }
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int nesting_ = 0;
};

}  // namespace

Body parse(std::vector<Token> tokens) { return Parser(std::move(tokens)).run(); }

}  // namespace quantfleet::jinja
