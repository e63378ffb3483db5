// The promise of docs/numerics.md: every family gives the scalar kernels' bits, for every number of threads, tokens at once
// and companions. Families which this CPU lacks are named and skipped.
#include "backends/kernels/kernels.h"

#include "backends/kernels/cpu/integer_formats.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace quantfleet;

namespace {

const KernelFamily& scalar() { return **find_kernels("scalar"); }

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::vector<float> random_floats(std::size_t count, unsigned seed, float size = 1.0f) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& v : values) v = size * (static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f);
  return values;
}

// A half between about -0.25 and 0.25, as bytes; tiny and zero now and then.
void put_half(std::byte* p, std::mt19937& random) {
  std::uint16_t bits = static_cast<std::uint16_t>((random() & 0x83ff) | ((random() % 13) << 10));
  if (random() % 16 == 0) bits = 0;
  std::memcpy(p, &bits, 2);
}

// Gives a quantized block finite scales; all else stays.
void put_scales(const BlockFormat& format, std::byte* block, std::mt19937& random) {
  const std::string_view name = format.name;
  if (name == "MXFP4") {
    block[0] = static_cast<std::byte>(110 + random() % 16);
  } else if (name == "NVFP4") {
    for (int s = 0; s < 4; ++s) block[s] = static_cast<std::byte>(random() % 0x40);
  } else if (name == "IQ1_M") {  // d is the top nibbles of the four words of scales
    std::uint16_t d;
    put_half(reinterpret_cast<std::byte*>(&d), random);
    for (int word = 0; word < 4; ++word) {
      std::byte& high = block[48 + 2 * word + 1];
      high = (high & std::byte{0x0f}) | static_cast<std::byte>((d >> (4 * word) & 15) << 4);
    }
  } else {
    const bool at_the_end = name == "Q3_K" || name == "Q6_K" || name == "TQ1_0" || name == "TQ2_0";
    put_half(block + (name == "Q2_K" ? 80 : at_the_end ? format.bytes_per_block - 2 : 0), random);
    if (name == "Q2_K") put_half(block + 82, random);
    if (name == "Q4_1" || name == "Q5_1" || name == "Q4_K" || name == "Q5_K") put_half(block + 2, random);
  }
}

// Random blocks of a format with finite scales.
std::vector<std::byte> random_rows(const BlockFormat& format, std::int64_t rows, std::int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  const std::int64_t row_bytes = format.row_bytes(columns);
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows * row_bytes));
  if (format.name == "F32" || format.name == "F16" || format.name == "BF16") {
    for (std::size_t i = 0; i < bytes.size(); i += static_cast<std::size_t>(format.bytes_per_block)) {
      if (format.name == "F16") put_half(&bytes[i], random);
      else {
        const float value = (static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f) * 0.1f;
        std::uint32_t bits;
        std::memcpy(&bits, &value, 4);
        if (format.name == "BF16") bits >>= 16;
        std::memcpy(&bytes[i], &bits, static_cast<std::size_t>(format.bytes_per_block));
      }
    }
    return bytes;
  }
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  for (std::size_t i = 0; i < bytes.size(); i += static_cast<std::size_t>(format.bytes_per_block)) put_scales(format, &bytes[i], random);
  return bytes;
}

// The codes of the largest magnitude everywhere.
std::vector<std::byte> extreme_rows(const BlockFormat& format, std::int64_t rows, std::int64_t columns, std::byte fill) {
  if (format.bytes_per_block <= 4) return random_rows(format, rows, columns, 5);
  std::mt19937 random(5);
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows * format.row_bytes(columns)), fill);
  for (std::size_t i = 0; i < bytes.size(); i += static_cast<std::size_t>(format.bytes_per_block)) put_scales(format, &bytes[i], random);
  return bytes;
}

