// Do two LaTeX expressions have the same value? Numbers, letters, + - * / ^, juxtaposition, \frac, \sqrt, \cdot, \times, \div,
// brackets, indices. Letters and names (\pi, \in) stand for complex numbers; both are evaluated at fixed points in double precision
// and must agree to 1e-9 at all of them. As SymPy's reader of LaTeX, which lm-evaluation-harness asks, this one takes the longest
// beginning that is an expression: "4, 6" and "4, 7" both have the value of 4. What begins with none ("(1, 2)", ".5", "") has no value.
#pragma once

#include <string_view>

namespace quantfleet {

bool equal_values(std::string_view a, std::string_view b);  // false where one of them has none

}  // namespace quantfleet
