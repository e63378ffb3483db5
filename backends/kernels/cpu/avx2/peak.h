#pragma once

#include <cstdint>

namespace quantfleet::avx2 {

std::int64_t int8_peak(std::int64_t rounds);
std::int64_t f32_peak(std::int64_t rounds);
std::int64_t read_streams(const unsigned char* bytes, std::uint64_t count);

}  // namespace quantfleet::avx2
