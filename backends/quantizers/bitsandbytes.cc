// bitsandbytes: NF4 and FP4 (Dettmers et al. 2023) over blocks of consecutive values, their scales as floats or in 8 bits of a
// dynamic map; LLM.int8 rows (Dettmers et al. 2022). Codes are the nearest entries of the table, found by midpoints; x / absmax
// is taken as x * (1 / absmax).
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/scale_search_lanes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace quantfleet {
namespace {

using huggingface::Json, huggingface::StoredArray, huggingface::stored_array;

constexpr std::int64_t kNestedBlock = 256;

constexpr std::array<float, 16> kNf4 = {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
                                        -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
                                        0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};
constexpr std::array<float, 16> kFp4 = {0.0f,         0.0625f / 12, 8.0f / 12,  1.0f,  4.0f / 12,  6.0f / 12,  2.0f / 12,  3.0f / 12,
                                        0.0f,         -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12};
constexpr std::array<std::uint8_t, 16> kNf4Ascending = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr std::array<std::uint8_t, 16> kFp4Ascending = {11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3};  // both zeros: 0, 8

// Entries in ascending order: their midpoints, and the codes of two neighbours in a byte by their places (the first one's in the high half).
struct Table4 {
  std::array<float, 15> edges{};
  std::array<std::uint8_t, 256> codes{};
  Table4(const std::array<float, 16>& table, const std::array<std::uint8_t, 16>& ascending) {
    for (std::size_t i = 0; i < 15; ++i) edges[i] = (table[ascending[i]] + table[ascending[i + 1]]) / 2;
    for (std::size_t i = 0; i < 256; ++i) codes[i] = static_cast<std::uint8_t>(ascending[i / 16] << 4 | ascending[i % 16]);
  }
};

Json config_4bit(const char* type, bool nested) {
  return {{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}, {"load_in_8bit", false}, {"bnb_4bit_quant_type", type}, {"bnb_4bit_use_double_quant", nested},
          {"bnb_4bit_compute_dtype", "bfloat16"}, {"bnb_4bit_quant_storage", "uint8"}, {"llm_int8_threshold", 6.0}, {"llm_int8_skip_modules", {"lm_head"}}};
}

// Scales in 8 bits: the mean is taken off, blocks of 256 share a scale, codes are the nearest values of the map.
struct Nested {
  std::vector<std::uint8_t> codes;
  std::vector<float> map, scales;
  float offset = 0;
};

Nested nest(const std::vector<float>& absmax) {
  Nested nested;
  double sum = 0;
  for (const float value : absmax) sum += value;
  nested.offset = static_cast<float>(sum / static_cast<double>(absmax.size()));
  nested.map = dynamic_map();
  std::array<float, 255> middle{};
  for (std::size_t i = 0; i < 255; ++i) middle[i] = (nested.map[i] + nested.map[i + 1]) / 2;
  for (std::size_t begin = 0; begin < absmax.size(); begin += kNestedBlock) {
    const std::size_t end = std::min(absmax.size(), begin + kNestedBlock);
    float largest = 0;
    for (std::size_t i = begin; i < end; ++i) largest = std::max(largest, std::fabs(absmax[i] - nested.offset));
    const float inverse = 1.0f / std::max(largest, 1e-38f);
    for (std::size_t i = begin; i < end; ++i) {
      const float x = std::clamp((absmax[i] - nested.offset) * inverse, -1.0f, 1.0f);
      nested.codes.push_back(static_cast<std::uint8_t>(std::lower_bound(middle.begin(), middle.end(), x) - middle.begin()));
    }
    nested.scales.push_back(largest);
  }
  return nested;
}

Result<std::vector<StoredArray>> quantize_4bit(const LinearInput& weight, std::int64_t block, ThreadPool& pool, bool nf4, bool nested) {
  if (block < 32 || block > 4096 || (block & (block - 1)) != 0)
    return Error{Code::kBadValue, fmt::format("{}: a block of {} values; bitsandbytes has powers of two from 32 to 4096", weight.module, block)};
  const auto count = static_cast<std::int64_t>(weight.values.size()), blocks = (count + block - 1) / block;
  std::vector<std::uint8_t> packed(static_cast<std::size_t>((count + 1) / 2));
  std::vector<float> absmax(static_cast<std::size_t>(blocks));
  const Table4 table4(nf4 ? kNf4 : kFp4, nf4 ? kNf4Ascending : kFp4Ascending);
  pool.parallel_for(blocks, 256, [&](std::int64_t begin, std::int64_t end, int) {
    std::array<std::uint8_t, 4097> places{};
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t first = b * block, here = std::min(block, count - first);
      absmax[static_cast<std::size_t>(b)] = places_in_table(weight.values.data() + first, static_cast<int>(here), table4.edges.data(), places.data());
      places[static_cast<std::size_t>(here)] = 0;
      std::uint8_t* bytes = packed.data() + first / 2;
      for (std::size_t i = 0; i < static_cast<std::size_t>(here); i += 2) bytes[i / 2] = table4.codes[static_cast<std::size_t>(places[i] << 4 | places[i + 1])];
      if (here % 2 != 0) bytes[here / 2] &= 0xf0;
    }
  });
  const char* type = nf4 ? "nf4" : "fp4";
  std::string state = fmt::format(R"({{"quant_type": "{}", "blocksize": {}, "dtype": "bfloat16", "shape": [{}, {}])", type, block, weight.rows, weight.columns);
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight", "U8", {(count + 1) / 2, 1}, packed));
  const auto& table = nf4 ? kNf4 : kFp4;
  arrays.push_back(stored_array("weight.quant_map", "F32", {16}, std::vector<float>(table.begin(), table.end())));
  if (nested) {
    const Nested scales = nest(absmax);
    arrays.push_back(stored_array("weight.absmax", "U8", {blocks}, scales.codes));
    arrays.push_back(stored_array("weight.nested_absmax", "F32", {static_cast<std::int64_t>(scales.scales.size())}, scales.scales));
    arrays.push_back(stored_array("weight.nested_quant_map", "F32", {256}, scales.map));
    state += fmt::format(R"(, "nested_blocksize": {}, "nested_dtype": "float32", "nested_offset": {})", kNestedBlock, static_cast<double>(scales.offset));
  } else {
    arrays.push_back(stored_array("weight.absmax", "F32", {blocks}, absmax));
  }
  state += "}";
  const auto length = static_cast<std::int64_t>(state.size());
  arrays.push_back(stored_array(fmt::format("weight.quant_state.bitsandbytes__{}", type), "U8", {length}, std::vector<char>(state.begin(), state.end())));
  return arrays;
}

}  // namespace

