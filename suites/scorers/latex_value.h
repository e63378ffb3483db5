// Do two LaTeX expressions have the same value? Numbers, letters, + - * / ^, juxtaposition, \frac, \sqrt, \cdot, \times, \div,
// brackets, indices. Letters (\pi too) stand for complex numbers; both are evaluated at fixed points in double precision and must
// agree to 1e-9 at all of them. Anything else (pairs, sets, equations, words) has no value.
#pragma once

#include <string_view>

namespace quantfleet {

bool equal_values(std::string_view a, std::string_view b);  // false where one of them has none

}  // namespace quantfleet
