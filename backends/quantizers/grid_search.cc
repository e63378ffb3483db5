#include "backends/quantizers/grid_search.h"

#include "backends/quantizers/scale_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace quantfleet {

GridSearch::GridSearch(const GridTable& grid, float scale, float shift)
    : elements_(grid.elements), count_levels_(grid.bits == 2 ? 3 : 8) {
  for (int level = 0; level < count_levels_; ++level) levels_.push_back(scale * static_cast<float>(grid.alphabet[level]) + shift);
  for (int level = 1; level < count_levels_; ++level)
    thresholds_.push_back(0.5f * (levels_[static_cast<std::size_t>(level - 1)] + levels_[static_cast<std::size_t>(level)]));
  for (int entry = 0; entry < grid.entries; ++entry)
    for (int j = 0; j < elements_; ++j) values_.push_back(levels_[static_cast<std::size_t>(grid.code(entry, j))]);

  // Distances are summed element by element, the first outermost: points that share their first elements share those sums.
  const auto entries = static_cast<std::size_t>(grid.entries);
  std::size_t points = 1;
  for (int j = 0; j < elements_; ++j) points *= static_cast<std::size_t>(count_levels_);
  neighbours_.resize(points * kNeighbours);
  std::array<std::vector<float>, 9> sums;  // of each entry, over the elements before
  sums.fill(std::vector<float>(entries));
  std::vector<std::pair<float, std::uint16_t>> near(entries);
  const auto descend = [&](const auto& self, int element, std::size_t point, std::size_t place) -> void {
    const float* before = sums[static_cast<std::size_t>(element)].data();
    if (element == elements_) {
      for (std::size_t entry = 0; entry < entries; ++entry) near[entry] = {before[entry], static_cast<std::uint16_t>(entry)};
      std::partial_sort(near.begin(), near.begin() + kNeighbours, near.end());
      for (int i = 0; i < kNeighbours; ++i) neighbours_[point * kNeighbours + static_cast<std::size_t>(i)] = near[static_cast<std::size_t>(i)].second;
      return;
    }
    for (int level = 0; level < count_levels_; ++level, point += place) {
      float* after = sums[static_cast<std::size_t>(element) + 1].data();
      const float at = levels_[static_cast<std::size_t>(level)];
      const float* value = values_.data() + element;
      for (std::size_t entry = 0; entry < entries; ++entry, value += elements_) after[entry] = before[entry] + (*value - at) * (*value - at);
      self(self, element + 1, point, place * static_cast<std::size_t>(count_levels_));
    }
  };
  descend(descend, 0, 0, 1);
}

GridSearch::Choice GridSearch::choose(const float* x, const float* w, const float* wx, float s, bool odd) const {
  const float inverse = 1 / s;
  int point = 0;
  for (int j = elements_ - 1; j >= 0; --j) {
    int level = 0;
    for (const float threshold : thresholds_) level += x[j] * inverse > threshold;
    point = point * count_levels_ + level;
  }
  const std::uint16_t* near = &neighbours_[static_cast<std::size_t>(point) * kNeighbours];
  Choice best;
  for (int i = 0; i < kNeighbours; ++i) {
    const float* q = values(near[i]);
    float sum_x = 0, sum_2 = 0;
    for (int j = 0; j < elements_; ++j) {
      sum_x += wx[j] * q[j];
      sum_2 += w[j] * q[j] * q[j];
    }
    int wrong = -1;
    if (odd) {
      wrong = 0;
      for (int j = 1; j < elements_; ++j)
        if (wx[j] * q[j] < wx[wrong] * q[wrong]) wrong = j;
      sum_x -= 2 * wx[wrong] * q[wrong];
    }
    const float error = s * (s * sum_2 - 2 * sum_x);
    if (i == 0 || error < best.error) best = {near[i], wrong, error};
  }
  return best;
}