std::vector<float> multiply(const WeightMatrix& w, const std::vector<float>& x, std::int64_t tokens, ActivationKind kind, ThreadPool& pool) {
  std::vector<float> y(static_cast<std::size_t>(tokens * w.rows()), -1.0f);
  MatmulScratch scratch;
  matmul(w, x.data(), tokens, w.columns(), kind, y.data(), w.rows(), pool, scratch);
  return y;
}

std::vector<float> multiply(const KernelFamily& family, const BlockFormat& format, std::span<const std::byte> bytes, std::int64_t rows,
                            std::int64_t columns, const std::vector<float>& x, std::int64_t tokens, ActivationKind kind, ThreadPool& pool) {
  return multiply(*WeightMatrix::pack(family, format, bytes, rows, columns, pool), x, tokens, kind, pool);
}

// Those of this architecture; what the CPU lacks is said.
std::vector<const KernelFamily*> vector_families() {
#if defined(__x86_64__)
  constexpr const char* kNames[] = {"avx512_vnni", "avx2"};
#elif defined(__aarch64__)
  constexpr const char* kNames[] = {"neon_dotprod", "neon"};
#endif
  std::vector<const KernelFamily*> families;
  for (const char* name : kNames) {
    const auto family = find_kernels(name);
    if (family) families.push_back(*family);
    else WARN("skipped: " << name << ": " << family.error().detail);
  }
  return families;
}

}  // namespace

TEST_CASE("kernels are found by name, best first, scalar last", "[kernels]") {
  REQUIRE_FALSE(available_kernels().empty());
  CHECK(available_kernels().back()->name == "scalar");
  CHECK(*find_kernels("") == available_kernels().front());
  CHECK(find_kernels("sse9").error().code == Code::kUnknownName);
  WARN("kernels in use: " << available_kernels().front()->name);
}

TEST_CASE("codes, sub-scales and minima of a block give exactly the floats of its format", "[kernels]") {
  for (const BlockFormat* format : all_formats()) {
    const IntegerFormat* integers = find_integer_format(format->ggml_type);
    if (!integers) continue;
    CAPTURE(format->name);
    REQUIRE(integers->block == format->values_per_block);
    REQUIRE(integers->bytes == format->bytes_per_block);
    REQUIRE(integers->block == format->activation_block);
    const auto bytes = random_rows(*format, 20, format->values_per_block, 7);
    for (int i = 0; i < 20; ++i) {
      const std::byte* block = bytes.data() + i * format->bytes_per_block;
      std::vector<float> values(static_cast<std::size_t>(format->values_per_block)), rebuilt;
      format->decode(block, 1, values.data());
      CodeBlock codes{};
      integers->read(reinterpret_cast<const unsigned char*>(block), codes);
      for (int k = 0; k < integers->block; ++k) {
        const int j = k / integers->sub_block;
        float value = (integers->has_scales ? codes.d * float(codes.scales[j]) : codes.d) * float(codes.codes[k]);
        if (integers->min_sign > 0) value = value + codes.m;
        if (integers->min_sign < 0) value = value - codes.m * float(codes.mins[j]);
        rebuilt.push_back(value);
      }
      CHECK(rebuilt == values);
    }
  }
}

TEST_CASE("the scalar product with f32 activations is one fma chain over ascending k", "[kernels]") {
  ThreadPool pool(1);
  const BlockFormat* format = GENERATE(find_format("Q4_K"), find_format("Q8_0"), find_format("F16"), find_format("NVFP4"), find_format("Q1_0"), find_format("Q2_0"));
  CAPTURE(format->name);
  const std::int64_t rows = 3, columns = 512, tokens = 2;
  const auto bytes = random_rows(*format, rows, columns, 3);
  const auto x = random_floats(std::size_t(tokens * columns), 4);
  const auto y = multiply(scalar(), *format, bytes, rows, columns, x, tokens, ActivationKind::kF32, pool);
  std::vector<float> values(std::size_t(rows * columns));
  format->decode(bytes.data(), rows * columns / format->values_per_block, values.data());
  for (int t = 0; t < tokens; ++t)
    for (int n = 0; n < rows; ++n) {
      float acc = 0;
      for (int k = 0; k < columns; ++k) acc = std::fma(values[std::size_t(n * columns + k)], x[std::size_t(t * columns + k)], acc);
      CHECK(y[std::size_t(t * rows + n)] == acc);
    }
}

