// Cuts a template into text and the tokens inside {{ }} and {% %}; applies whitespace control, so that the parser sees
// only what will be printed. Internal to suites/template.
#pragma once

#include "contract/error.h"
#include "suites/template/template.h"

#include <string>
#include <string_view>
#include <vector>

namespace quantfleet::jinja {

struct Position {
  int line = 1, column = 1;
};

// Thrown inside this folder only; Template turns it into an Error.
struct Failure {
  Position position;
  std::string what;
  Code code = Code::kBadValue;
};

struct Token {
  enum class Kind {
    kText,                                   // outside of tags
    kPrintBegin, kPrintEnd, kTagBegin, kTagEnd,
    kName, kInteger, kFloat, kString, kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  std::string text;  // of a string: its value, escapes replaced
  Position position;
};

// Throws Failure. Ends with one kEnd token.
std::vector<Token> tokenize(std::string_view source, const TemplateOptions& options);

}  // namespace quantfleet::jinja
