// Generated code, asked for values that are compared in another process: the expected values never meet the program.
//   item's tests    lines "assert EXPRESSION == LITERAL" (the template `tests`)
//   candidate       Python: program template (prompt + generation), then each EXPRESSION's repr on a marked line
//   comparison      equal text, else Python's == of both literals (ast.literal_eval) in a second, fresh sandbox
//   accuracy        1 when the candidate exited with 0 and said every value, in order, each equal
// A program can only pass by knowing the values; patching ==, assert or exit codes does not help it (docs/sandbox.md).
// For items whose tests are values of expressions; others need code_tests, where tests and program share a process.
#pragma once

#include "suites/scorers/scorer.h"

#include <utility>

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_code_values(const ScorerSpec& spec, const Task& task);

// EXPRESSION and LITERAL of each line of `tests`; empty lines are skipped. The error names the line that has another form.
Result<std::vector<std::pair<std::string, std::string>>> value_tests(std::string_view tests);

}  // namespace quantfleet
