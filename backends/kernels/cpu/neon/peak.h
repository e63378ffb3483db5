#pragma once

#include <cstdint>

namespace quantfleet::neon {

std::int64_t int8_peak(std::int64_t rounds);
std::int64_t int8_peak_dotprod(std::int64_t rounds);
std::int64_t f32_peak(std::int64_t rounds);

}  // namespace quantfleet::neon
