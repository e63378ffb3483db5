// The sixteen values that codes of IQ4_NL and IQ4_XS choose from.
#pragma once

#include <cstdint>

namespace quantfleet {

inline constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

}  // namespace quantfleet
