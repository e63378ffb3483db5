// Codes under group scales: every family gives the bits of the decoded matrix times F32 activations, for every width of a code,
// kind of number, group and shape; in about the size of the codes.
#include "backends/formats/grouped_rows.h"
#include "backends/formats/half_float.h"
#include "backends/kernels/kernels.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

using namespace quantfleet;

namespace {

struct Matrix {
  const BlockFormat* format;
  std::int64_t rows;
  std::vector<std::byte> bytes;

  Matrix(const GroupedRows& layout, std::int64_t count_rows, unsigned seed, float scale_size = 0.01f) : format(grouped_rows_format(layout)), rows(count_rows) {
    std::mt19937 random(seed);
    const auto number = [&](float size) {
      const float value = (static_cast<float>(random() >> 8) * 0x1p-23f - 1) * size;
      if (layout.kept == GroupNumbers::kE4m3) return std::ldexp(static_cast<float>(8 + random() % 8), static_cast<int>(random() % 13) - 9) * (random() % 2 ? 1.0f : -1.0f);
      return layout.kept == GroupNumbers::kHalves ? half_to_float(float_to_half(value)) : value;
    };
    const auto width = [&](std::size_t k) { return layout.bits_of.empty() ? layout.bits : static_cast<int>(layout.bits_of[k]); };
    bytes.resize(static_cast<std::size_t>(rows * format->bytes_per_block));
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(layout.columns));
    std::vector<float> scales(static_cast<std::size_t>(layout.groups)), zeros(scales.size());
    const bool fp8 = layout.numbers == CodeNumbers::kE4m3 || layout.numbers == CodeNumbers::kE5m2;
    for (std::int64_t n = 0; n < rows; ++n) {
      for (std::size_t k = 0; k < codes.size(); ++k) {
        codes[k] = static_cast<std::uint8_t>(random() & ((1u << width(k)) - 1));
        if (fp8 && (codes[k] & 0x7c) == 0x7c) codes[k] = 1;  // infinities and NaN are refused before
      }
      for (auto& scale : scales) scale = number(scale_size);
      for (std::size_t g = 0; g < zeros.size(); ++g)  // codes, other integers, fractions, integers too large to be added to anything
        zeros[g] = g % 4 == 0 ? static_cast<float>(random() % 16) : g % 4 == 1 ? std::nearbyint(number(300)) : g % 4 == 2 ? number(8) : std::nearbyint(number(layout.kept == GroupNumbers::kHalves ? 3e4f : 1.6e7f));
      store_grouped_row(*as_grouped_rows(*format), codes.data(), scales.data(), zeros.data(), bytes.data() + n * format->bytes_per_block);
    }
  }
};

void compare(const GroupedRows& layout, std::int64_t rows, std::int64_t tokens, float scale_size = 0.01f) {
  CAPTURE(static_cast<int>(layout.numbers), layout.bits, layout.columns, layout.group_size, layout.zeros, static_cast<int>(layout.kept), rows, tokens, scale_size);
  const Matrix matrix(layout, rows, 5, scale_size);
  std::vector<float> decoded(static_cast<std::size_t>(rows * layout.columns)), x, wanted(static_cast<std::size_t>(rows * tokens));
  matrix.format->decode(matrix.bytes.data(), rows, decoded.data());
  std::mt19937 random(9);
  for (std::int64_t i = 0; i < tokens * layout.columns; ++i) x.push_back(static_cast<float>(random() >> 8) * 0x1p-23f - 1);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t n = 0; n < rows; ++n) {
      float sum = 0;
      for (std::int64_t k = 0; k < layout.columns; ++k) sum = std::fma(decoded[static_cast<std::size_t>(n * layout.columns + k)], x[static_cast<std::size_t>(t * layout.columns + k)], sum);
      wanted[static_cast<std::size_t>(t * rows + n)] = sum;
    }
  for (const KernelFamily* family : available_kernels()) {
    CAPTURE(family->name);
    ThreadPool pool(tokens % 2 ? 1 : 3);
    const WeightMatrix w = *WeightMatrix::pack(*family, *matrix.format, matrix.bytes, rows, layout.columns, pool);
    CHECK(w.size_bytes() >= WeightMatrix::packed_bytes(*family, *matrix.format, rows, layout.columns));
    std::vector<float> y(wanted.size(), -1);
    MatmulScratch scratch;
    matmul(w, x.data(), tokens, layout.columns, ActivationKind::kF32, y.data(), rows, pool, scratch);
    REQUIRE(std::memcmp(y.data(), wanted.data(), 4 * y.size()) == 0);
  }
}

