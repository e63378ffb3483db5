// The operations of training: each forward pass is its formula, each backward pass its derivative, and every instruction
// set's copy gives the same bits.
#include "backends/kernels/train_ops.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

using namespace quantfleet;

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats numbers(std::size_t count, std::uint64_t seed, float scale = 1.0f) {
  Floats values(count);
  for (float& v : values) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    v = static_cast<float>(static_cast<std::int32_t>(seed >> 32)) * 0x1p-31f * scale;
  }
  return values;
}

Doubles wide(const Floats& x) { return {x.begin(), x.end()}; }

const TrainOps& best() { return *find_train_ops("auto"); }

// Compares `gradient` with central differences of f, a formula in double. The differences are good to about 1e-9, so the
// tolerance is the rounding of F32 sums of some dozen terms.
void check_gradient(const std::function<double(const Doubles&)>& f, const Floats& x, const Floats& gradient, double tolerance = 2e-6) {
  Doubles at = wide(x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double step = 1e-5;
    at[i] = x[i] + step;
    const double above = f(at);
    at[i] = x[i] - step;
    const double below = f(at);
    at[i] = x[i];
    CAPTURE(i);
    CHECK(gradient[i] == Approx((above - below) / (2 * step)).margin(tolerance).epsilon(1e-5));
  }
}

double rms_norm_dot(const Doubles& x, const Doubles& weight, const Floats& dy, double eps) {
  double squares = 0, sum = 0;
  for (const double v : x) squares += v * v;
  for (std::size_t i = 0; i < x.size(); ++i) sum += dy[i] * x[i] * weight[i] / std::sqrt(squares / double(x.size()) + eps);
  return sum;
}

double silu(double x) { return x / (1 + std::exp(-x)); }

}  // namespace

TEST_CASE("the RMS norm and both of its gradients follow the formula", "[train_ops]") {
  const std::size_t width = 48;
  const Floats x = numbers(width, 1, 2.0f), weight = numbers(width, 2), dy = numbers(width, 3);
  const float eps = 1e-3f;
  Floats y(width), inverse(1), dx(width, 0.0f), dweight(width, 0.0f);
  best().rms_norm(x.data(), weight.data(), eps, 1, width, y.data(), inverse.data());
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += double(dy[i]) * y[i];
  CHECK(sum == Approx(rms_norm_dot(wide(x), wide(weight), dy, eps)).epsilon(1e-6));

  best().rms_norm_backward(x.data(), weight.data(), inverse.data(), dy.data(), 1, width, dx.data());
  check_gradient([&](const Doubles& v) { return rms_norm_dot(v, wide(weight), dy, eps); }, x, dx);
  best().rms_norm_weight_gradient(x.data(), inverse.data(), dy.data(), 1, width, 0, width, dweight.data());
  check_gradient([&](const Doubles& v) { return rms_norm_dot(wide(x), v, dy, eps); }, weight, dweight);
}

TEST_CASE("SwiGLU and its gradient follow the formula", "[train_ops]") {
  const std::size_t width = 32;
  const Floats gate_up = numbers(2 * width, 4, 6.0f), dy = numbers(width, 5);
  Floats y(width), gradient(2 * width);
  best().silu_mul(gate_up.data(), 1, width, y.data());
  const auto formula = [&](const Doubles& v) {
    double sum = 0;
    for (std::size_t i = 0; i < width; ++i) sum += dy[i] * silu(v[i]) * v[width + i];
    return sum;
  };
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += double(dy[i]) * y[i];
  CHECK(sum == Approx(formula(wide(gate_up))).epsilon(1e-6));
  best().silu_mul_backward(gate_up.data(), dy.data(), 1, width, gradient.data());
  check_gradient(formula, gate_up, gradient);
}

