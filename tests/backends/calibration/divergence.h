// How far a model's distribution of the next token is from another's on a text: what quantizing costs.
#pragma once

#include "backends/huggingface/checkpoint.h"
#include "backends/models/transformer.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <filesystem>
#include <span>
#include <vector>

namespace quantfleet::test {

// Logits behind the second half of all windows of a text, one behind the other.
inline std::vector<float> logits_of(const std::filesystem::path& path, std::span<const std::vector<std::int32_t>> windows) {
  ThreadPool pool(2);
  auto model = load_model(open_model_file(path).value(), *find_kernels("").value(), pool, true).value();
  Transformer transformer(model, ActivationKind::kF32, pool);
  KvCache cache(model->config);
  std::vector<float> all;
  for (const auto& window : windows) {
    KvSequence sequence(cache);
    const Transformer::Segment segment{&sequence, window, static_cast<std::int64_t>(window.size() / 2)};
    REQUIRE(transformer.forward({&segment, 1}, [&](std::size_t, std::int64_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); }).has_value());
  }
  return all;
}

// Nats per row.
inline double mean_divergence(const std::vector<float>& reference, const std::vector<float>& ours, std::size_t vocabulary) {
  const KernelFamily& family = *find_kernels("").value();
  double total = 0;
  std::vector<float> p(vocabulary), q(vocabulary);
  for (std::size_t row = 0; row < reference.size(); row += vocabulary) {
    log_softmax(family, &reference[row], static_cast<std::int64_t>(vocabulary), p.data());
    log_softmax(family, &ours[row], static_cast<std::int64_t>(vocabulary), q.data());
    for (std::size_t i = 0; i < vocabulary; ++i) total += std::exp(double(p[i])) * (double(p[i]) - q[i]);
  }
  return total / double(reference.size() / vocabulary);
}

}  // namespace quantfleet::test
