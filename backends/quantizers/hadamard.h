// Orthogonal matrices of Hadamard's kind: entries +-1 / sqrt(n), after random signs. A vector of a few large values becomes one of many
// middling ones, which coarse grids hold better (QuIP#, Tseng et al. 2024; QuaRot, Ashkboos et al. 2024).
#pragma once

#include "contract/error.h"

#include <cstdint>
#include <vector>

namespace quantfleet {

// x R with R = diag(signs) (H_2^k (x) H_m) / sqrt(n), n = 2^k m: Sylvester's matrix times one of Paley's, of the least m there is.
class HadamardRotation {
 public:
  // The signs follow from the seed.  Error: kUnsupported where no m with n / m a power of two is 1 or an order of Paley's (q + 1 for a prime q = 3
  // mod 4, 2 (q + 1) for a prime q = 1 mod 4).
  static Result<HadamardRotation> create(std::int64_t n, std::uint64_t seed);

  // `lanes` vectors side by side: x [n, lanes], in place. Sums in double in a fixed order: the same bits everywhere.
  void apply(double* x, std::int64_t lanes) const;
  std::int64_t size() const { return n_; }

 private:
  std::int64_t n_ = 1, m_ = 1;
  std::vector<double> signs_;        // [n]
  std::vector<std::int8_t> matrix_;  // [m, m]
};

}  // namespace quantfleet