TEST_CASE("a format that the kernels do not know is multiplied as it decodes", "[kernels]") {
  static const BlockFormat thirds = {"THIRDS", 0x7fff0000, 4, 4, 0, [](const std::byte* blocks, std::int64_t count_blocks, float* values) {
    for (std::int64_t i = 0; i < 4 * count_blocks; ++i) values[i] = static_cast<float>(blocks[i]) / 3;
  }};
  ThreadPool three(3);
  const std::int64_t rows = 37, columns = 132, tokens = 19;
  std::mt19937 random(8);
  std::vector<std::byte> bytes(std::size_t(rows * columns));
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  std::vector<float> values(bytes.size());
  thirds.decode(bytes.data(), rows * columns / 4, values.data());
  const auto x = random_floats(std::size_t(tokens * columns), 9);
  const auto* floats = reinterpret_cast<const std::byte*>(values.data());
  for (const KernelFamily* family : available_kernels()) {
    CAPTURE(family->name);
    CHECK(multiply(*family, thirds, bytes, rows, columns, x, tokens, ActivationKind::kF32, three) ==
          multiply(scalar(), *find_format("F32"), {floats, 4 * values.size()}, rows, columns, x, tokens, ActivationKind::kF32, three));
  }
}

TEST_CASE("int8 activations stay near f32 activations: only the rounding of activations differs", "[kernels]") {
  ThreadPool pool(1);
  for (const BlockFormat* format : all_formats()) {
    if (!has_int8_activations(*format)) continue;
    CAPTURE(format->name);
    const auto bytes = random_rows(*format, 5, 1024, 11);
    const auto x = random_floats(1024, 12);
    const auto exact = multiply(scalar(), *format, bytes, 5, 1024, x, 1, ActivationKind::kF32, pool);
    const auto rounded = multiply(scalar(), *format, bytes, 5, 1024, x, 1, ActivationKind::kInt8, pool);
    std::vector<float> values(5 * 1024);
    format->decode(bytes.data(), 5 * 1024 / format->values_per_block, values.data());
    for (std::size_t n = 0; n < 5; ++n) {
      double magnitude = 0;
      for (std::size_t k = 0; k < 1024; ++k) magnitude += std::abs(values[n * 1024 + k]);
      CHECK(std::abs(exact[n] - rounded[n]) <= magnitude * 0.5 / 127 * 1.01 + 1e-5);  // half a step of the largest activation, 1
    }
  }
}

