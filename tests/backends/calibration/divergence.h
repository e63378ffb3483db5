// How far a model's distribution of the next token is from another's on a text: what quantizing costs.
#pragma once

#include "backends/huggingface/checkpoint.h"
#include "backends/models/transformer.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

namespace quantfleet::test {

// Logits behind the second half of all windows of a text, one behind the other.
inline std::vector<float> logits_of(std::shared_ptr<const GgufFile> file, std::span<const std::vector<std::int32_t>> windows, ActivationKind activations = ActivationKind::kF32) {
  ThreadPool pool(2);
  auto model = load_model(std::move(file), *find_kernels("").value(), pool, true).value();
  Transformer transformer(model, activations, pool);
  KvCache cache(model->config);
  std::vector<float> all;
  for (const auto& window : windows) {
    KvSequence sequence(cache);
    const Transformer::Segment segment{&sequence, window, static_cast<std::int64_t>(window.size() / 2)};
    REQUIRE(transformer.forward({&segment, 1}, [&](std::size_t, std::int64_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); }).has_value());
  }
  return all;
}

inline std::vector<float> logits_of(const std::filesystem::path& path, std::span<const std::vector<std::int32_t>> windows, ActivationKind activations = ActivationKind::kF32) {
  return logits_of(open_model_file(path).value(), windows, activations);
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

// A copy of an F32 model in which some columns of the norms are large, and the weights behind them small: the outlier channels of large models.
inline void write_with_outliers(const std::filesystem::path& from, const std::filesystem::path& to) {
  const auto model = open_model_file(from).value();
  std::vector<GgufWriter::TensorPlan> plan;
  for (const GgufTensor& tensor : model->tensors()) plan.push_back({tensor.name, tensor.format, tensor.shape});
  auto writer = GgufWriter::create(to, model->metadata(), plan).value();
  std::vector<std::byte> buffer;
  for (const GgufTensor& tensor : model->tensors()) {
    const auto bytes = model->rows(tensor, 0, tensor.rows(), buffer);
    std::vector<float> values(static_cast<std::size_t>(tensor.count_values()));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    const bool norm = tensor.name.ends_with("attn_norm.weight") || tensor.name.ends_with("ffn_norm.weight");
    const bool behind = tensor.name.find(".attn_q.") != std::string::npos || tensor.name.find(".attn_k.") != std::string::npos || tensor.name.find(".attn_v.") != std::string::npos ||
                        tensor.name.find(".ffn_gate.") != std::string::npos || tensor.name.find(".ffn_up.") != std::string::npos;
    for (std::size_t i = 0; (norm || behind) && i < values.size(); ++i)
      if (static_cast<std::int64_t>(i) % tensor.columns() % 37 == 5) values[i] *= norm ? 64.0f : 1.0f / 64;
    REQUIRE(writer->write(std::as_bytes(std::span(values))).has_value());
  }
  REQUIRE(writer->finish().has_value());
}

}  // namespace quantfleet::test
