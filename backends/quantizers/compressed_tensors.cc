// compressed-tensors schemes by round to nearest. Symmetric: scale = largest magnitude / 7.5 (127.5), codes -8..7 (-128..127).
// Asymmetric: zero lies in the range, scale = (max - min) / 15. Codes are chosen for the scale as stored (F16 in groups).
#include "backends/formats/half_float.h"
#include "backends/quantizers/linear_quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace quantfleet {
namespace {

using huggingface::GroupedCodes, huggingface::Json, huggingface::StoredArray, huggingface::stored_array;

Json config_of(const char* format, Json weights, Json activations) {
  Json group = {{"targets", {"Linear"}}, {"weights", std::move(weights)}, {"input_activations", std::move(activations)}, {"output_activations", nullptr}};
  return {{"quant_method", "compressed-tensors"}, {"format", format}, {"ignore", {"lm_head"}}, {"quantization_status", "compressed"}, {"config_groups", {{"group_0", std::move(group)}}}};
}

Json integers(int bits, const char* strategy, bool symmetric, Json group_size) {
  return {{"num_bits", bits}, {"type", "int"}, {"symmetric", symmetric}, {"strategy", strategy}, {"group_size", std::move(group_size)}, {"dynamic", false}, {"actorder", nullptr}};
}

float as_stored(float scale) { return half_to_float(float_to_half(std::max(scale, std::numeric_limits<float>::epsilon()))); }

Result<std::vector<StoredArray>> quantize_groups(const LinearInput& weight, int bits, std::int64_t group_size, bool symmetric, ThreadPool& pool) {
  GroupedCodes codes;
  codes.bits = bits;
  codes.rows = weight.rows;
  codes.columns = weight.columns;
  codes.group_size = group_size > 0 ? group_size : weight.columns;
  if (weight.columns % codes.group_size != 0)
    return Error{Code::kBadShape, fmt::format("{}: {} inputs do not divide into groups of {}; choose another --group-size", weight.module, weight.columns, codes.group_size)};
  const std::int64_t groups = codes.groups();
  const int top = (1 << bits) - 1, middle = 1 << (bits - 1);
  codes.codes.resize(weight.values.size());
  codes.scales.resize(static_cast<std::size_t>(weight.rows * groups));
  codes.zeros.resize(codes.scales.size(), static_cast<std::uint8_t>(middle));
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n)
      for (std::int64_t g = 0; g < groups; ++g) {
        const float* values = weight.row(n) + g * codes.group_size;
        std::uint8_t* out = codes.codes.data() + n * weight.columns + g * codes.group_size;
        float low = 0, high = 0;
        for (std::int64_t k = 0; k < codes.group_size; ++k) low = std::min(low, values[k]), high = std::max(high, values[k]);
        const auto at = static_cast<std::size_t>(n * groups + g);
        const float scale = as_stored(symmetric ? std::max(-low, high) / (static_cast<float>(top) / 2) : (high - low) / static_cast<float>(top));
        const float zero = symmetric ? static_cast<float>(middle) : std::clamp(__builtin_rintf(-low / scale), 0.0f, static_cast<float>(top));
        codes.scales[at] = scale;
        codes.zeros[at] = static_cast<std::uint8_t>(zero);
        for (std::int64_t k = 0; k < codes.group_size; ++k)
          out[k] = static_cast<std::uint8_t>(std::clamp(__builtin_rintf(values[k] / scale + zero), 0.0f, static_cast<float>(top)));
      }
  });
  return huggingface::pack_compressed(weight.module, codes, symmetric);
}

}  // namespace

Json config_w4a16(std::int64_t group_size) { return config_of("pack-quantized", integers(4, "group", true, group_size), nullptr); }
Json config_w4a16_asym(std::int64_t group_size) { return config_of("pack-quantized", integers(4, "group", false, group_size), nullptr); }
Json config_w8a16(std::int64_t) { return config_of("pack-quantized", integers(8, "channel", true, nullptr), nullptr); }
Json config_w8a8(std::int64_t) {
  const Json activations = {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "token"}, {"dynamic", true}};
  return config_of("int-quantized", integers(8, "channel", true, nullptr), activations);
}

Json config_w8a8_static() {
  const Json activations = {{"num_bits", 8}, {"type", "int"}, {"symmetric", true}, {"strategy", "tensor"}, {"dynamic", false}, {"observer", "minmax"}};
  return config_of("int-quantized", integers(8, "channel", true, nullptr), activations);
}

Result<std::vector<StoredArray>> quantize_w4a16(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_groups(weight, 4, group_size, true, pool); }
Result<std::vector<StoredArray>> quantize_w4a16_asym(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_groups(weight, 4, group_size, false, pool); }
Result<std::vector<StoredArray>> quantize_w8a16(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_groups(weight, 8, 0, true, pool); }

namespace {

// One scale per output; codes [N, K].
std::vector<StoredArray> quantize_rows(const LinearInput& weight, std::span<float> values, ThreadPool& pool) {
  std::vector<std::int8_t> codes(weight.values.size());
  std::vector<float> scales(static_cast<std::size_t>(weight.rows));
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      const float* row = weight.row(n);
      float largest = 0;
      for (std::int64_t k = 0; k < weight.columns; ++k) largest = std::max(largest, std::fabs(row[k]));
      const float scale = std::max(largest / 127.5f, std::numeric_limits<float>::epsilon());
      scales[static_cast<std::size_t>(n)] = scale;
      for (std::int64_t k = 0; k < weight.columns; ++k) {
        const float code = std::clamp(__builtin_rintf(row[k] / scale), -128.0f, 127.0f);
        codes[static_cast<std::size_t>(n * weight.columns + k)] = static_cast<std::int8_t>(code);
        if (!values.empty()) values[static_cast<std::size_t>(n * weight.columns + k)] = code * scale;
      }
    }
  });
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight", "I8", {weight.rows, weight.columns}, codes));
  arrays.push_back(stored_array("weight_scale", "F32", {weight.rows, 1}, scales));
  return arrays;
}

}  // namespace

Result<std::vector<StoredArray>> quantize_w8a8(const LinearInput& weight, std::int64_t, ThreadPool& pool) { return quantize_rows(weight, {}, pool); }

std::vector<StoredArray> quantize_w8a8_static(const LinearInput& weight, float input_scale, std::span<float> values, ThreadPool& pool) {
  std::vector<StoredArray> arrays = quantize_rows(weight, values, pool);
  arrays.push_back(stored_array("input_scale", "F32", {1}, std::vector<float>{input_scale}));
  return arrays;
}

}  // namespace quantfleet
