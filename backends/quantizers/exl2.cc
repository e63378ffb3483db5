#include "backends/quantizers/exl2.h"

#include "backends/formats/half_float.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace quantfleet {

namespace {

using huggingface::Exl2Codes;

constexpr int kMaxima = 8;                // 0.72, 0.78 .. 1.14 of the largest step
constexpr int kScaleCodes = 2;            // codes that each output tries: the one that covers its weights, and the one below
constexpr float kLeastMaximum = 0x1p-16f; // a 256th of it is still binary16

const std::array kOptions = {
    Exl2Option{{{3, 0.05}, {2, 0.95}}, 64}, Exl2Option{{{3, 0.25}, {2, 0.75}}, 64}, Exl2Option{{{3, 0.5}, {2, 0.5}}, 64},   Exl2Option{{{4, 0.1}, {3, 0.4}, {2, 0.5}}, 64},
    Exl2Option{{{3, 1.0}}, 128},            Exl2Option{{{4, 0.05}, {3, 0.95}}, 64}, Exl2Option{{{4, 0.25}, {3, 0.75}}, 128}, Exl2Option{{{4, 0.5}, {3, 0.5}}, 128},
    Exl2Option{{{4, 1.0}}, 128},            Exl2Option{{{4, 1.0}}, 32},             Exl2Option{{{5, 0.1}, {4, 0.9}}, 128},   Exl2Option{{{6, 0.1}, {4, 0.9}}, 128},
    Exl2Option{{{5, 0.5}, {4, 0.5}}, 128},  Exl2Option{{{5, 1.0}}, 128},            Exl2Option{{{6, 0.1}, {5, 0.9}}, 128},   Exl2Option{{{6, 0.5}, {5, 0.5}}, 128},
    Exl2Option{{{6, 1.0}}, 128},            Exl2Option{{{8, 0.1}, {6, 0.9}}, 128},  Exl2Option{{{8, 0.5}, {6, 0.5}}, 128},   Exl2Option{{{8, 1.0}}, 128}};

// Half to even; |value| < 2^22.
float rounded(float value) { return (value + 12582912.0f) - 12582912.0f; }

int code_of(float value, float scale, int bits) {
  const float half = static_cast<float>(1 << (bits - 1));
  return scale > 0 ? static_cast<int>(rounded(std::clamp(value / scale, -half, half - 1))) : 0;
}

// A group of one output: its weights, their weights (1 / U_ii squared), what covers them.
struct Row {
  const float* values;
  float step;  // that lets the largest weight meet the last code
};

// The scale code of least error under the maximum that these sixteen scales belong to, and that error.
std::pair<int, float> fit(const Row& row, std::span<const float> costs, const std::array<float, 16>& scales, int bits) {
  const float half = static_cast<float>(1 << (bits - 1));
  int most = 0;  // the smallest scale that is no smaller than the step
  while (most < 15 && scales[static_cast<std::size_t>(most)] < row.step) ++most;
  std::pair<int, float> best{most, std::numeric_limits<float>::infinity()};
  for (int code = most; code >= 0 && code > most - kScaleCodes; --code) {
    const float scale = scales[static_cast<std::size_t>(code)], inverse = scale > 0 ? 1 / scale : 0;
    float sum = 0;
    for (std::size_t i = 0; i < costs.size(); ++i) {
      const float error = rounded(std::clamp(row.values[i] * inverse, -half, half - 1)) * scale - row.values[i];
      sum += error * error * costs[i];
    }
    if (sum < best.second) best = {code, sum};
  }
  return best;
}

}  // namespace

std::string Exl2Option::text() const {
  std::string text;
  for (const Part& part : parts) text += fmt::format("{}{}@{}", text.empty() ? "" : ",", part.bits, part.share);
  return text + fmt::format(" g{}", group_size);
}

std::span<const Exl2Option> exl2_options() { return kOptions; }

std::vector<Exl2Codes::Group> exl2_groups(const Exl2Option& option, std::int64_t columns) {
  std::vector<Exl2Codes::Group> groups;
  std::int64_t left = columns;
  for (std::size_t i = 0; i < option.parts.size(); ++i) {
    const auto [bits, share] = option.parts[i];
    const auto wanted = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(columns) / 32)) * 32;
    std::int64_t part = i + 1 == option.parts.size() ? left : std::min(wanted, left);
    left -= part;
    for (; part > 0; part -= groups.back().count) groups.push_back({bits, std::min(part, option.group_size)});
  }
  return groups;
}