TEST_CASE("softmax of a query and its gradient follow the formula, and hidden keys get exactly nothing", "[train_ops]") {
  const std::size_t count = GENERATE(1u, 15u, 16u, 37u), padded = (count + 15) / 16 * 16;
  const Floats scores = numbers(count, 6, 5.0f), dp = numbers(count, 7);
  const float scale = 0.25f;
  Floats p(padded, 77.0f), ds(padded, 0.0f);
  std::copy(scores.begin(), scores.end(), p.begin());
  best().softmax(p.data(), std::int64_t(count), std::int64_t(padded), scale);
  double total = 0;
  for (const double s : scores) total += std::exp(s * scale);
  for (std::size_t i = 0; i < count; ++i) CHECK(p[i] == Approx(std::exp(double(scores[i]) * scale) / total).epsilon(2e-6));
  for (std::size_t i = count; i < padded; ++i) CHECK(p[i] == 0.0f);

  std::copy(dp.begin(), dp.end(), ds.begin());
  best().softmax_backward(p.data(), ds.data(), std::int64_t(padded), scale);
  ds.resize(count);
  check_gradient(
      [&](const Doubles& v) {
        double sum = 0, weighted = 0;
        for (std::size_t i = 0; i < count; ++i) sum += std::exp(v[i] * scale), weighted += dp[i] * std::exp(v[i] * scale);
        return weighted / sum;
      },
      scores, ds);
}

TEST_CASE("the loss of a token and its gradient follow the formula", "[train_ops]") {
  const std::size_t width = 64, target = 9;
  const Floats logits = numbers(width, 8, 8.0f);
  Floats gradient = logits;
  const float loss = best().cross_entropy(gradient.data(), width, target, 0.5f);
  const auto formula = [&](const Doubles& v) {
    double sum = 0;
    for (const double x : v) sum += std::exp(x);
    return 0.5 * (std::log(sum) - v[target]);
  };
  CHECK(0.5 * loss == Approx(formula(wide(logits))).epsilon(1e-6));
  CHECK(best().log_partition(logits.data(), width) - logits[target] == Approx(loss).epsilon(1e-6));
  check_gradient(formula, logits, gradient);
}

TEST_CASE("the rotation turns adjacent pairs by its angle, and its backward pass turns them back", "[train_ops]") {
  const std::int64_t head = 16, heads = 2;
  const Floats x = numbers(32, 9);
  Floats cosines(3 * 16), sines(3 * 16);
  for (int position = 0; position < 3; ++position)
    for (int i = 0; i < 8; ++i) {
      const double angle = position * std::pow(10000.0, -2.0 * i / 16);
      cosines[std::size_t(position * 16 + 2 * i)] = cosines[std::size_t(position * 16 + 2 * i + 1)] = float(std::cos(angle));
      sines[std::size_t(position * 16 + 2 * i)] = -float(std::sin(angle));
      sines[std::size_t(position * 16 + 2 * i + 1)] = float(std::sin(angle));
    }
  const std::int32_t position = 2;
  Floats turned = x;
  best().rotate(turned.data(), 32, heads, head, cosines.data(), sines.data(), &position, 1, false);
  for (std::size_t i = 0; i < 32; i += 2) {
    const double angle = 2 * std::pow(10000.0, -double(i % 16) / 16);
    CHECK(turned[i] == Approx(x[i] * std::cos(angle) - x[i + 1] * std::sin(angle)).margin(1e-6));
    CHECK(turned[i + 1] == Approx(x[i] * std::sin(angle) + x[i + 1] * std::cos(angle)).margin(1e-6));
  }
  best().rotate(turned.data(), 32, heads, head, cosines.data(), sines.data(), &position, 1, true);
  for (std::size_t i = 0; i < 32; ++i) CHECK(turned[i] == Approx(x[i]).margin(1e-6));
}

