// Loops that do one thing as fast as an instruction set can: for ceilings.h.
#pragma once

#include <cstdint>

namespace quantfleet::peak {

struct Loops {
  std::int64_t (*int8)(std::int64_t rounds);  // independent dot products of bytes
  double int8_per_round;                      // multiply-accumulates
  std::int64_t (*f32)(std::int64_t rounds);   // independent fused multiply-adds
  double f32_per_round;
  std::int64_t (*read)(const unsigned char* bytes, std::uint64_t count);  // four streams, prefetched
  std::int64_t (*read_plain)(const unsigned char* bytes, std::uint64_t count);  // from one end to the other
};

Loops loops();  // of this CPU's best instruction set

}  // namespace quantfleet::peak
