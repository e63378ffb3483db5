// A shape small enough for tests, and token streams for it.
#pragma once

#include "backends/training/trainer.h"

#include <cstdint>
#include <span>

namespace quantfleet::training {

// Odd on purpose: queries wider than the stream, a context that is no whole number of query blocks.
inline TrainOptions toy_options() {
  TrainOptions options;
  options.shape = {.vocabulary = 64, .width = 32, .layers = 2, .heads = 4, .kv_heads = 2, .head_width = 16,
                   .feed_forward = 48, .context = 70, .rope_base = 10000.0f, .norm_eps = 1e-5f};
  options.steps = 20;
  options.batch_sequences = 3;
  options.part_sequences = 2;
  options.learning_rate = 1e-2;
  options.warmup_steps = 4;
  options.threads = 1;
  return options;
}

// Two in three tokens follow from the one before; the rest is noise. Depends on `step` only.
inline void toy_tokens(std::int64_t step, std::span<std::uint16_t> tokens) {
  std::uint64_t state = static_cast<std::uint64_t>(step) * 977 + 5;
  std::uint16_t last = 3;
  for (std::uint16_t& token : tokens) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    last = token = static_cast<std::uint16_t>((state >> 33) % 3 ? (last * 7 + 11) % 64 : (state >> 40) % 64);
  }
}

}  // namespace quantfleet::training