std::vector<float> dynamic_map() {
  std::vector<float> map = {0.0f, 1.0f};
  for (int i = 0; i < 7; ++i) {
    // The middles of 2^i equal steps from 0.1 to 1; the steps' ends are counted from the nearer end, with one rounding, as torch does.
    const int steps = (1 << i) + 1;
    const float step = (1.0f - 0.1f) / static_cast<float>(steps - 1);
    std::vector<float> ends;
    for (int j = 0; j < steps; ++j) ends.push_back(j < steps / 2 ? __builtin_fmaf(step, static_cast<float>(j), 0.1f) : __builtin_fmaf(-step, static_cast<float>(steps - 1 - j), 1.0f));
    constexpr double kPowers[] = {1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0};
    for (int j = 0; j + 1 < steps; ++j) {
      const float mean = (ends[static_cast<std::size_t>(j)] + ends[static_cast<std::size_t>(j) + 1]) / 2;
      const float value = static_cast<float>(kPowers[i]) * mean;
      map.push_back(value);
      map.push_back(-value);
    }
  }
  std::sort(map.begin(), map.end());
  return map;
}

Json config_nf4(std::int64_t) { return config_4bit("nf4", false); }
Json config_nf4_nested(std::int64_t) { return config_4bit("nf4", true); }
Json config_fp4(std::int64_t) { return config_4bit("fp4", false); }
Json config_fp4_nested(std::int64_t) { return config_4bit("fp4", true); }
Json config_llm_int8(std::int64_t) {
  return {{"quant_method", "bitsandbytes"}, {"load_in_4bit", false}, {"load_in_8bit", true}, {"llm_int8_threshold", 6.0}, {"llm_int8_skip_modules", {"lm_head"}}};
}

Result<std::vector<StoredArray>> quantize_nf4(const LinearInput& weight, std::int64_t block, ThreadPool& pool) { return quantize_4bit(weight, block, pool, true, false); }
Result<std::vector<StoredArray>> quantize_nf4_nested(const LinearInput& weight, std::int64_t block, ThreadPool& pool) { return quantize_4bit(weight, block, pool, true, true); }
Result<std::vector<StoredArray>> quantize_fp4(const LinearInput& weight, std::int64_t block, ThreadPool& pool) { return quantize_4bit(weight, block, pool, false, false); }
Result<std::vector<StoredArray>> quantize_fp4_nested(const LinearInput& weight, std::int64_t block, ThreadPool& pool) { return quantize_4bit(weight, block, pool, false, true); }

Result<std::vector<StoredArray>> quantize_llm_int8(const LinearInput& weight, std::int64_t, ThreadPool& pool) {
  std::vector<std::int8_t> codes(weight.values.size());
  std::vector<float> absmax(static_cast<std::size_t>(weight.rows));
  pool.parallel_for(weight.rows, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t n = begin; n < end; ++n) {
      const float* row = weight.row(n);
      float largest = 0;
      for (std::int64_t k = 0; k < weight.columns; ++k) largest = std::max(largest, std::fabs(row[k]));
      absmax[static_cast<std::size_t>(n)] = largest;
      const float inverse = largest > 1e-36f ? 127.0f * (1.0f / largest) : 0.0f;  // both rounded, as torch's 127 / absmax
      for (std::int64_t k = 0; k < weight.columns; ++k) codes[static_cast<std::size_t>(n * weight.columns + k)] = static_cast<std::int8_t>(__builtin_rintf(row[k] * inverse));
    }
  });
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight", "I8", {weight.rows, weight.columns}, codes));
  arrays.push_back(stored_array("SCB", "F32", {weight.rows}, absmax));
  arrays.push_back(stored_array("weight_format", "U8", {}, std::vector<std::uint8_t>{0}));
  return arrays;
}

}  // namespace quantfleet
