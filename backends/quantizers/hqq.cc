// HQQ, half-quadratic quantization (Badri & Shaji 2023): the scale of a group is (2^b - 1) / range and stays; the zero point
// is fitted so that the p-norm of the error, p = 0.7, falls: a proximal step shrinks the error, the zero point becomes the mean
// that explains the rest. At most 20 steps, until the mean error of the matrix no longer falls. Data-free.
#include "backends/kernels/elementary.h"
#include "backends/quantizers/linear_quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantfleet {
namespace {

using huggingface::HqqCodes, huggingface::Json, huggingface::StoredArray;

constexpr int kSteps = 20;
constexpr float kBeta = 10, kNorm = 0.7f;
constexpr float kSurelyZero = 0.17f;  // |v| <= |v|^(p - 1) / beta up to 0.1701

// sign(v) max(0, |v| - |v|^(p - 1) / beta)
float shrink(float v) {
  const float magnitude = __builtin_fabsf(v);
  if (magnitude <= kSurelyZero) return 0;
  const float smaller = magnitude - 1 / kBeta * static_cast<float>(pow(static_cast<double>(magnitude), static_cast<double>(kNorm - 1)));
  return smaller > 0 ? (v < 0 ? -smaller : smaller) : 0;
}

// Rounded half to even: among numbers of this size the last place is worth 1.
float code_of(float value, float scale, float zero, float top) { return std::clamp(value * scale + zero, 0.0f, top) + 0x1.8p23f - 0x1.8p23f; }

Result<std::vector<StoredArray>> quantize_hqq(const LinearInput& weight, std::int64_t group_size, int bits, ThreadPool& pool) {
  const auto count = static_cast<std::int64_t>(weight.values.size());
  if (group_size < 1 || count % group_size != 0)
    return Error{Code::kBadShape, fmt::format("{}: {} values do not divide into groups of {}; choose another --group-size", weight.module, count, group_size)};
  HqqCodes codes;
  codes.bits = bits;
  codes.rows = weight.rows;
  codes.columns = weight.columns;
  codes.group_size = group_size;
  const std::int64_t groups = count / group_size;
  const auto top = static_cast<float>((1 << bits) - 1);
  codes.codes.resize(weight.values.size());
  codes.scales.resize(static_cast<std::size_t>(groups));  // the inverse, until the end
  codes.zeros.resize(codes.scales.size());
  std::vector<double> errors(codes.scales.size());
  const auto each_group = [&](const auto& body) {
    pool.parallel_for(groups, 64, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t g = begin; g < end; ++g) body(static_cast<std::size_t>(g), weight.values.data() + g * group_size);
    });
  };
  each_group([&](std::size_t g, const float* values) {
    float low = values[0], high = values[0];
    for (std::int64_t k = 1; k < group_size; ++k) low = std::min(low, values[k]), high = std::max(high, values[k]);
    const float range = high - low;
    codes.scales[g] = range <= 1e-4f ? 1.0f : std::min(top / range, 2e4f);
    codes.zeros[g] = -low * codes.scales[g];
    if (bits == 4) codes.zeros[g] = __builtin_rintf(codes.zeros[g]);
  });
  double best = std::numeric_limits<double>::infinity();
  for (int step = 0; step < kSteps; ++step) {
    each_group([&](std::size_t g, const float* values) {
      const float scale = codes.scales[g], zero = codes.zeros[g];
      double error = 0, sum = 0;
      for (std::int64_t k = 0; k < group_size; ++k) {
        const float code = code_of(values[k], scale, zero, top);
        const float difference = values[k] - (code - zero) / scale;
        error += __builtin_fabsf(difference);
        sum += code - (values[k] - shrink(difference)) * scale;
      }
      errors[g] = error;
      codes.zeros[g] = static_cast<float>(sum / static_cast<double>(group_size));
    });
    double error = 0;
    for (const double one : errors) error += one;
    if (!(error < best)) break;
    best = error;
  }
  each_group([&](std::size_t g, const float* values) {
    std::uint8_t* out = codes.codes.data() + static_cast<std::int64_t>(g) * group_size;
    for (std::int64_t k = 0; k < group_size; ++k) out[k] = static_cast<std::uint8_t>(code_of(values[k], codes.scales[g], codes.zeros[g], top));
    codes.scales[g] = 1 / codes.scales[g];
  });
  for (std::size_t g = 0; g < codes.zeros.size(); ++g)
    if (!(std::fabs(codes.zeros[g]) < 65504)) return Error{Code::kBadValue, fmt::format("{}: the zero point {} of group {} does not fit F16", weight.module, codes.zeros[g], g)};
  return huggingface::pack_hqq(weight.module, codes);
}

Json config_hqq(int bits, std::int64_t group_size) {
  const Json parameters = {{"nbits", bits}, {"channel_wise", true}, {"group_size", group_size}, {"optimize", true}, {"round_zero", bits == 4}, {"axis", 1}, {"view_as_float", false}};
  return {{"quant_method", "hqq"}, {"skip_modules", {"lm_head"}},
          {"quant_config", {{"weight_quant_params", parameters}, {"scale_quant_params", nullptr}, {"zero_quant_params", nullptr}, {"offload_meta", false}}}};
}

}  // namespace

Json config_hqq8(std::int64_t group_size) { return config_hqq(8, group_size); }
Json config_hqq4(std::int64_t group_size) { return config_hqq(4, group_size); }
Json config_hqq3(std::int64_t group_size) { return config_hqq(3, group_size); }
Json config_hqq2(std::int64_t group_size) { return config_hqq(2, group_size); }
Json config_hqq1(std::int64_t group_size) { return config_hqq(1, group_size); }
Result<std::vector<StoredArray>> quantize_hqq8(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_hqq(weight, group_size, 8, pool); }
Result<std::vector<StoredArray>> quantize_hqq4(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_hqq(weight, group_size, 4, pool); }
Result<std::vector<StoredArray>> quantize_hqq3(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_hqq(weight, group_size, 3, pool); }
Result<std::vector<StoredArray>> quantize_hqq2(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_hqq(weight, group_size, 2, pool); }
Result<std::vector<StoredArray>> quantize_hqq1(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_hqq(weight, group_size, 1, pool); }

}  // namespace quantfleet