TEST_CASE("AdamW moves a weight as the paper says", "[train_ops]") {
  const TrainOps::Adam adam{0.01f, 0.9f, 0.98f, 1e-8f, 0.05f, 1.0f / (1 - 0.9f), 1.0f / (1 - 0.98f), 0.5f};
  Floats weight = {0.3f}, m = {0.1f}, v = {0.2f};
  const Floats gradient = {-2.0f};
  best().adamw(adam, gradient.data(), 1, weight.data(), m.data(), v.data());
  const double g = -1.0, m1 = 0.9 * 0.1 + 0.1 * g, v1 = 0.98 * 0.2 + 0.02 * g * g;
  const double direction = m1 / 0.1 / (std::sqrt(v1 / 0.02) + 1e-8);
  CHECK(m[0] == Approx(m1).epsilon(1e-5));
  CHECK(v[0] == Approx(v1).epsilon(1e-5));
  CHECK(weight[0] == Approx(0.3 - 0.01 * (direction + 0.05 * 0.3)).epsilon(1e-5));
}

TEST_CASE("every instruction set's copy of an operation gives the bits of the scalar one", "[train_ops]") {
  const char* name = GENERATE("avx2", "avx512");
  const TrainOps* ops = find_train_ops(name);
  if (ops == nullptr) {
    WARN("skipped: this CPU has no " << name);
    return;
  }
  const TrainOps& scalar = *find_train_ops("scalar");
  const std::int64_t rows = 5, width = 80;
  const std::size_t count = std::size_t(rows * width);
  const float scale = GENERATE(1.0f, 60.0f);  // the larger one overflows and underflows exp
  CAPTURE(name, scale);
  const Floats x = numbers(2 * count, 10, scale), dy = numbers(count, 11), weight = numbers(std::size_t(width), 12);
  // Runs one operation with both copies on equal memory and compares all of it.
  const auto same = [&](const char* what, const std::function<void(const TrainOps&, Floats&)>& run) {
    Floats a = numbers(4 * count, 13, scale), b = a;
    run(scalar, a);
    run(*ops, b);
    CAPTURE(what);
    CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
  };
  same("rms_norm", [&](const TrainOps& o, Floats& m) { o.rms_norm(x.data(), weight.data(), 1e-5f, rows, width, m.data(), m.data() + count); });
  same("rms_norm_backward", [&](const TrainOps& o, Floats& m) {
    o.rms_norm_backward(x.data(), weight.data(), x.data() + count, dy.data(), rows, width, m.data());
  });
  same("rms_norm_weight_gradient", [&](const TrainOps& o, Floats& m) {
    o.rms_norm_weight_gradient(x.data(), x.data() + count, dy.data(), rows, width, 16, 64, m.data());
  });
  same("silu_mul", [&](const TrainOps& o, Floats& m) { o.silu_mul(x.data(), rows, width, m.data()); });
  same("silu_mul_backward", [&](const TrainOps& o, Floats& m) { o.silu_mul_backward(x.data(), dy.data(), rows, width, m.data()); });
  same("rotate", [&](const TrainOps& o, Floats& m) {
    const std::int32_t positions[] = {0, 4, 2, 1, 3};
    o.rotate(m.data(), width, 1, width, x.data(), x.data() + count, positions, rows, true);
  });
  same("softmax", [&](const TrainOps& o, Floats& m) { o.softmax(m.data() + 3, 77, 80, 0.125f); });
  same("softmax_backward", [&](const TrainOps& o, Floats& m) { o.softmax_backward(x.data(), m.data() + 1, width, 0.125f); });
  same("cross_entropy", [&](const TrainOps& o, Floats& m) { m[3 * count] = o.cross_entropy(m.data() + 1, width, 7, 0.01f); });
  same("log_partition", [&](const TrainOps& o, Floats& m) { m[0] = o.log_partition(x.data() + 1, width); });
  same("add", [&](const TrainOps& o, Floats& m) { o.add(x.data(), 37, m.data() + 1); });
  same("sum_of_squares", [&](const TrainOps& o, Floats& m) { m[0] = o.sum_of_squares(x.data(), width); });
  same("adamw", [&](const TrainOps& o, Floats& m) {
    for (std::size_t i = 0; i < count; ++i) m[2 * count + i] = std::fabs(m[2 * count + i]);
    o.adamw({0.01f, 0.9f, 0.98f, 1e-8f, 0.05f, 1.9f, 7.3f, 0.7f}, dy.data(), 77, m.data(), m.data() + count, m.data() + 2 * count);
  });
}
