// Final answers in LaTeX, compared as mathematics where that is cheap and as normalised text otherwise.
//   rules: hendrycks   the answer is what stands between the first and the last $ (or all of it); equal when the normal forms of
//                      Hendrycks et al. 2021 are (units off, \frac12 spelled out, 0.5 as \frac{1}{2}, ...)
//   rules: minerva     the answer stands between "Final Answer: The final answer is" and ". I hope it is correct."; equal when the
//                      normal forms of Lewkowycz et al. 2022, appendix D, are, or the expressions have equal values
//   accuracy   no_answer (minerva): 1 when the phrase is missing
// The right answer is the last \boxed{} of `solution` (template, required).
// Source: EleutherAI lm-evaluation-harness, hendrycks_math and minerva_math. Its minerva asks SymPy whether the difference simplifies
// to 0; here both are evaluated at complex points, see suites/scorers/latex_value.h.
#pragma once

#include "suites/scorers/scorer.h"

#include <optional>
#include <string>
#include <string_view>

namespace quantfleet {

Result<std::unique_ptr<Scorer>> make_math_answer(const ScorerSpec& spec, const Task& task);

std::optional<std::string> last_boxed(const std::string& solution);            // its content
bool equal_by_hendrycks(const std::string& a, const std::string& b);
std::string normalised_by_minerva(std::string answer);

}  // namespace quantfleet