TEST_CASE("every family quantizes activations to the scalar kernels' codes, scales and sums, zeros and NaN included", "[kernels]") {
  struct Blocks {
    int block, sub_block;
    bool bad;
  };
  for (const KernelFamily* family : available_kernels()) {
    for (const Blocks& blocks : {Blocks{32, 32, false}, Blocks{32, 32, true}, Blocks{256, 16, false}, Blocks{256, 16, true},
                                 Blocks{256, 32, true}, Blocks{2304, 2304, false}}) {
      const int block = blocks.block, sub_block = blocks.sub_block;
      const std::int64_t columns = 2304;  // four times 16 blocks of 32 and half as many again
      std::vector<float> x = random_floats(static_cast<std::size_t>(columns), 5);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] *= std::exp2(static_cast<float>(i / 37 % 11) - 5.0f);
      std::fill_n(x.begin() + 32 * 3, 32, 0.0f);
      std::fill_n(x.begin() + 32 * 5, 32, -0.0f);
      std::fill_n(x.begin() + 32 * 9, 32, 1e-40f);   // 127 / amax is infinite
      std::fill_n(x.begin() + 32 * 11, 32, 3e-38f);  // its d is no normal number
      x[32 * 20 + 7] = 2.5f / 127 * 4, x[32 * 20 + 8] = 4.0f;  // a tie, or nearly one
      if (blocks.bad) {
        x[32 * 17 + 31] = std::numeric_limits<float>::quiet_NaN();
        x[32 * 40] = -std::numeric_limits<float>::infinity();
      }
      struct Result {
        std::vector<std::int8_t> codes;
        std::vector<float> scales;
        std::vector<std::int16_t> sums;
      };
      const auto quantize = [&](const KernelFamily& kernels) {
        Result r{std::vector<std::int8_t>(2304), std::vector<float>(static_cast<std::size_t>(columns / block)),
                 std::vector<std::int16_t>(static_cast<std::size_t>(columns / sub_block))};
        kernels.quantize_activations(x.data(), columns, block, sub_block, r.codes.data(), r.scales.data(), r.sums.data());
        return r;
      };
      const Result expected = quantize(scalar()), result = quantize(*family);
      INFO(family->name << ", blocks of " << block << ", sub-blocks of " << sub_block);
      CHECK(result.codes == expected.codes);
      CHECK(result.sums == expected.sums);
      for (std::size_t i = 0; i < expected.scales.size(); ++i) {
        INFO("block " << i);
        if (std::isnan(expected.scales[i])) CHECK(std::isnan(result.scales[i]));
        else CHECK(same_bits({&result.scales[i], 1}, {&expected.scales[i], 1}));
      }
    }
  }
}

TEST_CASE("every family multiplies to the scalar kernels' bits", "[kernels]") {
  ThreadPool one(1), three(3);
  const auto families = vector_families();
  for (const BlockFormat* format : all_formats()) {
    for (const ActivationKind kind : {ActivationKind::kF32, ActivationKind::kInt8}) {
      if (kind == ActivationKind::kInt8 && !has_int8_activations(*format)) continue;
      for (const std::int64_t rows : {1, 16, 37, 83}) {
        const std::int64_t columns = format->values_per_block > 32 ? 768 : 32 * 9;
        const auto bytes = random_rows(*format, rows, columns, unsigned(rows));
        const std::int64_t tokens = 17;
        auto x = random_floats(std::size_t(tokens * columns), 99, 3.0f);
        std::fill_n(x.begin() + columns, columns, 0.0f);                       // token 1: zeros
        for (std::int64_t k = 0; k < columns; ++k) x[std::size_t(2 * columns + k)] *= 1e-42f;  // token 2: denormals
        for (std::int64_t k = 0; k < columns; ++k) x[std::size_t(3 * columns + k)] = k % 2 ? 127.0f : -127.0f;
        const auto truth = multiply(scalar(), *format, bytes, rows, columns, x, tokens, kind, one);
        for (const KernelFamily* family : families) {
          const WeightMatrix w = *WeightMatrix::pack(*family, *format, bytes, rows, columns, one);
          for (ThreadPool* pool : {&one, &three})
            for (std::int64_t n = 1; n <= tokens; n += rows == 37 ? 1 : 8) {
              CAPTURE(family->name, format->name, kind == ActivationKind::kInt8, rows, n, pool->threads());
              CHECK(same_bits(multiply(w, x, n, kind, *pool), std::span(truth).first(std::size_t(n * rows))));
            }
        }
      }
    }
  }
}

