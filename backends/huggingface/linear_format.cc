#include "backends/huggingface/linear_format.h"

#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "backends/formats/row_int8.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace quantfleet::huggingface {
namespace {

// 1 sign, `exponent` and `mantissa` bits, as IEEE 754 except for what `has_infinity` says.
float small_float(std::uint32_t bits, int exponent, int mantissa, bool has_infinity) {
  const std::uint32_t e = (bits >> mantissa) & ((1u << exponent) - 1), m = bits & ((1u << mantissa) - 1);
  const int bias = (1 << (exponent - 1)) - 1;
  const bool top = e == (1u << exponent) - 1;
  float value = e == 0 ? std::ldexp(static_cast<float>(m), 1 - bias - mantissa)
                       : std::ldexp(static_cast<float>(m | 1u << mantissa), static_cast<int>(e) - bias - mantissa);
  if (has_infinity && top) value = m == 0 ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  if (!has_infinity && top && m == (1u << mantissa) - 1) value = std::numeric_limits<float>::quiet_NaN();
  return bits >> (exponent + mantissa) & 1 ? -value : value;
}

std::array<float, 256> all_small_floats(int exponent, int mantissa, bool has_infinity) {
  std::array<float, 256> numbers;
  for (std::uint32_t bits = 0; bits < numbers.size(); ++bits) numbers[bits] = small_float(bits, exponent, mantissa, has_infinity);
  return numbers;
}

template <class T>
T number_at(const SafetensorsArray& array, std::int64_t index) {
  T value;
  std::memcpy(&value, array.bytes.data() + index * static_cast<std::int64_t>(sizeof value), sizeof value);
  return value;
}

}  // namespace

std::span<const LinearFormat* const> all_linear_formats() {
  static constexpr std::array kFormats = {&kGptq, &kAwq, &kBitsandbytes, &kCompressedTensors, &kFp8, &kExl2, &kHqq, &kBitnet, &kSparse, &kLossless};
  return kFormats;
}

const SafetensorsArray* ModuleArrays::find(std::string_view suffix) const {
  const auto found = arrays.find(suffix);
  return found == arrays.end() ? nullptr : found->second;
}

Error ModuleArrays::bad(Code code, std::string sentence) const { return {code, fmt::format("{}: {}", name, sentence)}; }

Result<const SafetensorsArray*> ModuleArrays::get(std::string_view suffix, std::string_view dtypes, std::initializer_list<std::int64_t> shape) const {
  const SafetensorsArray* array = find(suffix);
  if (!array) return bad(Code::kNotFound, fmt::format("array {}.{} is missing", name, suffix));
  const std::string spaced = " " + std::string(dtypes) + " ";
  if (spaced.find(" " + array->dtype + " ") == std::string::npos)
    return bad(Code::kBadValue, fmt::format("array {}.{} is of {}; expected {}", name, suffix, array->dtype, dtypes));
  std::string given, wanted;
  bool same = array->shape.size() == shape.size();
  std::size_t i = 0;
  for (const std::int64_t size : shape) {
    if (same && size >= 0 && array->shape[i] != size) same = false;
    ++i;
    wanted += (wanted.empty() ? "" : ", ") + (size < 0 ? std::string("any") : std::to_string(size));
  }
  for (const std::int64_t size : array->shape) given += (given.empty() ? "" : ", ") + std::to_string(size);
  if (!same) return bad(Code::kBadShape, fmt::format("array {}.{} has shape [{}]; [{}] is needed", name, suffix, given, wanted));
  return array;
}

const BlockFormat* LinearWeight::format() const { return grouped_ ? &grouped_->block : &kF32; }

void LinearWeight::keep_codes(GroupedRows rows) {
  rows.columns = columns_;
  if (columns_ <= kGroupedRowsMaxColumns && rows.groups <= 65536) grouped_ = as_grouped_rows(*grouped_rows_format(rows));
}

void LinearWeight::codes(std::int64_t, std::uint8_t*, float*, float*) const {}

void LinearWeight::store(std::int64_t row, std::byte* blocks) const {
  if (grouped_) {
    std::vector<std::uint8_t> codes_of_row(static_cast<std::size_t>(columns_));
    std::vector<float> scales(static_cast<std::size_t>(grouped_->rows.groups)), zeros(scales.size());
    codes(row, codes_of_row.data(), scales.data(), zeros.data());
    store_grouped_row(*grouped_, codes_of_row.data(), scales.data(), zeros.data(), blocks);
    return;
  }
  std::vector<float> values(static_cast<std::size_t>(columns_));
  decode(row, values.data());
  std::memcpy(blocks, values.data(), values.size() * sizeof(float));
}

void store_row_int8(const std::int8_t* codes, std::int64_t columns, float scale, std::byte* block) {
  const auto width = static_cast<std::int32_t>(columns);
  std::memcpy(block, &width, 4);
  std::memcpy(block + 4, &scale, 4);
  std::memcpy(block + kRowInt8HeaderBytes, codes, static_cast<std::size_t>(columns));
}

StoredArray stored_halves(std::string suffix, std::vector<std::int64_t> shape, std::span<const float> values) {
  std::vector<std::uint16_t> halves;
  halves.reserve(values.size());
  for (const float value : values) halves.push_back(float_to_half(value));
  return stored_array(std::move(suffix), "F16", std::move(shape), halves);
}

void floats_at(const SafetensorsArray& array, std::int64_t first, std::span<float> values) {
  static const std::array<float, 256> kE4m3 = all_small_floats(4, 3, false), kE5m2 = all_small_floats(5, 2, true);
  const auto fill = [&](auto number) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = number(first + static_cast<std::int64_t>(i));
  };
  if (array.dtype == "F32") return fill([&](std::int64_t i) { return number_at<float>(array, i); });
  if (array.dtype == "F16") return fill([&](std::int64_t i) { return half_to_float(number_at<std::uint16_t>(array, i)); });
  if (array.dtype == "BF16") return fill([&](std::int64_t i) { return std::bit_cast<float>(static_cast<std::uint32_t>(number_at<std::uint16_t>(array, i)) << 16); });
  if (array.dtype == "F8_E4M3") return fill([&](std::int64_t i) { return kE4m3[number_at<std::uint8_t>(array, i)]; });
  if (array.dtype == "F8_E5M2") return fill([&](std::int64_t i) { return kE5m2[number_at<std::uint8_t>(array, i)]; });
  std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
}

float float_at(const SafetensorsArray& array, std::int64_t index) {
  float value = 0;
  floats_at(array, index, {&value, 1});
  return value;
}

std::uint32_t word_at(const SafetensorsArray& array, std::int64_t index) { return number_at<std::uint32_t>(array, index); }

Status check_finite(const SafetensorsArray& array) {
  std::array<float, 4096> piece;
  const std::int64_t count = array.count_values();
  for (std::int64_t first = 0; first < count; first += std::ssize(piece)) {
    const std::span values(piece.data(), static_cast<std::size_t>(std::min(std::ssize(piece), count - first)));
    floats_at(array, first, values);
    const auto bad = std::find_if_not(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
    if (bad != values.end()) return Error{Code::kNonFinite, fmt::format("array {}: value {} is not a finite number", array.name, first + (bad - values.begin()))};
  }
  return {};
}

}  // namespace quantfleet::huggingface
