// Choosing entries of an i-quant's grid: for a group of values under a scale, the entry of least weighted squared error among
// those nearest to the values' rounded point; for a sub-block, the scale whose entries leave the least error.
// Pure functions in plain float arithmetic, sums in ascending order: the same bits on every CPU. Method and difference from
// llama.cpp's: docs/formats/quantizers.md
#pragma once

#include "backends/formats/i_quant_grids.h"

#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet {

// One grid as floats, with the entries nearest to every point of its lattice. Large (up to 250 KB) and slow to make (up to
// 0.1 s): make it once.
class GridSearch {
 public:
  // Values of an entry: scale * alphabet + shift.
  explicit GridSearch(const GridTable& grid, float scale = 1, float shift = 0);

  int elements() const { return elements_; }
  float top() const { return levels_.back(); }                                         // largest value
  const float* values(int entry) const { return &values_[static_cast<std::size_t>(entry * elements_)]; }

  // The entry q that makes sum w (s q - x)^2 least, less the constant sum w x^2; that is the error returned.
  //   w: weights, wx: weights times values [elements]. Candidates: the kNeighbours nearest to x / s.
  // odd: one sign is stored wrongly, because only an even number of minus signs can be; the cheapest one is chosen with q.
  struct Choice {
    int entry = 0;
    int wrong_sign = -1;  // element, when odd
    float error = 0;
  };
  Choice choose(const float* x, const float* w, const float* wx, float s, bool odd) const;

 private:
  static constexpr int kNeighbours = 16;
  int elements_, count_levels_;
  std::vector<float> levels_, thresholds_;      // ascending; thresholds lie between two levels
  std::vector<float> values_;                   // [entries][elements]
  std::vector<std::uint16_t> neighbours_;       // [count_levels ^ elements][kNeighbours]
};

// A sub-block of whole groups, and what a scale makes of it.
struct GridFit {
  float scale = 0;      // best real scale; 0: the values are (about) zero
  float curvature = 0;  // sum w q^2 at its entries: what a step away from the scale costs
};

// What the entries of a sub-block are chosen from: group g may use any of variants[g % ...]; IQ1_S decides for the sub-block,
// IQ1_M for each group, the others have one.
struct GroupCode {
  std::uint16_t entry;
  std::uint8_t variant;
  std::int8_t wrong_sign;
};

struct SubBlock {
  std::span<const GridSearch* const> variants;
  bool variant_per_group = false;
  bool even_signs = false;             // seven of eight signs are stored, x are magnitudes
  std::span<const float> x, w;         // magnitudes (or values, where the grid has signs) and weights
  std::span<const std::uint8_t> odd;   // [values / 8]: the number of minus signs is odd; empty: irrelevant
};

// Codes for a given scale; returns the error, less sum w x^2. sums, if given: sum w x q and sum w q^2.
float choose_codes(const SubBlock& block, float scale, GroupCode* codes, float sums[2]);

// Scales tried: the largest |x| meets `first` .. `last` times the top value of the grid, in `count` equal ratios.
struct GridCandidates {
  float first, last;
  int count;
};
GridFit fit_to_grid(const SubBlock& block, GridCandidates candidates);

// d such that d * code comes near the scales, codes odd in 1 .. code_max, the errors weighed by curvature. 0 without scales.
float fit_super_scale(std::span<const GridFit> fits, int code_max);
int odd_code(float scale, float d, int code_max);  // nearest

}  // namespace quantfleet
