// Ternary weights (BitNet b1.58), 2:4 sparse weights (by magnitude, or Wanda's score with an importance matrix), and BF16 without loss.
#include "backends/formats/half_float.h"
#include "backends/quantizers/linear_quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace quantfleet {
namespace {

using huggingface::Json, huggingface::SparseCodes, huggingface::StoredArray;

// Wanda (Sun et al. 2023): |w| times the norm of the input; two of four stay, the earlier of equals.
Result<std::vector<StoredArray>> quantize_sparse(const LinearInput& weight, std::int64_t group_size, int bits, ThreadPool& pool) {
  const std::int64_t N = weight.rows, K = weight.columns;
  if (K % 8 != 0 || group_size < 4 || group_size % 4 != 0 || K % group_size != 0)
    return Error{Code::kBadShape, fmt::format("{}: {} inputs do not divide into eights and into groups of {}; choose another --group-size", weight.module, K, group_size)};
  std::vector<float> norms(static_cast<std::size_t>(K), 1.0f);
  for (std::size_t k = 0; k < weight.importance.size(); ++k) norms[k] = std::sqrt(std::max(weight.importance[k], 0.0f));
  SparseCodes codes;
  codes.bits = bits;
  codes.rows = N;
  codes.columns = K;
  codes.group_size = group_size;
  codes.codes.resize(static_cast<std::size_t>(N * K / 2));
  codes.places.resize(static_cast<std::size_t>(N * K / 4));
  codes.scales.resize(static_cast<std::size_t>(N * (K / group_size)));
  const float half_range = static_cast<float>((1 << bits) - 1) / 2, low = -static_cast<float>(1 << (bits - 1)), high = -low - 1;
  pool.parallel_for(N, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      const float* row = weight.row(n);
      for (std::int64_t four = 0; four < K / 4; ++four) {
        std::array<int, 4> order = {0, 1, 2, 3};
        const auto score = [&](int i) { return std::fabs(row[4 * four + i]) * norms[static_cast<std::size_t>(4 * four + i)]; };
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return score(a) > score(b); });
        codes.places[static_cast<std::size_t>(n * K / 4 + four)] = static_cast<std::uint8_t>(std::min(order[0], order[1]) + 4 * std::max(order[0], order[1]));
      }
      for (std::int64_t g = 0; g < K / group_size; ++g) {
        const auto kept = [&](std::int64_t at) {  // the value at position `at` of the row's kept ones
          const unsigned place = codes.places[static_cast<std::size_t>(n * K / 4 + at / 2)];
          return row[at / 2 * 4 + static_cast<std::int64_t>(at % 2 == 0 ? place & 3 : place >> 2)];
        };
        float largest = 0;
        for (std::int64_t at = g * group_size / 2; at < (g + 1) * group_size / 2; ++at) largest = std::max(largest, std::fabs(kept(at)));
        const float scale = half_to_float(float_to_half(std::max(largest / half_range, std::numeric_limits<float>::epsilon())));
        codes.scales[static_cast<std::size_t>(n * (K / group_size) + g)] = scale;
        for (std::int64_t at = g * group_size / 2; at < (g + 1) * group_size / 2; ++at)
          codes.codes[static_cast<std::size_t>(n * K / 2 + at)] = static_cast<std::int8_t>(std::clamp(__builtin_rintf(kept(at) / scale), low, high));
      }
    }
  });
  return huggingface::pack_sparse(weight.module, codes);
}

}  // namespace

Json config_sparse4(std::int64_t group_size) { return {{"quant_method", "quantfleet-sparse"}, {"bits", 4}, {"group_size", group_size}}; }
Json config_sparse8(std::int64_t group_size) { return {{"quant_method", "quantfleet-sparse"}, {"bits", 8}, {"group_size", group_size}}; }
Result<std::vector<StoredArray>> quantize_sparse4(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_sparse(weight, group_size, 4, pool); }
Result<std::vector<StoredArray>> quantize_sparse8(const LinearInput& weight, std::int64_t group_size, ThreadPool& pool) { return quantize_sparse(weight, group_size, 8, pool); }

Json config_bitnet(std::int64_t) {
  return {{"quant_method", "bitnet"}, {"linear_class", "autobitlinear"}, {"quantization_mode", "offline"}, {"modules_to_not_convert", {"lm_head"}}};
}

// The scale is the mean magnitude; codes -1, 0, 1.
Result<std::vector<StoredArray>> quantize_bitnet(const LinearInput& weight, std::int64_t, ThreadPool& pool) {
  std::vector<double> sums(static_cast<std::size_t>(weight.rows));
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      double sum = 0;
      for (std::int64_t k = 0; k < weight.columns; ++k) sum += static_cast<double>(std::fabs(weight.row(n)[k]));
      sums[static_cast<std::size_t>(n)] = sum;
    }
  });
  double sum = 0;
  for (const double one : sums) sum += one;
  const float scale = std::max(static_cast<float>(sum / static_cast<double>(weight.values.size())), 1e-5f);
  std::vector<std::int8_t> codes(weight.values.size());
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (auto i = static_cast<std::size_t>(begin * weight.columns); i < static_cast<std::size_t>(end * weight.columns); ++i)
      codes[i] = static_cast<std::int8_t>(std::clamp(__builtin_rintf(weight.values[i] / scale), -1.0f, 1.0f));
  });
  return huggingface::pack_bitnet(weight.module, weight.rows, weight.columns, codes, scale);
}

Json config_lossless(std::int64_t) { return {{"quant_method", "quantfleet-lossless"}}; }

Result<std::vector<StoredArray>> quantize_lossless(const LinearInput& weight, std::int64_t, ThreadPool&) {
  std::vector<std::uint16_t> values;
  values.reserve(weight.values.size());
  for (std::size_t i = 0; i < weight.values.size(); ++i) {
    values.push_back(float_to_bfloat16(weight.values[i]));
    if (bfloat16_to_float(values.back()) != weight.values[i])
      return Error{Code::kUnsupported, fmt::format("{}: value {} is {}, which is no BF16; lossless-bf16 needs a BF16 model (convert --format bf16 rounds)", weight.module, i, weight.values[i])};
  }
  return huggingface::pack_lossless(weight.rows, weight.columns, values);
}

}  // namespace quantfleet
