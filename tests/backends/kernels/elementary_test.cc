// The stated error bounds, against the C library in double (whose own error is far below a float's ULP) and long
// double.
#include "backends/kernels/elementary.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <limits>

namespace el = quantfleet::elementary;

namespace {

// Distance of `value` from `truth` in units of the float spacing at `truth`.
double ulp(float value, double truth) {
  int exponent = 0;
  std::frexp(truth, &exponent);
  return std::abs(double(value) - truth) / std::ldexp(1.0, std::max(exponent - 24, -149));
}
double ulp(double value, long double truth) {
  int exponent = 0;
  std::frexp(truth, &exponent);
  return double(std::abs((long double)value - truth) / std::ldexp(1.0L, exponent - 53));
}

template <class Function, class Truth>
double worst_ulp(float from, float to, int steps, Function function, Truth truth) {
  double worst = 0;
  for (int i = 0; i <= steps; ++i) {
    const float x = float(from + (double(to) - from) * i / steps);
    worst = std::max(worst, ulp(function(x), truth(double(x))));
  }
  return worst;
}

}  // namespace

TEST_CASE("exp stays within one ULP, denormal results included", "[elementary]") {
  CHECK(worst_ulp(
            -104.0f, 88.72f, 400'000, [](float x) { return el::exp(x); }, [](double x) { return std::exp(x); }) <= 1.0);
  CHECK(worst_ulp(
            -1.0f, 1.0f, 200'000, [](float x) { return el::exp(x); }, [](double x) { return std::exp(x); }) <= 1.0);
  CHECK(el::exp(0.0f) == 1.0f);
  CHECK(el::exp(-200.0f) == 0.0f);
  CHECK(el::exp(-std::numeric_limits<float>::infinity()) == 0.0f);
  CHECK(el::exp(200.0f) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(el::exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("exp, log and pow in double stay within their bounds", "[elementary]") {
  double worst_exp = 0, worst_log = 0, worst_pow = 0;
  for (int i = 1; i <= 100'000; ++i) {
    const double x = -700 + 1400.0 * i / 100'000;
    worst_exp = std::max(worst_exp, ulp(el::exp(x), std::exp((long double)x)));
    const double y = std::exp(x);
    worst_log = std::max(worst_log, ulp(el::log(y), std::log((long double)y)));
    const double near_one = 0.5 + 1.5 * i / 100'000;
    if (near_one != 1.0) worst_log = std::max(worst_log, ulp(el::log(near_one), std::log((long double)near_one)));
    const double exponent = -double(i) / 100'000;
    worst_pow = std::max(worst_pow, ulp(el::pow(1e6, exponent), std::pow(1e6L, (long double)exponent)));
  }
  CHECK(worst_exp <= 1.0);
  CHECK(worst_log <= 1.0);
  CHECK(worst_pow <= 2 + 2 * 14);
  CHECK(el::log(1.0) == 0.0);
  CHECK(el::log(0.0) == -std::numeric_limits<double>::infinity());
  CHECK(std::isnan(el::log(-1.0)));
}

TEST_CASE("sin and cos stay accurate for rotary angles of a million and more", "[elementary]") {
  double worst = 0;
  for (int i = 0; i < 200'000; ++i) {
    const double x = (i % 2 ? 1.0 : -1.0) * (i * 7.123456789 + i / 3e5);
    const auto [s, c] = el::sincos(x);
    worst = std::max(
        worst, double(std::abs(s - std::sin((long double)x)) / std::max(std::abs(std::sin((long double)x)), 0x1p-7L)));
    worst = std::max(
        worst, double(std::abs(c - std::cos((long double)x)) / std::max(std::abs(std::cos((long double)x)), 0x1p-7L)));
  }
  CHECK(worst <= 0x1p-52);
  CHECK(el::sin(0.0) == 0.0);
  CHECK(el::cos(0.0) == 1.0);
  CHECK(std::abs(el::sin(0x1p30) - double(std::sin(0x1p30L))) <= 0x1p-52);
}

TEST_CASE("log, tanh, sigmoid, silu and gelu stay within their bounds", "[elementary]") {
  CHECK(worst_ulp(
            1e-6f, 100.0f, 200'000, [](float x) { return el::log(x); }, [](double x) { return std::log(x); }) <= 0.51);
  CHECK(worst_ulp(
            -25.0f, 25.0f, 200'000, [](float x) { return el::tanh(x); }, [](double x) { return std::tanh(x); }) <=
        0.51);
  CHECK(worst_ulp(
            -0.01f, 0.01f, 100'000, [](float x) { return el::tanh(x); }, [](double x) { return std::tanh(x); }) <=
        0.51);
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  CHECK(worst_ulp(
            -87.0f, 87.0f, 200'000, [](float x) { return el::sigmoid(x); }, sigmoid) <= 2.5);
  CHECK(worst_ulp(
            -87.0f, 87.0f, 200'000, [](float x) { return el::silu(x); }, [&](double x) { return x * sigmoid(x); }) <=
        3.0);
  for (int i = -5000; i <= 5000; ++i) {
    const float x = float(i) / 500;
    const double truth = 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * double(x) * x * x)));
    if (std::abs(el::gelu(x) - truth) > 0x1p-22 * std::abs(double(x))) FAIL("gelu(" << x << ")");
  }
}

TEST_CASE("the bits of a few values never change", "[elementary]") {
  // Written down once from this implementation: a change here changes every logit and needs a decision.
  CHECK(el::exp(1.0f) == 0x1.5bf0a8p+1f);
  CHECK(el::exp(-10.0f) == 0x1.7cd79cp-15f);
  CHECK(el::tanh(0.5f) == 0x1.d9353ep-2f);
}