std::uint64_t exl2_bits(std::span<const Exl2Codes::Group> groups, std::int64_t rows, std::int64_t columns) {
  std::int64_t bits = 32 * columns;
  for (const Exl2Codes::Group& group : groups) bits += group.count * rows * group.bits + 16 + 32 + 4 * rows;
  return static_cast<std::uint64_t>(bits);
}

Exl2Codes quantize_exl2(std::span<float> weights, std::int64_t rows, const ErrorFeedback& feedback, const Exl2Option& option, GemmF32& gemm, ThreadPool& pool) {
  const std::int64_t K = feedback.columns();
  Exl2Codes coded;
  coded.rows = rows;
  coded.columns = K;
  coded.groups = exl2_groups(option, K);
  coded.codes.resize(static_cast<std::size_t>(rows * K));
  coded.inverse.resize(static_cast<std::size_t>(K));
  for (std::int64_t i = 0; i < K; ++i) coded.inverse[static_cast<std::size_t>(feedback.order[static_cast<std::size_t>(i)])] = static_cast<std::int32_t>(i);
  feedback.reorder(weights, rows, pool);
  std::vector<float> steps(static_cast<std::size_t>(rows)), negative_errors;
  std::vector<std::int8_t> scale_codes(static_cast<std::size_t>(rows)), best_codes(scale_codes.size());
  std::vector<float> errors(static_cast<std::size_t>(rows)), costs;
  std::int64_t first = 0;
  for (const Exl2Codes::Group& group : coded.groups) {
    const std::int64_t last = first + group.count, width = group.count;
    const int bits = group.bits;
    costs.clear();
    for (std::int64_t i = first; i < last; ++i) {
      const float u = feedback.inverse[static_cast<std::size_t>(i * K + i)];
      costs.push_back(1 / (u * u));
    }
    const auto values_of = [&](std::int64_t row) { return &weights[static_cast<std::size_t>(row * K + first)]; };
    float largest = 0;
    for (std::int64_t row = 0; row < rows; ++row) {
      float most = 0;
      for (std::int64_t i = 0; i < width; ++i) most = std::max(most, std::fabs(values_of(row)[i]));
      steps[static_cast<std::size_t>(row)] = most / (static_cast<float>((1 << bits) - 1) / 2);
      largest = std::max(largest, steps[static_cast<std::size_t>(row)]);
    }
    float maximum = 0;
    double least = std::numeric_limits<double>::infinity();
    for (int candidate = 0; candidate < kMaxima; ++candidate) {
      const float tried = half_to_float(float_to_half(std::max(largest * (0.72f + 0.06f * static_cast<float>(candidate)), kLeastMaximum)));
      std::array<float, 16> scales;
      for (unsigned code = 0; code < 16; ++code) scales[code] = huggingface::exl2_scale(code, tried);
      pool.parallel_for(rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t row = begin; row < end; ++row) {
          const auto r = static_cast<std::size_t>(row);
          const std::pair<int, float> best = fit({values_of(row), steps[r]}, costs, scales, bits);
          scale_codes[r] = static_cast<std::int8_t>(best.first);
          errors[r] = best.second;
        }
      });
      double sum = 0;
      for (const float error : errors) sum += static_cast<double>(error);
      if (candidate > 0 && !(sum < least)) continue;
      least = sum;
      maximum = tried;
      best_codes = scale_codes;
    }
    coded.maxima.push_back(maximum);
    for (const std::int8_t code : best_codes) coded.scale_codes.push_back(static_cast<std::uint8_t>(code));
    negative_errors.resize(static_cast<std::size_t>(rows * width));
    pool.parallel_for(rows, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t row = begin; row < end; ++row) {
        float* w = &weights[static_cast<std::size_t>(row * K)];
        const float scale = huggingface::exl2_scale(static_cast<unsigned>(best_codes[static_cast<std::size_t>(row)]), maximum);
        for (std::int64_t i = first; i < last; ++i) {
          const float* u = &feedback.inverse[static_cast<std::size_t>(i * K)];
          const int code = code_of(w[i], scale, bits);
          const float value = static_cast<float>(code) * scale, error = (w[i] - value) / u[i];
          coded.codes[static_cast<std::size_t>(row * K + i)] = static_cast<std::uint8_t>(code + (1 << (bits - 1)));
          w[i] = value;
          for (std::int64_t j = i + 1; j < last; ++j) w[j] -= error * u[j];
          negative_errors[static_cast<std::size_t>(row * width + i - first)] = -error;
        }
      }
    });
    feedback.pass_on(weights, rows, first, last, negative_errors, gemm);
    first = last;
  }
  feedback.restore(weights, rows, pool);
  return coded;
}

}  // namespace quantfleet
