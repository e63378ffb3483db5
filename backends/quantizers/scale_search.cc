#include "backends/quantizers/scale_search.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace quantfleet {

namespace {

constexpr float kNothing = 1e-15f;       // groups below this are zero
constexpr float kSmallestRange = 1e-36f;  // below it code_max / range overflows: the group has no range
constexpr int kMaxGroup = 32;

// The value of largest magnitude, with its sign; the first one on ties.
float signed_extreme(std::span<const float> x) {
  float largest = 0, extreme = 0;
  for (const float value : x) {
    if (std::fabs(value) <= largest) continue;
    largest = std::fabs(value);
    extreme = value;
  }
  return extreme;
}

}  // namespace

int nearest_code(float value) {
  // Adding 1.5 * 2^23 puts the unit at the last mantissa bit; the addition rounds half to even.
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value + 12582912.0f);
  return static_cast<int>(bits & 0x007fffffu) - 0x00400000;
}

int nearest_code_within(float value, int low, int high) {
  value = value > static_cast<float>(low) ? value : static_cast<float>(low);
  return nearest_code(value < static_cast<float>(high) ? value : static_cast<float>(high));
}

float fit_symmetric(std::span<const float> x, int code_limit, const float* weights, std::uint8_t* codes) {
  const float extreme = signed_extreme(x);
  if (std::fabs(extreme) < kNothing) {
    std::fill_n(codes, x.size(), std::uint8_t{0});
    return 0;
  }
  const auto code_of = [&](float value, float inverse) {
    return nearest_code_within(inverse * value, -code_limit, code_limit - 1);
  };
  float scale = 0, best = 0;
  for (int candidate = 0; candidate < 19; ++candidate) {
    const int step = candidate == 0 ? 0 : candidate - (candidate <= 9 ? 10 : 9);  // 0, -9 .. -1, 1 .. 9
    const float inverse = step == 0 ? -static_cast<float>(code_limit) / extreme
                                    : -(static_cast<float>(code_limit) + 0.1f * static_cast<float>(step)) / extreme;
    float sum_lx = 0, sum_l2 = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto code = static_cast<float>(code_of(x[i], inverse));
      const float weight = weights ? weights[i] : x[i] * x[i];
      sum_lx += weight * x[i] * code;
      sum_l2 += weight * code * code;
    }
    const bool first = candidate == 0;
    if (!first && !(sum_l2 > 0 && sum_lx * sum_lx > best * sum_l2)) continue;
    for (std::size_t i = 0; i < x.size(); ++i)
      codes[i] = static_cast<std::uint8_t>(code_of(x[i], inverse) + code_limit);
    scale = sum_l2 != 0 ? sum_lx / sum_l2 : 0.0f;
    best = scale * sum_lx;
  }
  return scale;
}

float fit_by_descent(std::span<const float> x, int code_limit, std::uint8_t* codes) {
  const float extreme = signed_extreme(x);
  if (std::fabs(extreme) < kNothing) {
    std::fill_n(codes, x.size(), std::uint8_t{0});
    return 0;
  }
  const float inverse = -static_cast<float>(code_limit) / extreme;
  int signed_codes[kMaxGroup];
  float sum_lx = 0, sum_l2 = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    signed_codes[i] = std::clamp(nearest_code(inverse * x[i]), -code_limit, code_limit - 1);
    const auto code = static_cast<float>(signed_codes[i]);
    const float weight = x[i] * x[i];
    sum_lx += weight * x[i] * code;
    sum_l2 += weight * code * code;
  }
  for (int sweep = 0; sweep < 5; ++sweep) {
    bool changed = false;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float weight = x[i] * x[i];
      const auto code = static_cast<float>(signed_codes[i]);
      float lx = sum_lx - weight * x[i] * code;
      if (!(lx > 0)) continue;
      float l2 = sum_l2 - weight * code * code;
      const int candidate = std::clamp(nearest_code(x[i] * l2 / lx), -code_limit, code_limit - 1);
      if (candidate == signed_codes[i]) continue;
      const auto new_code = static_cast<float>(candidate);
      lx += weight * x[i] * new_code;
      l2 += weight * new_code * new_code;
      if (!(l2 > 0 && lx * lx * sum_l2 > sum_lx * sum_lx * l2)) continue;
      signed_codes[i] = candidate;
      sum_lx = lx;
      sum_l2 = l2;
      changed = true;
    }
    if (!changed) break;
  }
  for (std::size_t i = 0; i < x.size(); ++i) codes[i] = static_cast<std::uint8_t>(signed_codes[i] + code_limit);
  return sum_l2 > 0 ? sum_lx / sum_l2 : 0.0f;
}

