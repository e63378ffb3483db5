// Generated code, executed against its item's tests in a sandbox.
//   Python program = program template (prompt + generation), newline, tests template, a last line of ours
//   accuracy  1 when the program reached that last line and exited with 0 within the limits
// The last line writes a word that the program cannot know, so that exit() before the tests is no success. A sandbox that
// cannot run is the row's error, never a wrong answer.
// Source: the pass@1 of HumanEval (Chen et al. 2021) with one greedy sample.
#pragma once

#include "suites/scorers/scorer.h"

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_code_tests(const ScorerSpec& spec, const Task& task);

}  // namespace quantfleet
