// Mixture of experts (Shazeer et al. 2017; Jiang et al. 2024). Tokens are grouped by expert, so that an expert's weights are read
// once for all of them; what a token gets is the sum over its experts in the order of their probabilities, whoever else is in
// the batch (docs/numerics.md rule 2).
#include "backends/models/transformer.h"

#include "backends/kernels/elementary.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace quantfleet {

void Transformer::mix_experts(int layer, const MixtureWeights& mixture, std::int64_t rows) {
  const ModelConfig& config = model_->config;
  const std::int64_t C = config.width, E = config.experts, k = config.experts_used, F = config.expert_feed_forward;
  const auto room = [](std::vector<float>& buffer, std::int64_t floats) {
    if (static_cast<std::int64_t>(buffer.size()) < floats) buffer.resize(static_cast<std::size_t>(floats));
  };
  room(router_, rows * E);
  multiply(mixture.router, normed_.data(), rows, C, router_.data());

  // Who goes where: the k most probable experts of each row, the lower number of equals first.
  struct Choice {
    std::int64_t expert = 0, place = 0;  // place: row of the grouped buffers
    float weight = 0;
  };
  std::vector<Choice> choices(static_cast<std::size_t>(rows * k));
  for_rows(rows, E * k, [&](std::int64_t r) {
    float* probabilities = &router_[r * E];
    model_->family->softmax(probabilities, E, probabilities);
    std::vector<std::int64_t> order(static_cast<std::size_t>(E));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](std::int64_t a, std::int64_t b) {
      return probabilities[a] > probabilities[b] || (!(probabilities[a] < probabilities[b]) && a < b);
    });
    float sum = 0;
    for (std::int64_t i = 0; i < k; ++i) sum += probabilities[order[static_cast<std::size_t>(i)]];
    for (std::int64_t i = 0; i < k; ++i) {
      Choice& choice = choices[static_cast<std::size_t>(r * k + i)];
      choice.expert = order[static_cast<std::size_t>(i)];
      choice.weight = probabilities[choice.expert];
      if (config.expert_weights_normalized) choice.weight /= sum;
      choice.weight *= config.expert_weights_scale;
    }
  });
  std::vector<std::int64_t> begins(static_cast<std::size_t>(E) + 1, 0);
  for (const Choice& choice : choices) ++begins[static_cast<std::size_t>(choice.expert) + 1];
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  {
    std::vector<std::int64_t> next(begins.begin(), begins.end() - 1);
    for (Choice& choice : choices) choice.place = next[static_cast<std::size_t>(choice.expert)]++;
  }

  room(gathered_, rows * k * C);
  room(expert_gate_up_, rows * k * 2 * F);
  room(expert_output_, rows * k * C);
  for_rows(rows, k * C, [&](std::int64_t r) {
    for (std::int64_t i = 0; i < k; ++i)
      std::memcpy(&gathered_[choices[static_cast<std::size_t>(r * k + i)].place * C], &normed_[r * C], static_cast<std::size_t>(C) * sizeof(float));
  });
  for (std::size_t e = 0; e < mixture.down.size(); ++e) {
    const std::int64_t begin = begins[e], count = begins[e + 1] - begin;
    if (count == 0) continue;
    float* gate_up = &expert_gate_up_[begin * 2 * F];
    const auto expert = static_cast<std::int64_t>(e);
    if (observer_) observer_->observe({layer, ProductInput::kExpertGateUp, expert, &gathered_[begin * C], count, C, C});
    multiply(mixture.gate_up[e], &gathered_[begin * C], count, C, gate_up);
    for_rows(count, 4 * F, [&](std::int64_t r) { activate(gate_up + r * 2 * F, F); });
    if (observer_) observer_->observe({layer, ProductInput::kExpertDown, expert, gate_up, count, F, 2 * F});
    multiply(mixture.down[e], gate_up, count, 2 * F, &expert_output_[begin * C]);
  }

  const std::int64_t S = config.shared_feed_forward;
  if (S > 0) {
    room(shared_output_, rows * C);
    if (observer_) observer_->observe({layer, ProductInput::kSharedGateUp, 0, normed_.data(), rows, C, C});
    multiply(mixture.shared_gate_up, normed_.data(), rows, C, gate_up_);
    for_rows(rows, 4 * S, [&](std::int64_t r) { activate(&gate_up_[r * 2 * S], S); });
    if (observer_) observer_->observe({layer, ProductInput::kSharedDown, 0, gate_up_, rows, S, 2 * S});
    multiply(mixture.shared_down, gate_up_, rows, 2 * S, shared_output_.data());
    if (mixture.shared_gate.rows > 0) multiply(mixture.shared_gate, normed_.data(), rows, C, router_.data());  // [rows]
  }
  for_rows(rows, (k + 1) * C, [&](std::int64_t r) {
    float* output = &output_[r * C];
    std::fill_n(output, C, 0.0f);
    const auto add = [&](const float* values, float weight) {
      for (std::int64_t c = 0; c < C; ++c) output[c] += weight * values[c];
    };
    for (std::int64_t i = 0; i < k; ++i) {
      const Choice& choice = choices[static_cast<std::size_t>(r * k + i)];
      add(&expert_output_[choice.place * C], choice.weight);
    }
    if (S > 0) add(&shared_output_[r * C], mixture.shared_gate.rows > 0 ? elementary::sigmoid(router_[r]) : 1.0f);
  });
}

}  // namespace quantfleet