// Eight tokens at a time are compared with the scalar kernels above, so a long prompt is with eight at a time; its ends again directly.
TEST_CASE("a prompt longer than one task's tokens has the bits of its tokens eight by eight, and the scalar kernels'", "[kernels]") {
  ThreadPool one(1), two(2);
  const std::int64_t tokens = 269, rows = 83, eight = 8;  // 269 = 256 + 8 + 5
  const auto families = vector_families();
  for (const BlockFormat* format : all_formats()) {
    for (const ActivationKind kind : {ActivationKind::kF32, ActivationKind::kInt8}) {
      if (kind == ActivationKind::kInt8 && !has_int8_activations(*format)) continue;
      const std::int64_t columns = format->values_per_block > 32 ? 512 : 352;
      const auto bytes = random_rows(*format, rows, columns, 7);
      const auto x = random_floats(std::size_t(tokens * columns), 8, 3.0f);
      const auto part = [&](std::int64_t begin, std::int64_t count) { return std::vector<float>(x.begin() + begin * columns, x.begin() + (begin + count) * columns); };
      const auto first = multiply(scalar(), *format, bytes, rows, columns, part(0, 4), 4, kind, one);
      const auto last = multiply(scalar(), *format, bytes, rows, columns, part(tokens - 6, 6), 6, kind, one);
      for (const KernelFamily* family : families) {
        CAPTURE(family->name, format->name, kind == ActivationKind::kInt8);
        const WeightMatrix w = *WeightMatrix::pack(*family, *format, bytes, rows, columns, one);
        std::vector<float> truth;
        for (std::int64_t begin = 0; begin < tokens; begin += eight) {
          const std::int64_t count = std::min(eight, tokens - begin);
          const auto some = multiply(w, part(begin, count), count, kind, one);
          truth.insert(truth.end(), some.begin(), some.end());
        }
        CHECK(same_bits(std::span(truth).first(first.size()), first));
        CHECK(same_bits(std::span(truth).last(last.size()), last));
        for (ThreadPool* pool : {&one, &two}) CHECK(same_bits(multiply(w, x, tokens, kind, *pool), truth));
      }
    }
  }
}

TEST_CASE("codes at their ends neither saturate nor overflow", "[kernels]") {
  ThreadPool pool(1);
  for (const KernelFamily* family : vector_families()) {
    for (const BlockFormat* format : all_formats()) {
      if (!has_int8_activations(*format)) continue;
      for (const std::byte fill : {std::byte(0), std::byte(0xff), std::byte(0x80), std::byte(0x7f)}) {
        CAPTURE(family->name, format->name, int(fill));
        const auto bytes = extreme_rows(*format, 16, 512, fill);
        for (const float value : {1.0f, -1.0f}) {
          const std::vector<float> x(17 * 512, value);
          const auto truth = multiply(scalar(), *format, bytes, 16, 512, x, 17, ActivationKind::kInt8, pool);
          for (const std::int64_t tokens : {1, 9, 17})
            CHECK(same_bits(multiply(*family, *format, bytes, 16, 512, x, tokens, ActivationKind::kInt8, pool),
                            std::span(truth).first(std::size_t(16 * tokens))));
        }
      }
    }
  }
}

TEST_CASE("rows of x and y may lie anywhere and apart", "[kernels]") {
  ThreadPool pool(2);
  const BlockFormat& format = *find_format("Q4_0");
  const std::int64_t rows = 21, columns = 64, tokens = 5, x_stride = 71, y_stride = 30;
  const auto bytes = random_rows(format, rows, columns, 1);
  const auto x = random_floats(std::size_t(tokens * x_stride + 1), 2);
  std::vector<float> truth;
  for (const KernelFamily* family : {&scalar(), available_kernels().front()}) {
    const WeightMatrix w = *WeightMatrix::pack(*family, format, bytes, rows, columns, pool);
    for (const ActivationKind kind : {ActivationKind::kInt8}) {
      std::vector<float> y(std::size_t(tokens * y_stride + 1), 7.0f);
      MatmulScratch scratch;
      matmul(w, x.data() + 1, tokens, x_stride, kind, y.data() + 1, y_stride, pool, scratch);
      for (int t = 0; t + 1 < tokens; ++t)
        for (std::int64_t gap = rows; gap < y_stride; ++gap) CHECK(y[std::size_t(1 + t * y_stride + gap)] == 7.0f);
      if (truth.empty()) truth = y;
      CHECK(same_bits(y, truth));
    }
  }
}

