#include "suites/seeded_order.h"

#include <numeric>
#include <utility>

namespace quantfleet {

std::uint64_t SeededGenerator::next() {
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::uint64_t SeededGenerator::below(std::uint64_t bound) {
  const std::uint64_t reject_from = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t value = next();
  while (value >= reject_from) value = next();
  return value % bound;
}

std::vector<int> seeded_order(int count, std::uint64_t seed) {
  std::vector<int> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  SeededGenerator generator(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[generator.below(i)]);
  return order;
}

std::vector<int> seeded_sample(int pool, int count, int excluded, std::uint64_t seed, std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  SeededGenerator generator(seed ^ hash);
  std::vector<int> candidates;
  for (int i = 0; i < pool; ++i)
    if (i != excluded) candidates.push_back(i);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    std::swap(candidates[i], candidates[i + generator.below(candidates.size() - i)]);
  candidates.resize(static_cast<std::size_t>(count));
  return candidates;
}

}  // namespace quantfleet