ScaleAndMinimum fit_with_minimum(std::span<const float> x, const float* weights, int code_max, Candidates candidates,
                                 std::uint8_t* codes) {
  const auto n = x.size();
  float low = x[0], high = x[0];
  float sum_w = weights[0], sum_x = sum_w * x[0];
  for (std::size_t i = 1; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    sum_w += weights[i];
    sum_x += weights[i] * x[i];
  }
  low = std::min(low, 0.0f);
  if (!(high - low > kSmallestRange)) {
    std::fill_n(codes, n, std::uint8_t{0});
    return {0, -low};
  }
  const auto last_code = static_cast<float>(code_max);
  const auto round_all = [&](float inverse, float minimum, std::uint8_t* out) {
    for (std::size_t i = 0; i < n; ++i)
      out[i] = static_cast<std::uint8_t>(nearest_code_within(inverse * (x[i] - minimum), 0, code_max));
  };
  const auto error_of = [&](float scale, float minimum, const std::uint8_t* from) {
    float error = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const float difference = scale * static_cast<float>(from[i]) + minimum - x[i];
      error += weights[i] * (candidates.absolute_error ? std::fabs(difference) : difference * difference);
    }
    return error;
  };

  float scale = 1 / (last_code / (high - low));
  round_all(last_code / (high - low), low, codes);
  float best = error_of(scale, low, codes);
  std::uint8_t trial[kMaxGroup];
  for (int step = 0; step <= candidates.count; ++step) {
    // `low` is the best minimum so far, not the original one: the search moves with it.
    const float inverse = (candidates.first + candidates.step * static_cast<float>(step) + last_code) / (high - low);
    round_all(inverse, low, trial);
    float sum_l = 0, sum_l2 = 0, sum_xl = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const auto code = static_cast<float>(trial[i]);
      sum_l += weights[i] * code;
      sum_l2 += weights[i] * code * code;
      sum_xl += weights[i] * code * x[i];
    }
    const float determinant = sum_w * sum_l2 - sum_l * sum_l;
    if (!(determinant > 0)) continue;
    float trial_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    float trial_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    if (trial_low > 0) {
      trial_low = 0;
      trial_scale = sum_xl / sum_l2;
    }
    const float error = error_of(trial_scale, trial_low, trial);
    if (!(error < best)) continue;
    std::copy_n(trial, n, codes);
    best = error;
    scale = trial_scale;
    low = trial_low;
  }
  return {scale, -low};
}

float fit_positive(std::span<const float> x, const float* weights, int code_max, std::uint8_t* codes) {
  const auto n = x.size();
  float largest = 0;
  for (const float value : x) largest = std::max(largest, value);
  if (largest < kNothing) {
    std::fill_n(codes, n, std::uint8_t{0});
    return 0;
  }
  const auto last_code = static_cast<float>(code_max);
  const auto code_of = [&](float value, float inverse) {
    return static_cast<std::uint8_t>(std::clamp(nearest_code(inverse * value), 0, code_max));
  };
  float inverse = last_code / largest, best = 0;
  for (int candidate = 0; candidate < 9; ++candidate) {
    const int step = candidate == 0 ? 0 : candidate - (candidate <= 4 ? 5 : 4);  // 0, -4 .. -1, 1 .. 4
    const float trial = step == 0 ? last_code / largest : (0.1f * static_cast<float>(step) + last_code) / largest;
    const float scale = 1 / trial;
    float error = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const float difference = x[i] - scale * static_cast<float>(code_of(x[i], trial));
      error += weights[i] * difference * difference;
    }
    if (candidate != 0 && !(error < best)) continue;
    best = error;
    inverse = trial;
  }
  float sum_lx = 0, sum_l2 = 0;
  for (std::size_t i = 0; i < n; ++i) {
    codes[i] = code_of(x[i], inverse);
    const auto code = static_cast<float>(codes[i]);
    sum_lx += weights[i] * x[i] * code;
    sum_l2 += weights[i] * code * code;
  }
  for (int sweep = 0; sweep < 5; ++sweep) {
    bool changed = false;
    for (std::size_t i = 0; i < n; ++i) {
      const auto code = static_cast<float>(codes[i]);
      float lx = sum_lx - weights[i] * x[i] * code;
      float l2 = sum_l2 - weights[i] * code * code;
      if (!(lx > 0 && l2 > 0)) continue;
      const std::uint8_t candidate = code_of(x[i] * l2 / lx, 1.0f);
      if (candidate == codes[i]) continue;
      const auto new_code = static_cast<float>(candidate);
      lx += weights[i] * x[i] * new_code;
      l2 += weights[i] * new_code * new_code;
      if (!(lx * lx * sum_l2 > sum_lx * sum_lx * l2)) continue;
      codes[i] = candidate;
      sum_lx = lx;
      sum_l2 = l2;
      changed = true;
    }
    if (!changed) break;
  }
  return sum_l2 > 0 ? sum_lx / sum_l2 : 0.0f;
}

}  // namespace quantfleet