TEST_CASE("packed weights stay at the format's own size", "[kernels]") {
  ThreadPool pool(1);
  for (const KernelFamily* family : available_kernels())
    for (const BlockFormat* format : all_formats()) {
      CAPTURE(family->name, format->name);
      const auto bytes = random_rows(*format, 64, 2048, 1);
      const WeightMatrix w = *WeightMatrix::pack(*family, *format, bytes, 64, 2048, pool);
      // Three bits a code and a byte a sub-block where the file has numbers of grid entries; four for IQ3; two for ternary.
      const std::string_view name = format->name;
      const double bits = name.starts_with("IQ1") || name.starts_with("IQ2") ? 3.57 : name.starts_with("IQ3") ? 4.32
                          : name.starts_with("TQ") ? 2.32 : 1.06 * format->bits_per_value();
      CHECK(8 * double(w.size_bytes()) <= bits * double(w.rows() * w.columns()));
    }
}

TEST_CASE("damaged or misshapen weights are refused with a sentence", "[kernels]") {
  ThreadPool pool(2);
  const KernelFamily& family = *available_kernels().front();
  const BlockFormat& q8 = *find_format("Q8_0");
  auto bytes = random_rows(q8, 40, 64, 1);
  CHECK(WeightMatrix::pack(family, q8, bytes, 40, 65, pool).error().code == Code::kBadShape);
  CHECK(WeightMatrix::pack(family, q8, bytes, 41, 64, pool).error().code == Code::kBadShape);
  CHECK(WeightMatrix::pack(family, q8, bytes, 0, 64, pool).error().code == Code::kBadShape);
  CHECK(WeightMatrix::pack(family, q8, bytes, std::int64_t(1) << 40, 64, pool).error().code == Code::kTooLarge);
  bytes[33 * 68 + 34] = std::byte(0x00), bytes[33 * 68 + 35] = std::byte(0x7c);  // row 33, block 1: infinity
  const Error error = WeightMatrix::pack(family, q8, bytes, 40, 64, pool).error();
  CHECK(error.code == Code::kNonFinite);
  CHECK(error.detail.find("row 33, column 32") != std::string::npos);
  std::vector<float> floats(32, 1.0f);
  floats[20] = std::numeric_limits<float>::quiet_NaN();
  CHECK(WeightMatrix::pack_floats(family, floats, 2, 16, pool).error().detail.find("row 1, column 4") != std::string::npos);
}

TEST_CASE("a token with a NaN gives NaN, and leaves its companions alone", "[kernels]") {
  ThreadPool pool(1);
  const BlockFormat& format = *find_format("Q6_K");
  const auto bytes = random_rows(format, 20, 256, 1);
  auto x = random_floats(3 * 256, 2);
  for (const KernelFamily* family : available_kernels()) {
    const auto clean = multiply(*family, format, bytes, 20, 256, x, 3, ActivationKind::kInt8, pool);
    auto dirty_x = x;
    dirty_x[256 + 9] = std::numeric_limits<float>::infinity();
    const auto dirty = multiply(*family, format, bytes, 20, 256, dirty_x, 3, ActivationKind::kInt8, pool);
    for (std::size_t n = 0; n < 20; ++n) {
      CHECK(dirty[n] == clean[n]);
      CHECK(std::isnan(dirty[20 + n]));
      CHECK(dirty[40 + n] == clean[40 + n]);
    }
  }
}

