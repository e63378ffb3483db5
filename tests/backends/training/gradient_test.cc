// The whole model against a second one, written in double and as plainly as possible: equal loss, and every tensor's gradient
// equals the central difference of that loss.
#include "tests/backends/training/toy.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace quantfleet;
using namespace quantfleet::training;

namespace {

using Row = std::vector<double>;

struct PlainModel {
  ModelShape s;
  std::span<const TensorPlace> tensors;
  const std::vector<double>& w;

  const double* tensor(const std::string& name) const {
    for (const TensorPlace& t : tensors)
      if (t.name == name) return w.data() + t.offset;
    FAIL("no tensor " << name);
    return nullptr;
  }
  static Row times(const double* matrix, std::size_t rows, const Row& x) {
    Row y;
    y.reserve(rows);
    const double *column = x.data(), *end = column + x.size();
    for (std::size_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (const double* value = column; value != end; ++value) sum += *matrix++ * *value;
      y.push_back(sum);
    }
    return y;
  }
  Row norm(const Row& x, const double* weight) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double rms = std::sqrt(squares / double(x.size()) + double(s.norm_eps));
    Row y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] / rms * weight[i];
    return y;
  }
  void rotate(Row& x, std::size_t position) const {
    const std::size_t head = std::size_t(s.head_width);
    for (std::size_t i = 0; i < x.size(); i += 2) {
      const double angle = double(position) * std::pow(double(s.rope_base), -double(i % head) / double(head));
      const double a = x[i], b = x[i + 1];
      x[i] = a * std::cos(angle) - b * std::sin(angle);
      x[i + 1] = a * std::sin(angle) + b * std::cos(angle);
    }
  }
  // Sum of the losses of one sequence of context + 1 tokens.
  double loss(std::span<const std::uint16_t> tokens) const {
    const std::size_t n = tokens.size() - 1, width = std::size_t(s.width), head = std::size_t(s.head_width);
    std::vector<Row> x;
    for (std::size_t t = 0; t < n; ++t) {
      const double* row = tensor("token_embd.weight") + tokens[t] * width;
      x.emplace_back(row, row + width);
    }
    for (int l = 0; l < s.layers; ++l) {
      const std::string blk = "blk." + std::to_string(l) + ".";
      std::vector<Row> q, k, v;
      for (std::size_t t = 0; t < n; ++t) {
        const Row h = norm(x[t], tensor(blk + "attn_norm.weight"));
        q.push_back(times(tensor(blk + "attn_q.weight"), std::size_t(s.query_width()), h));
        k.push_back(times(tensor(blk + "attn_k.weight"), std::size_t(s.kv_width()), h));
        v.push_back(times(tensor(blk + "attn_v.weight"), std::size_t(s.kv_width()), h));
        rotate(q[t], t);
        rotate(k[t], t);
      }
      for (std::size_t t = 0; t < n; ++t) {
        Row mixed(std::size_t(s.query_width()), 0.0);
        for (std::size_t h = 0; h < std::size_t(s.heads); ++h) {
          const std::size_t kv = h / std::size_t(s.heads / s.kv_heads);
          Row p(t + 1);
          double sum = 0;
          for (std::size_t j = 0; j <= t; ++j) {
            double score = 0;
            for (std::size_t d = 0; d < head; ++d) score += q[t][h * head + d] * k[j][kv * head + d];
            sum += p[j] = std::exp(score / std::sqrt(double(head)));
          }
          for (std::size_t j = 0; j <= t; ++j)
            for (std::size_t d = 0; d < head; ++d) mixed[h * head + d] += p[j] / sum * v[j][kv * head + d];
        }
        const Row attention = times(tensor(blk + "attn_output.weight"), width, mixed);
        for (std::size_t i = 0; i < width; ++i) x[t][i] += attention[i];
      }
      for (std::size_t t = 0; t < n; ++t) {
        const Row h = norm(x[t], tensor(blk + "ffn_norm.weight"));
        Row gate = times(tensor(blk + "ffn_gate.weight"), std::size_t(s.feed_forward), h);
        const Row up = times(tensor(blk + "ffn_up.weight"), std::size_t(s.feed_forward), h);
        for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
        const Row down = times(tensor(blk + "ffn_down.weight"), width, gate);
        for (std::size_t i = 0; i < width; ++i) x[t][i] += down[i];
      }
    }
    double total = 0;
    for (std::size_t t = 0; t < n; ++t) {
      const Row logits = times(tensor("output.weight"), std::size_t(s.vocabulary), norm(x[t], tensor("output_norm.weight")));
      double sum = 0;
      for (const double z : logits) sum += std::exp(z);
      total += std::log(sum) - logits[tokens[t + 1]];
    }
    return total;
  }
};

}  // namespace

