// The syntax tree of a template. Heights are limited by the parser, so that walking it never exhausts the stack.
// Internal to suites/template.
#pragma once

#include "suites/template/lexer.h"

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace quantfleet::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kLiteral,      // literal
    kName,         // text
    kList,         // children
    kDictionary,   // children: key, value, key, value ...
    kAttribute,    // children[0] . text
    kIndex,        // children[0] [ children[1] ]
    kSlice,        // children[0] [ children[1] : children[2] : children[3] ], nullptr where absent
    kCall,         // children[0] ( children[1..], keywords )
    kFilter,       // children[0] | text ( children[1..], keywords )
    kTest,         // children[0] is text ( children[1..] )
    kNot, kNegate, // children[0]
    kAnd, kOr,     // children[0], children[1]
    kBinary,       // children[0] text children[1]
    kCompare,      // children[0] operators[0] children[1] operators[1] children[2] ...
    kConditional,  // children[0] if children[1] else children[2] (nullptr where absent)
  };
  Kind kind{};
  Position position;
  std::string text;
  nlohmann::json literal;
  std::vector<ExpressionPtr> children;
  std::vector<std::string> operators;
  std::vector<std::pair<std::string, ExpressionPtr>> keywords;
  int height = 1;
};

struct Statement;

struct Body {
  std::vector<Statement> statements;
};

struct Statement {
  enum class Kind { kText, kPrint, kIf, kFor, kSet, kSetBlock, kBlock, kMacro, kBreak, kContinue };
  Kind kind{};
  Position position;
  std::string text;                       // kText
  std::vector<ExpressionPtr> conditions;  // kIf: one per branch but a final else;  kFor: the filter, if any;  kMacro: defaults or nullptr
  std::vector<Body> bodies;               // kIf: one per branch;  kFor: body, else;  kSetBlock, kBlock: body
  std::vector<std::string> names;         // kFor, kSet: targets;  kSet of an attribute: name, attribute;  kMacro: name, parameters
  bool sets_attribute = false;
  ExpressionPtr expression;               // kPrint, kFor, kSet
};

// Throws Failure.
Body parse(std::vector<Token> tokens);

}  // namespace quantfleet::jinja
