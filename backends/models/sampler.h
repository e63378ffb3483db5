// Chooses the next token from logits: the most likely one, or a draw at a temperature. The random numbers are a function of
// (seed, step) alone: SplitMix64 (Steele et al. 2014) over a counter, so a draw depends on nothing that ran beside it.
#pragma once

#include <cstdint>
#include <span>

namespace quantfleet {

// 64 random bits of position `counter` in the stream of `seed`.
std::uint64_t random_bits(std::uint64_t seed, std::uint64_t counter);
double random_uniform(std::uint64_t seed, std::uint64_t counter);  // [0, 1), multiples of 2^-53

// temperature 0: the largest logit, ties to the lowest id. Otherwise a draw from softmax(logits / temperature); with top_p below 1
// from the fewest most likely tokens (ties: lowest id first) whose probabilities reach top_p together.
std::int32_t sample_token(std::span<const float> logits, float temperature, std::uint64_t seed, std::uint64_t step, float top_p = 1);

}  // namespace quantfleet