GroupedRows layout_of(CodeNumbers numbers, int bits, std::int64_t columns, std::int64_t group_size, bool zeros, GroupNumbers kept) {
  GroupedRows layout;
  layout.numbers = numbers;
  layout.bits = bits;
  layout.columns = columns;
  layout.group_size = group_size;
  layout.groups = (columns + group_size - 1) / group_size;
  layout.zeros = zeros;
  layout.kept = kept;
  layout.offset = numbers == CodeNumbers::kIntegers && !zeros ? 1 << (bits - 1) : 0;
  for (int i = 0; i < 16; ++i) layout.table[static_cast<std::size_t>(i)] = std::sin(static_cast<float>(i)) - (i == 3 ? 0.0f : 0.1f);
  return layout;
}

TEST_CASE("codes of every width are multiplied as their decoded values, by every family, for all shapes", "[kernels][grouped]") {
  for (int bits = 1; bits <= 8; ++bits)
    for (const auto& [zeros, kept] : {std::pair(false, GroupNumbers::kFloats), std::pair(true, GroupNumbers::kHalves), std::pair(true, GroupNumbers::kFloats)})
      for (const auto& [rows, columns, group] : {std::tuple(1, 1, 1), std::tuple(19, 64, 32), std::tuple(33, 203, 29), std::tuple(80, 1100, 64), std::tuple(70, 1104, 64)})
        for (const std::int64_t tokens : {1, 5, 20}) compare(layout_of(CodeNumbers::kIntegers, bits, columns, group, zeros, kept), rows, tokens);
}

TEST_CASE("tables and FP8 numbers are multiplied as their decoded values, whatever their scales", "[kernels][grouped]") {
  for (const auto& [numbers, bits] : {std::pair(CodeNumbers::kTable, 4), std::pair(CodeNumbers::kTable, 1), std::pair(CodeNumbers::kE4m3, 8), std::pair(CodeNumbers::kE5m2, 8)})
    for (const std::int64_t group : {64, 640})
      for (const std::int64_t tokens : {1, 3, 33})
        for (const float size : {0.01f, 300.0f, 1e6f}) compare(layout_of(numbers, bits, 640, group, false, GroupNumbers::kFloats), 50, tokens, size);
}

TEST_CASE("groups may be any columns (act-order)", "[kernels][grouped]") {
  for (const int bits : {2, 3, 4, 5, 6, 8})
    for (const bool zeros : {false, true})
      for (const GroupNumbers kept : {GroupNumbers::kFloats, GroupNumbers::kHalves})
        for (const auto& [rows, columns] : {std::pair(40, 600), std::pair(120, 96), std::pair(17, 77)}) {
          GroupedRows layout = layout_of(CodeNumbers::kIntegers, bits, columns, 100, zeros, kept);
          layout.groups = 6;
          for (std::int64_t k = 0; k < columns; ++k) layout.group_of.push_back(static_cast<std::uint16_t>(k * 7 % 6));
          for (const std::int64_t tokens : {1, 12}) compare(layout, rows, tokens);
        }
}