TEST_CASE("loss and gradient are those of a plain model in double precision", "[training][gradient]") {
  TrainOptions options = toy_options();
  options.batch_sequences = 2;
  options.threads = 2;
  const auto trainer = Trainer::create(options).value();
  // Larger weights than at the start, so that attention and norms are far from linear.
  std::uint64_t state = 1;
  for (const TensorPlace& tensor : trainer->tensors())
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      const float noise = static_cast<float>(static_cast<std::int32_t>(state >> 32)) * 0x1p-31f;
      trainer->mutable_weights()[std::size_t(tensor.offset + i)] = tensor.is_norm ? 1.0f + 0.3f * noise : 0.35f * noise;
    }
  std::vector<std::uint16_t> tokens(2 * 71);
  toy_tokens(1, tokens);
  double loss = 0;
  const std::vector<float> gradient = trainer->gradient(tokens, loss).value();

  std::vector<double> weights(trainer->weights().begin(), trainer->weights().end());
  const PlainModel plain{options.shape, trainer->tensors(), weights};
  const auto plain_loss = [&] {
    const std::span all(tokens);
    return (plain.loss(all.first(71)) + plain.loss(all.last(71))) / 140.0;
  };
  CHECK(loss == Approx(plain_loss()).epsilon(1e-6));

  for (const TensorPlace& tensor : trainer->tensors()) {
    const auto begin = gradient.begin() + tensor.offset;
    double largest = 0;
    for (auto g = begin; g != begin + tensor.count(); ++g) largest = std::max(largest, std::fabs(double(*g)));
    for (int sample = 0; sample < 2; ++sample) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      const std::size_t i = std::size_t(tensor.offset + std::int64_t(state >> 33) % tensor.count());
      const double at = weights[i], step = 1e-5;
      weights[i] = at + step;
      const double above = plain_loss();
      weights[i] = at - step;
      const double below = plain_loss();
      weights[i] = at;
      CAPTURE(tensor.name, i);
      // F32 sums over 140 tokens and 2 layers: an error of 1e-4 of the tensor's largest gradient. A wrong sign, scale or
      // missing term is far above that.
      CHECK(gradient[i] == Approx((above - below) / (2 * step)).margin(1e-4 * largest).epsilon(1e-4));
    }
  }
}

TEST_CASE("a target marked as context counts its weight and no more", "[training][gradient]") {
  TrainOptions options = toy_options();
  options.batch_sequences = 2;
  std::vector<std::uint16_t> tokens(2 * 71), marked;
  toy_tokens(1, tokens);
  marked = tokens;
  for (std::size_t i = 0; i < marked.size(); i += 3) marked[i] |= kContextBit;
  const auto gradient_of = [&](float context_weight, const std::vector<std::uint16_t>& batch) {
    options.context_weight = context_weight;
    double loss = 0;
    std::vector<float> gradient = Trainer::create(options).value()->gradient(batch, loss).value();
    gradient.push_back(static_cast<float>(loss));
    return gradient;
  };
  const std::vector<float> plain = gradient_of(0.25f, tokens);
  SECTION("weight 1 gives the bytes of unmarked tokens") { CHECK(gradient_of(1.0f, marked) == plain); }
  SECTION("without marks the weight means nothing") { CHECK(gradient_of(0.0f, tokens) == gradient_of(1.0f, tokens)); }
  SECTION("the gradient is linear in the weight, the loss does not depend on it") {
    const auto none = gradient_of(0.0f, marked), half = gradient_of(0.5f, marked);
    double largest = 0;
    for (const float g : plain) largest = std::max(largest, std::fabs(double(g)));
    for (std::size_t i = 0; i + 1 < plain.size(); ++i)
      if (std::fabs(double(half[i]) - 0.5 * (double(none[i]) + double(plain[i]))) > 1e-6 * largest) FAIL("weight " << i);
    CHECK(none.back() == plain.back());
  }
}
