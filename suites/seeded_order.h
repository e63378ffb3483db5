// Our own small generator, so that an order is the same with every compiler and library for ever.
// SplitMix64 (Steele, Lea, Flood 2014); numbers below a bound by rejection, so that none is favoured; Fisher-Yates shuffles.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace quantfleet {

class SeededGenerator {
 public:
  explicit SeededGenerator(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::uint64_t below(std::uint64_t bound);  // bound > 0

 private:
  std::uint64_t state_;
};

// A permutation of 0 .. count - 1.
std::vector<int> seeded_order(int count, std::uint64_t seed);

// `count` different numbers of 0 .. pool - 1, never `excluded` (-1: none), in drawn order; depends on (seed, text) only.
// count must not be more than there are.
std::vector<int> seeded_sample(int pool, int count, int excluded, std::uint64_t seed, std::string_view text);

}  // namespace quantfleet
