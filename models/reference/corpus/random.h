// Counter-based random numbers: draw k of stream (seed, stream, index) is a hash of those four numbers, so that any document
// can be generated alone, in any order, on any machine, with the same bytes (numerics.md rule 5: no <random>).
// Hash: SplitMix64's finalizer (Steele, Lea, Flood 2014), applied to a Weyl sequence. Not for cryptography.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace quantfleet::reference {

constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

// 64-bit hash of a text (FNV-1a, then mixed): used to hold out wordings and documents from training.
constexpr std::uint64_t hash_text(std::string_view text, std::uint64_t seed = 0) {
  std::uint64_t h = 0xcbf29ce484222325ull ^ mix64(seed);
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return mix64(h);
}

class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t stream, std::uint64_t index)
      : key_(mix64(mix64(mix64(seed) ^ stream) ^ index)) {}

  std::uint64_t next() { return mix64(key_ ^ mix64(counter_++)); }
  // Uniform in 0..count-1; count >= 1. The bias of the multiply-shift is below count / 2^32.
  int below(int count) { return static_cast<int>(((next() >> 32) * static_cast<std::uint64_t>(count)) >> 32); }
  int between(int low, int high) { return low + below(high - low + 1); }  // both ends included
  bool chance(int percent) { return below(100) < percent; }

  template <class T>
  const T& pick(const std::vector<T>& from) { return from[static_cast<std::size_t>(below(static_cast<int>(from.size())))]; }

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[static_cast<std::size_t>(below(static_cast<int>(i)))]);
  }

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

}  // namespace quantfleet::reference
