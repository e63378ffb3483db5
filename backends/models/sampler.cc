#include "backends/models/sampler.h"

#include "backends/kernels/elementary.h"
#include "backends/kernels/kernels.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace quantfleet {
namespace {

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

}  // namespace

std::uint64_t random_bits(std::uint64_t seed, std::uint64_t counter) {
  return mix(mix(seed + 0x9e3779b97f4a7c15ull) + (counter + 1) * 0x9e3779b97f4a7c15ull);
}

double random_uniform(std::uint64_t seed, std::uint64_t counter) {
  return static_cast<double>(random_bits(seed, counter) >> 11) * 0x1p-53;
}

std::int32_t sample_token(std::span<const float> logits, float temperature, std::uint64_t seed, std::uint64_t step, float top_p) {
  const auto best = static_cast<std::int32_t>(argmax(logits.data(), static_cast<std::int64_t>(logits.size())));
  if (!(temperature > 0)) return best;
  const float top = logits[static_cast<std::size_t>(best)];
  // Two passes in order of ids, sums in double: the same draw everywhere.
  const auto weight = [&](float logit) { return static_cast<double>(elementary::exp((logit - top) / temperature)); };
  double sum = 0;
  for (const float logit : logits) sum += weight(logit);
  if (top_p < 1) {
    std::vector<std::int32_t> ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    const auto logit_of = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
    std::stable_sort(ids.begin(), ids.end(), [&](std::int32_t a, std::int32_t b) { return logit_of(a) > logit_of(b); });
    double kept = 0;
    std::size_t count = 0;
    while (count < ids.size() && kept < static_cast<double>(top_p) * sum) kept += weight(logit_of(ids[count++]));
    const double threshold = random_uniform(seed, step) * kept;
    double reached = 0;
    for (std::size_t i = 0; i < count; ++i) {
      reached += weight(logit_of(ids[i]));
      if (reached > threshold) return ids[i];
    }
    return best;
  }
  const double threshold = random_uniform(seed, step) * sum;
  double reached = 0;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    reached += weight(logits[id]);
    if (reached > threshold) return static_cast<std::int32_t>(id);
  }
  return best;
}

}  // namespace quantfleet
