// One position's distribution under the reference model in 96 bytes, and the divergence of another model from it.
// Kept are the kTop most likely tokens, the mass of all others together (the tail), kDraws tokens drawn from the tail, and the
// target's log-probability. With p of the reference, q of the model, t and s their tail masses and d = log(p/t) - log(q/s):
//   KL(p || q) = sum over the top of p log(p/q)  +  t log(t/s)  +  t E_{i ~ p/t}[ d_i + exp(-d_i) - 1 ]
// The first two terms are exact and never above KL (log-sum inequality); the third, never negative, is estimated without bias by
// the mean over the draws, whose scatter gives the standard error. Derivation, rounding and tested bounds: docs/formats/reference-logits.md.
// Sources: Cover & Thomas 2006, theorem 2.7.1; Schulman, Approximating KL Divergence, 2020 (the estimator d + exp(-d) - 1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quantfleet {

inline constexpr int kTop = 8, kDraws = 7;
inline constexpr std::size_t kReferenceRowBytes = 96;     // 2 logarithms, kTop + kDraws pairs (token, logarithm), 3 bytes each number
inline constexpr std::size_t kVocabularyMax = 1u << 24;

struct ReferenceRow {
  struct Entry {
    std::uint32_t token = 0;
    double log_probability = 0;
  };
  double target = 0;         // log-probability of the token that followed
  double tail = 0;           // logarithm of the tail's mass
  std::vector<Entry> top;    // falling; ties by token. min(kTop, vocabulary) entries
  std::vector<Entry> draws;  // kDraws; none where the tail is empty
};

// `log_probabilities`: a whole row, at most kVocabularyMax. `seed` decides the draws (stratified over the tail in order of tokens).
ReferenceRow summarize(std::span<const float> log_probabilities, std::int32_t target, std::uint64_t seed);

std::array<std::byte, kReferenceRowBytes> encode(const ReferenceRow& row);
// False when the bytes are no row of such a vocabulary: a token beyond it or twice in the top, an order that does not fall, top and
// tail that are more than all.
bool decode(std::span<const std::byte, kReferenceRowBytes> bytes, std::size_t vocabulary, ReferenceRow& row);

struct RowDivergence {
  double kl = 0;             // nats; a whole row: exact; else the estimate above
  double kl_lower = 0;       // never above the exact value, but for rounding (below 1e-5 nats)
  double kl_variance = 0;    // of the estimate over the draws; 0 for a whole row
  double reference_nll = 0;
  double delta_p = 0;        // probability of the target under the model minus under the reference
  bool same_top = false;     // the same most likely token (ties to the lowest id)
};

// The standard error of a mean divergence over `rows` rows in brief, as an estimate of what whole rows would give: their kl_variance
// add up. Within 4 of it with at least 93.7 % for any distribution (Chebyshev).
double estimation_error(double kl_variance_sum, double rows);

// `model`: log-probabilities over the same vocabulary.
RowDivergence divergence(const ReferenceRow& reference, std::span<const float> model, std::int32_t target);
RowDivergence divergence(std::span<const float> reference, std::span<const float> model, std::int32_t target);

}  // namespace quantfleet
