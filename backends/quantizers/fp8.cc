// FP8 (Micikevicius et al. 2022): the largest magnitude of a matrix or of a row becomes the format's largest value.
#include "backends/quantizers/linear_quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantfleet {
namespace {

using huggingface::Json, huggingface::StoredArray, huggingface::stored_array;

std::uint8_t to_small_float(float value, int exponent_bits, int mantissa_bits, std::uint8_t largest_code) {
  const auto sign = static_cast<std::uint8_t>(std::signbit(value) ? 0x80 : 0);
  const float magnitude = std::fabs(value);
  if (magnitude == 0) return sign;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  exponent = std::max(exponent - 1, 1 - bias);  // of the value's last place: 2^(exponent - mantissa_bits)
  const auto units = static_cast<int>(__builtin_rintf(std::ldexp(magnitude, mantissa_bits - exponent)));  // a carry goes into the exponent by itself
  const int code = units + ((exponent + bias - 1) << mantissa_bits);
  return static_cast<std::uint8_t>(sign | std::min<int>(code, largest_code));
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

std::uint8_t to_e4m3(float value) { return to_small_float(value, 4, 3, 0x7e); }
std::uint8_t to_e5m2(float value) { return to_small_float(value, 5, 2, 0x7b); }

Json config_fp8(std::int64_t) { return {{"quant_method", "fp8"}, {"activation_scheme", "dynamic"}, {"ignored_layers", {"lm_head"}}}; }

Result<std::vector<StoredArray>> quantize_e4m3(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, true, false); }
Result<std::vector<StoredArray>> quantize_e4m3_channel(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, true, true); }
Result<std::vector<StoredArray>> quantize_e5m2(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, false, false); }
Result<std::vector<StoredArray>> quantize_e5m2_channel(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_fp8(weight, pool, false, true); }

}  // namespace quantfleet