float choose_codes(const SubBlock& block, float scale, GroupCode* codes, float sums[2]) {
  const int elements = block.variants.front()->elements();
  const int groups = static_cast<int>(block.x.size()) / elements;
  float wx[32];
  for (std::size_t i = 0; i < block.x.size(); ++i) wx[i] = block.w[i] * block.x[i];
  float best = 0;
  GroupCode tried[8];
  for (std::size_t variant = 0; variant < block.variants.size(); ++variant) {
    float error = 0;
    const auto choose = [&](int g, std::size_t of, bool odd) {
      const auto at = static_cast<std::size_t>(g * elements);
      return block.variants[of]->choose(&block.x[at], &block.w[at], wx + at, scale, odd);
    };
    const auto take = [&](int g, std::size_t of, const GridSearch::Choice& choice) {
      error += choice.error;
      tried[g] = {static_cast<std::uint16_t>(choice.entry), static_cast<std::uint8_t>(of), static_cast<std::int8_t>(choice.wrong_sign)};
    };
    for (int g = 0; g < groups; ++g) {
      const bool odd = block.even_signs && block.odd[static_cast<std::size_t>(g * elements / 8)];
      if (odd && elements == 4) {  // signs are stored for eight values: one of two groups has the wrong one
        const auto first = choose(g, variant, false), second = choose(g + 1, variant, false);
        const auto first_wrong = choose(g, variant, true), second_wrong = choose(g + 1, variant, true);
        const bool in_first = first_wrong.error + second.error < first.error + second_wrong.error;
        take(g, variant, in_first ? first_wrong : first);
        take(g + 1, variant, in_first ? second : second_wrong);
        ++g;
        continue;
      }
      GridSearch::Choice choice = choose(g, variant, odd);
      std::size_t chosen = variant;
      if (block.variant_per_group)
        for (std::size_t other = 1; other < block.variants.size(); ++other)
          if (const auto second = choose(g, other, odd); second.error < choice.error) choice = second, chosen = other;
      take(g, chosen, choice);
    }
    if (variant == 0 || error < best) {
      best = error;
      std::copy_n(tried, groups, codes);
    }
    if (block.variant_per_group) break;
  }
  if (sums) {
    sums[0] = sums[1] = 0;
    for (int g = 0; g < groups; ++g) {
      const float* q = block.variants[codes[g].variant]->values(codes[g].entry);
      for (int j = 0; j < elements; ++j) {
        const float product = wx[g * elements + j] * q[j];
        sums[0] += j == codes[g].wrong_sign ? -product : product;
        sums[1] += block.w[static_cast<std::size_t>(g * elements + j)] * q[j] * q[j];
      }
    }
  }
  return best;
}

GridFit fit_to_grid(const SubBlock& block, GridCandidates candidates) {
  float largest = 0;
  for (const float value : block.x) largest = std::max(largest, std::fabs(value));
  if (!(largest > 1e-15f)) return {};
  const float top = block.variants.front()->top();
  const float ratio = candidates.count > 1 ? (candidates.last - candidates.first) / static_cast<float>(candidates.count - 1) : 0.0f;
  GridFit best;
  float best_gain = 0;
  GroupCode codes[8];
  const auto attempt = [&](float scale) {
    float sums[2];
    choose_codes(block, scale, codes, sums);
    if (!(sums[0] > 0 && sums[1] > 0)) return false;
    const float gain = sums[0] / sums[1] * sums[0];
    if (!(gain > best_gain)) return false;
    best_gain = gain;
    best = {sums[0] / sums[1], sums[1]};
    return true;
  };
  for (int i = 0; i < candidates.count; ++i) attempt(largest / (top * (candidates.first + ratio * static_cast<float>(i))));
  for (int refinement = 0; refinement < 3 && best.scale > 0; ++refinement)
    if (!attempt(best.scale)) break;
  return best;
}

int odd_code(float scale, float d, int code_max) {
  return std::clamp(2 * nearest_code(0.5f * (scale / d - 1)) + 1, 1, code_max);
}

float fit_super_scale(std::span<const GridFit> fits, int code_max) {
  float largest = 0;
  for (const GridFit& fit : fits) largest = std::max(largest, fit.scale);
  if (!(largest > 0)) return 0;
  float best = 0, best_cost = 0;
  for (int i = -8; i <= 24; ++i) {  // the largest scale meets code_max - 2 .. code_max + 6
    const float d = largest / (static_cast<float>(code_max) + 0.25f * static_cast<float>(i));
    float cost = 0;
    for (const GridFit& fit : fits) {
      if (!(fit.scale > 0)) continue;
      const float miss = fit.scale - d * static_cast<float>(odd_code(fit.scale, d, code_max));
      cost += fit.curvature * miss * miss;
    }
    if (best == 0 || cost < best_cost) best = d, best_cost = cost;
  }
  return best;
}

}  // namespace quantfleet