TEST_CASE("every family norms, activates and rotates to the scalar kernels' bits", "[kernels]") {
  for (const KernelFamily* family : vector_families()) {
    CAPTURE(family->name);
    for (const std::int64_t n : {1, 7, 16, 33, 64, 100, 2048}) {
      CAPTURE(n);
      const auto count = std::size_t(n);
      const auto x = random_floats(count, unsigned(n), 30.0f), w = random_floats(count, 3), b = random_floats(count, 4);
      std::vector<float> truth(count), y(count);
      scalar().rms_norm(x.data(), w.data(), n, 1e-5f, truth.data());
      family->rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
      CHECK(same_bits(y, truth));
      for (const float* bias : {b.data(), static_cast<const float*>(nullptr)}) {
        scalar().layer_norm(x.data(), w.data(), bias, n, 1e-5f, truth.data());
        family->layer_norm(x.data(), w.data(), bias, n, 1e-5f, y.data());
        CHECK(same_bits(y, truth));
      }
      for (const float size : {1.0f, 200.0f}) {
        const auto gate = random_floats(count, 8, size);
        scalar().silu_mul(gate.data(), w.data(), n, truth.data());
        family->silu_mul(gate.data(), w.data(), n, y.data());
        CHECK(same_bits(y, truth));
        scalar().gelu_mul(gate.data(), w.data(), n, truth.data());
        family->gelu_mul(gate.data(), w.data(), n, y.data());
        CHECK(same_bits(y, truth));
        scalar().softmax(gate.data(), n, truth.data());
        family->softmax(gate.data(), n, y.data());
        CHECK(same_bits(y, truth));
        const LogSumExp a = scalar().log_sum_exp(gate.data(), n), c = family->log_sum_exp(gate.data(), n);
        CHECK((a.max == c.max && a.log_sum == c.log_sum));
      }
      scalar().add(x.data(), w.data(), n, truth.data());
      family->add(x.data(), w.data(), n, y.data());
      CHECK(same_bits(y, truth));
    }
    for (const int head_dim : {8, 48, 64, 80, 128})
      for (const int dims : {head_dim, head_dim / 2})
        for (const RotaryPairing pairing : {RotaryPairing::kAdjacent, RotaryPairing::kHalves}) {
          CAPTURE(head_dim, dims);
          const RotaryTable table(rotary_frequencies(dims, 10000, 1, {}), 50);
          auto truth = random_floats(std::size_t(3 * head_dim), 6), y = truth;
          scalar().rotate(truth.data(), 3, head_dim, dims, pairing, table.cos(49), table.sin(49));
          family->rotate(y.data(), 3, head_dim, dims, pairing, table.cos(49), table.sin(49));
          CHECK(same_bits(y, truth));
        }
  }
}

TEST_CASE("rotation turns pairs by position times frequency", "[kernels]") {
  const std::vector<float> divisors = {1.0f, 4.0f};
  const RotaryTable table(rotary_frequencies(4, 10000, 2, divisors), 10);
  CHECK(table.dims() == 4);
  CHECK(table.positions() == 10);
  CHECK(table.cos(3)[0] == Approx(std::cos(3.0 / 2)));
  CHECK(table.sin(3)[1] == Approx(std::sin(3.0 * 0.01 / 2 / 4)));
  std::vector<float> x = {1, 2, 3, 4};
  scalar().rotate(x.data(), 1, 4, 4, RotaryPairing::kHalves, table.cos(3), table.sin(3));
  CHECK(x[0] == Approx(1 * std::cos(1.5) - 3 * std::sin(1.5)));
  CHECK(x[2] == Approx(1 * std::sin(1.5) + 3 * std::cos(1.5)));
}

TEST_CASE("log-softmax sums to one and argmax takes the first of equals", "[kernels]") {
  const auto x = random_floats(1000, 5, 10.0f);
  std::vector<float> y(1000);
  log_softmax(*available_kernels().front(), x.data(), 1000, y.data());
  double sum = 0;
  for (const float v : y) sum += std::exp(double(v));
  CHECK(sum == Approx(1.0).epsilon(1e-5));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(argmax(std::vector<float>{nan, 1, 3, 3, nan}.data(), 5) == 2);
}
