#pragma once

#include <cstdint>

namespace quantfleet::avx512 {

std::int64_t int8_peak(std::int64_t rounds);
std::int64_t f32_peak(std::int64_t rounds);

}  // namespace quantfleet::avx512
