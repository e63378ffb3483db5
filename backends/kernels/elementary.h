// exp, log, pow, sin, cos, tanh, sigmoid, silu and gelu of our own (numerics.md rule 5): the same bits on every CPU,
// compiler and C library, because they consist of + - * /, fma, comparisons and integer operations in a fixed order.
// Method: argument reduction (Cody & Waite 1980) with fma, then Taylor polynomials long enough for the rest interval.
// The functions have internal linkage and use compiler built-ins instead of std:: inline functions on purpose: a file
// compiled for one instruction set must not hand its copy to the rest of the program. The vector kernels repeat exp and
// silu operation by operation, so that each lane gets these bits.
//
//   function          error, ULP of the result                     range
//   exp      float    <= 1    (denormal results: <= 1 of theirs)   all; overflow gives infinity, underflow zero
//   exp, log double   <= 1                                         exp: -708..709;  log: all positive
//   pow      double   <= 2 + 2 |y log x|                            x > 0
//   sin, cos double   <= 1, or 2^-60 absolute near their zeros     |x| <= 2^30
//   log      float    <= 0.51                                      all positive
//   tanh     float    <= 0.51                                      all
//   sigmoid  float    <= 2.5                                       x >= -87; below: 0 or denormal
//   silu     float    <= 3                                         x >= -87; below: magnitude under 2^-119
//   gelu     float    0.5 x (1 + tanh(...)): <= 2^-22 |x| absolute (cancellation for x << 0 is the formula's own)
// Bounds are tested: tests/backends/kernels/elementary_test.cc.
#pragma once

#include <cstdint>

