// FP8 (Micikevicius et al. 2022): the largest magnitude of a matrix or of a row becomes the format's largest value.
#include "backends/quantizers/linear_quantizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace quantfleet {
namespace {

using huggingface::Json, huggingface::StoredArray, huggingface::stored_array;

// Rounded to the nearest number, of two the even one; what is larger than all becomes the largest.
template <int kExponentBits, int kMantissaBits, std::uint32_t kLargest>
std::uint8_t to_small_float(float value) {
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1, kDropped = 23 - kMantissaBits;
  constexpr float kSmallestNormal = std::bit_cast<float>(static_cast<std::uint32_t>(128 - kBias) << 23);
  constexpr float kUnits = std::bit_cast<float>(static_cast<std::uint32_t>(128 - kBias + kDropped) << 23);  // its last place is worth the smallest number
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffff, sign = bits >> 24 & 0x80;
  const std::uint32_t half_even = (1u << (kDropped - 1)) - 1 + (magnitude >> kDropped & 1);
  const std::uint32_t normal = ((magnitude + half_even) >> kDropped) - (static_cast<std::uint32_t>(127 - kBias) << kMantissaBits);  // a carry goes into the exponent by itself
  const std::uint32_t subnormal = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + kUnits) - std::bit_cast<std::uint32_t>(kUnits);
  return static_cast<std::uint8_t>(sign | std::min(std::bit_cast<float>(magnitude) < kSmallestNormal ? subnormal : normal, kLargest));
}

Result<std::vector<StoredArray>> quantize_fp8(const LinearInput& weight, ThreadPool& pool, bool e4m3, bool by_row) {
  const float largest_value = e4m3 ? 448.0f : 57344.0f;
  std::vector<float> scales(static_cast<std::size_t>(weight.rows));
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      float largest = 0;
      for (std::int64_t k = 0; k < weight.columns; ++k) largest = std::max(largest, std::fabs(weight.row(n)[k]));
      scales[static_cast<std::size_t>(n)] = largest;
    }
  });
  if (!by_row) std::fill(scales.begin(), scales.end(), *std::max_element(scales.begin(), scales.end()));
  for (float& scale : scales) scale = std::max(scale / largest_value, std::numeric_limits<float>::min());
  std::vector<std::uint8_t> codes(weight.values.size());
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n)
      for (std::int64_t k = 0; k < weight.columns; ++k) {
        const float x = weight.row(n)[k] / scales[static_cast<std::size_t>(n)];
        codes[static_cast<std::size_t>(n * weight.columns + k)] = e4m3 ? to_e4m3(x) : to_e5m2(x);
      }
  });
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight", e4m3 ? "F8_E4M3" : "F8_E5M2", {weight.rows, weight.columns}, codes));
  if (by_row) arrays.push_back(stored_array("weight_scale", "F32", {weight.rows, 1}, scales));
  else arrays.push_back(stored_array("weight_scale", "F32", {1}, std::vector<float>{scales[0]}));
  return arrays;
}

}  // namespace

std::uint8_t to_e4m3(float value) { return to_small_float<4, 3, 0x7e>(value); }
std::uint8_t to_e5m2(float value) { return to_small_float<5, 2, 0x7b>(value); }

Json config_fp8(std::int64_t) { return {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}, {"ignored_layers", {"lm_head"}}}; }

Result<std::vector<StoredArray>> quantize_e4m3(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, true, false); }
Result<std::vector<StoredArray>> quantize_e4m3_channel(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, true, true); }
Result<std::vector<StoredArray>> quantize_e5m2(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, false, false); }
Result<std::vector<StoredArray>> quantize_e5m2_channel(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, false, true); }

}  // namespace quantfleet