TEST_CASE("scales may be E4M3 numbers under a divisor (NVFP4)", "[kernels][grouped]") {
  for (const auto& [rows, columns] : {std::pair(19, 64), std::pair(40, 1040)})
    for (const float divisor : {1.0f, 1379.5f})
      for (const std::int64_t tokens : {1, 12}) {
        GroupedRows layout = layout_of(CodeNumbers::kTable, 4, columns, 16, false, GroupNumbers::kE4m3);
        layout.divisor = divisor;
        compare(layout, rows, tokens);
        const std::size_t bytes = WeightMatrix::packed_bytes(**find_kernels("scalar"), *grouped_rows_format(layout), 64, columns);
        const auto codes_and_scales = static_cast<std::size_t>(64 * columns * 9 / 16);
        CHECK(bytes >= codes_and_scales);
        CHECK(bytes < codes_and_scales + 4 * 64);  // each panel of 16 rows begins on a cache line
      }
}

TEST_CASE("codes may have another width in each column (EXL2): in memory hardly more bits than they have", "[kernels][grouped]") {
  for (const auto& [rows, columns] : {std::pair(19, 61), std::pair(33, 1100), std::pair(80, 512), std::pair(70, 1128)})
    for (const bool zeros : {false, true})
      for (const std::int64_t tokens : {1, 12}) {
        GroupedRows layout = layout_of(CodeNumbers::kIntegers, 4, columns, columns, zeros, GroupNumbers::kHalves);
        layout.groups = 7;
        for (int k = 0; k < columns; ++k) {
          layout.group_of.push_back(static_cast<std::uint16_t>(k * 5 % 7));
          layout.bits_of.push_back(static_cast<std::uint8_t>("\2\3\4\5\6\7\10"[k * 5 % 7]));
        }
        compare(layout, rows, tokens);
      }
  for (const auto& [usual, rare, more] : {std::tuple(4, 6, 0.05), std::tuple(5, 4, 0.05), std::tuple(3, 2, 0.05), std::tuple(6, 8, 0.05), std::tuple(6, 5, 0.2), std::tuple(5, 5, 0.4), std::tuple(8, 8, 0.05)}) {
    CAPTURE(usual, rare);
    GroupedRows layout = layout_of(CodeNumbers::kIntegers, 4, 4096, 4096, false, GroupNumbers::kHalves);
    layout.groups = 2;
    for (int k = 0; k < 4096; ++k) {
      const bool of_rare = (k * 2654435761u >> 16) % 2 == 0;
      layout.group_of.push_back(of_rare);
      layout.bits_of.push_back(static_cast<std::uint8_t>(of_rare ? rare : usual));
    }
    const double bits = 8.0 * static_cast<double>(WeightMatrix::packed_bytes(**find_kernels("scalar"), *grouped_rows_format(layout), 64, 4096)) / (64 * 4096);
    const double codes = std::accumulate(layout.bits_of.begin(), layout.bits_of.end(), 0.0) / 4096;
    CHECK(bits < codes + more);
  }
}

TEST_CASE("a packed matrix takes its codes and its groups' numbers; equal descriptions are one format", "[kernels][grouped]") {
  const GroupedRows layout = layout_of(CodeNumbers::kIntegers, 4, 4096, 128, true, GroupNumbers::kHalves);
  CHECK(grouped_rows_format(layout) == grouped_rows_format(layout));
  const std::size_t bytes = WeightMatrix::packed_bytes(**find_kernels("scalar"), *grouped_rows_format(layout), 64, 4096);
  CHECK(bytes == 64 * (4096 / 2 + 4096 / 128 * 4));
}

TEST_CASE("a scale that is not finite, or too large, names its row", "[kernels][grouped]") {
  const GroupedRows layout = layout_of(CodeNumbers::kIntegers, 4, 64, 32, false, GroupNumbers::kFloats);
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), 1e35f}) {
    Matrix matrix(layout, 24, 1);
    std::memcpy(matrix.bytes.data() + 21 * matrix.format->bytes_per_block + 8 + 4, &bad, 4);
    ThreadPool pool(2);
    CHECK(WeightMatrix::pack(**find_kernels(""), *matrix.format, matrix.bytes, 24, 64, pool).error().detail.find("row 21") != std::string::npos);
  }
}

}  // namespace