namespace quantfleet::elementary {

// The constants which scalar and vector versions share.
[[maybe_unused]] static constexpr float kLog2E = 0x1.715476p+0f;
[[maybe_unused]] static constexpr float kLn2High = 0x1.62e430p-1f;
[[maybe_unused]] static constexpr float kLn2Low = -0x1.05c610p-29f;
[[maybe_unused]] static constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, ties to even
[[maybe_unused]] static constexpr float kExpLow = -104.0f;          // exp of this and less is 0
[[maybe_unused]] static constexpr float kExpHigh = 89.0f;           // exp of this and more is infinity
[[maybe_unused]] static constexpr float kExpTaylor[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};

// exp(x) = 2^n exp(r), |r| <= ln(2)/2.
[[maybe_unused]] static inline float exp(float x) {
  x = x > kExpHigh ? kExpHigh : x;
  x = x < kExpLow ? kExpLow : x;
  const float shifted = __builtin_fmaf(x, kLog2E, kRoundMagic);
  const float n = shifted - kRoundMagic;
  const std::uint32_t exponent =
      __builtin_bit_cast(std::uint32_t, shifted) - __builtin_bit_cast(std::uint32_t, kRoundMagic);
  float r = __builtin_fmaf(-n, kLn2High, x);  // exact
  r = __builtin_fmaf(-n, kLn2Low, r);
  float p = kExpTaylor[0];
  for (int i = 1; i < 8; ++i) p = __builtin_fmaf(p, r, kExpTaylor[i]);
  // 2^n in two factors, because n reaches from -150 to 128. Only the last product rounds.
  const std::uint32_t half = static_cast<std::uint32_t>(static_cast<std::int32_t>(exponent) >> 1);
  const float first = __builtin_bit_cast(float, (half + 127u) << 23);
  const float second = __builtin_bit_cast(float, (exponent - half + 127u) << 23);
  return p * first * second;
}

// -708 <= x <= 709; outside, the nearer end.
[[maybe_unused]] static inline double exp(double x) {
  x = x > 709.0 ? 709.0 : x;
  x = x < -708.0 ? -708.0 : x;
  constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = __builtin_fma(x, 0x1.71547652b82fep+0, kMagic);
  const double n = shifted - kMagic;
  const std::uint64_t exponent = __builtin_bit_cast(std::uint64_t, shifted) - __builtin_bit_cast(std::uint64_t, kMagic);
  double r = __builtin_fma(-n, 0x1.62e42fefa39efp-1, x);
  r = __builtin_fma(-n, 0x1.abc9e3b39803fp-56, r);
  constexpr double kTaylor[] = {
      1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
      1.0 / 720,        1.0 / 120,       1.0 / 24,       1.0 / 6,       0.5,          1.0,         1.0};
  double p = kTaylor[0];
  for (int i = 1; i < 14; ++i) p = __builtin_fma(p, r, kTaylor[i]);
  return p * __builtin_bit_cast(double, (exponent + 1023u) << 52);
}

// Natural logarithm. Zero gives -infinity, infinity itself, negative numbers and NaN give NaN.
[[maybe_unused]] static inline double log(double x) {
  if (!(x > 0.0)) return x == 0.0 ? -__builtin_inf() : __builtin_nan("");
  if (x == __builtin_inf()) return x;
  std::int64_t exponent = 0;
  if (x < 0x1p-1022) x *= 0x1p54, exponent = -54;
  const std::uint64_t bits = __builtin_bit_cast(std::uint64_t, x);
  // m in [sqrt(1/2), sqrt(2)): the offset moves sqrt(1/2)'s mantissa to an exponent border.
  constexpr std::uint64_t kSqrtHalf = 0x3fe6a09e667f3bcdull;
  const std::int64_t shift = static_cast<std::int64_t>(bits - kSqrtHalf) >> 52;
  const double m = __builtin_bit_cast(double, bits - (static_cast<std::uint64_t>(shift) << 52));
  exponent += shift;
  // log(m) = 2 atanh(s), s = (m - 1) / (m + 1).   2s = f - s f keeps the leading term exact.
  const double f = m - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  constexpr double kTaylor[] = {2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13,
                                2.0 / 11, 2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3};
  double p = kTaylor[0];
  for (int i = 1; i < 10; ++i) p = __builtin_fma(p, z, kTaylor[i]);
  const double n = static_cast<double>(exponent);
  const double tail = __builtin_fma(s, z * p - f, n * 0x1.abc9e3b39803fp-56);
  return __builtin_fma(n, 0x1.62e42fefa39efp-1, f + tail);
}

[[maybe_unused]] static inline float log(float x) { return static_cast<float>(log(static_cast<double>(x))); }

// x > 0.
[[maybe_unused]] static inline double pow(double x, double y) { return exp(y * log(x)); }

struct SinCos {
  double sin, cos;
};

// |x| <= 2^30 (a rotary angle is at most position * 1).
[[maybe_unused]] static inline SinCos sincos(double x) {
  constexpr double kMagic = 6755399441055744.0;
  const double shifted = __builtin_fma(x, 0x1.45f306dc9c883p-1, kMagic);
  const double n = shifted - kMagic;
  const std::uint64_t quadrant = __builtin_bit_cast(std::uint64_t, shifted) & 3u;
  double r = __builtin_fma(-n, 0x1.921fb54442d18p+0, x);
  r = __builtin_fma(-n, 0x1.1a62633145c07p-54, r);
  r = __builtin_fma(-n, -0x1.f1976b7ed8fbcp-110, r);
  const double z = r * r;
  constexpr double kSine[] = {1.0 / 355687428096000.0,
                              -1.0 / 1307674368000.0,
                              1.0 / 6227020800.0,
                              -1.0 / 39916800,
                              1.0 / 362880,
                              -1.0 / 5040,
                              1.0 / 120,
                              -1.0 / 6};
  constexpr double kCosine[] = {-1.0 / 6402373705728000.0,
                                1.0 / 20922789888000.0,
                                -1.0 / 87178291200.0,
                                1.0 / 479001600,
                                -1.0 / 3628800,
                                1.0 / 40320,
                                -1.0 / 720,
                                1.0 / 24,
                                -0.5};
  double s = kSine[0];
  for (int i = 1; i < 8; ++i) s = __builtin_fma(s, z, kSine[i]);
  s = __builtin_fma(s * z, r, r);
  double c = kCosine[0];
  for (int i = 1; i < 9; ++i) c = __builtin_fma(c, z, kCosine[i]);
  c = __builtin_fma(c, z, 1.0);
  switch (quadrant) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

[[maybe_unused]] static inline double sin(double x) { return sincos(x).sin; }
[[maybe_unused]] static inline double cos(double x) { return sincos(x).cos; }

[[maybe_unused]] static inline float tanh(float x) {
  const double magnitude = x < 0 ? -static_cast<double>(x) : static_cast<double>(x);
  double t;
  if (magnitude < 0x1p-9) {  // the series, where 1 - exp would cancel
    const double z = magnitude * magnitude;
    t = __builtin_fma(magnitude * z, __builtin_fma(z, 2.0 / 15, -1.0 / 3), magnitude);
  } else {
    const double e = exp(-2.0 * (magnitude > 20.0 ? 20.0 : magnitude));
    t = (1.0 - e) / (1.0 + e);
  }
  return static_cast<float>(x < 0 ? -t : t);
}

[[maybe_unused]] static inline float sigmoid(float x) { return 1.0f / (1.0f + exp(-x)); }

[[maybe_unused]] static inline float silu(float x) { return x / (1.0f + exp(-x)); }

// The tanh form (Hendrycks & Gimpel 2016), as GPT-2 and Gemma use it.
[[maybe_unused]] static inline float gelu(float x) {
  const float inner = 0x1.988454p-1f * __builtin_fmaf(0x1.6e4e26p-5f * x * x, x, x);  // sqrt(2/pi), 0.044715
  return 0.5f * x * (1.0f + tanh(inner));
}

}  // namespace quantfleet::elementary
