// A counter-based generator for resampling: SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number
// generators"). The same numbers on every machine and library; the standard's distributions are not.
#pragma once

#include <cstdint>

namespace quantfleet::statistics {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // Uniform over 0..count-1 by multiplication (Lemire 2019); the bias is below count / 2^64.
  std::uint64_t below(std::uint64_t count) {
    __extension__ using uint128 = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<uint128>(next()) * count) >> 64);
  }

 private:
  std::uint64_t state_;
};

}  // namespace quantfleet::statistics
