// Every weight format decodes as its specification says. The oracle's blocks and values come from llama.cpp c392e509 (its
// README tells how); the small golden files in tests/golden were written by our own encoders and need no oracle.
#include "backends/formats/catalog.h"
#include "backends/formats/half_float.h"
#include "tests/shared_data.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <vector>

using namespace quantfleet;

namespace {

std::vector<std::byte> read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  std::vector<std::byte> bytes(std::filesystem::file_size(path));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  REQUIRE(in);
  return bytes;
}

std::vector<float> read_floats(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_bytes(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// Bits, not values; only NaN payloads may differ.
bool same(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (a == 0 && b == 0);
}

// The oracle's file names: "q4_K", "q8_0", "bf16".
std::string oracle_name(const BlockFormat& format) {
  std::string name(format.name);
  for (std::size_t i = 0; i < name.size(); ++i)
    if (name[i] != 'K') name[i] = static_cast<char>(std::tolower(name[i]));
  return name;
}

void check_decoding(const BlockFormat& format, const std::filesystem::path& blocks, const std::filesystem::path& values) {
  const std::vector<std::byte> stored = read_bytes(blocks);
  const std::vector<float> expected = read_floats(values);
  REQUIRE(stored.size() % static_cast<std::size_t>(format.bytes_per_block) == 0);
  const auto count_blocks = static_cast<std::int64_t>(stored.size()) / format.bytes_per_block;
  REQUIRE(count_blocks * format.values_per_block == static_cast<std::int64_t>(expected.size()));
  std::vector<float> decoded(expected.size());
  format.decode(stored.data(), count_blocks, decoded.data());
  std::size_t differing = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) differing += !same(decoded[i], expected[i]);
  CHECK(differing == 0);
}

}  // namespace

TEST_CASE("the catalog is in order of GGUF's numbers and names no format twice", "[formats]") {
  std::set<std::string_view> names;
  std::uint32_t last = 0;
  for (const BlockFormat* format : all_formats()) {
    CAPTURE(format->name);
    CHECK(names.insert(format->name).second);
    CHECK((format == all_formats().front() || format->ggml_type > last));
    last = format->ggml_type;
    CHECK(find_format(format->name) == format);
    CHECK(find_format(format->ggml_type) == format);
    CHECK(format->row_bytes(format->values_per_block) == format->bytes_per_block);
  }
  CHECK(find_format("Q9_9") == nullptr);
  CHECK(find_format(4u) == nullptr);
}

TEST_CASE("a row that is not a whole number of blocks has no size", "[formats]") {
  CHECK(kQ4_K.row_bytes(512) == 288);
  CHECK(kQ4_K.row_bytes(300) == 0);
  CHECK(kQ8_0.row_bytes(33) == 0);
  CHECK(kF16.row_bytes(3) == 6);
}

TEST_CASE("bits per value are those of the published formats", "[formats]") {
  CHECK(kQ8_0.bits_per_value() == 8.5);
  CHECK(kQ4_0.bits_per_value() == 4.5);
  CHECK(kQ4_1.bits_per_value() == 5.0);
  CHECK(kQ5_0.bits_per_value() == 5.5);
  CHECK(kQ5_1.bits_per_value() == 6.0);
  CHECK(kQ2_K.bits_per_value() == 2.625);
  CHECK(kQ3_K.bits_per_value() == 3.4375);
  CHECK(kQ4_K.bits_per_value() == 4.5);
  CHECK(kQ5_K.bits_per_value() == 5.5);
  CHECK(kQ6_K.bits_per_value() == 6.5625);
  for (const auto& [format, bits] : {std::pair(&kIQ1_S, 1.5625), {&kIQ1_M, 1.75}, {&kIQ2_XXS, 2.0625}, {&kIQ2_XS, 2.3125}, {&kIQ2_S, 2.5625},
                                     {&kIQ3_XXS, 3.0625}, {&kIQ3_S, 3.4375}, {&kIQ4_XS, 4.25}, {&kIQ4_NL, 4.5}, {&kTQ1_0, 1.6875},
                                     {&kTQ2_0, 2.0625}, {&kQ1_0, 1.125}, {&kQ2_0, 2.25}, {&kMXFP4, 4.25}, {&kNVFP4, 4.5}})
    CHECK(format->bits_per_value() == bits);
}

TEST_CASE("activations come in blocks of 32 or 256 as the numerics table says", "[formats]") {
  for (const BlockFormat* format : all_formats()) {
    CAPTURE(format->name);
    const bool floats_only = format->values_per_block == 1 || format == &kNVFP4 || format == &kQ1_0 || format == &kQ2_0;
    const int expected = floats_only ? 0 : format->values_per_block;
    CHECK(format->activation_block == expected);
  }
}

TEST_CASE("a Q4_0 block by hand: low nibbles first, eight is zero", "[formats]") {
  std::byte block[18] = {std::byte{0x00}, std::byte{0x40}};  // d = 2
  for (int j = 0; j < 16; ++j) block[2 + j] = std::byte(j | ((15 - j) << 4));
  float values[32];
  kQ4_0.decode(block, 1, values);
  for (int j = 0; j < 16; ++j) {
    CHECK(values[j] == 2.0f * static_cast<float>(j - 8));
    CHECK(values[j + 16] == 2.0f * static_cast<float>(7 - j));
  }
}

// The formats that are younger than the oracle, from the specification's tables.
TEST_CASE("an MXFP4 block by hand: the scale is half the standard's, down to subnormal floats", "[formats]") {
  const float expected[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};  // E2M1
  for (const auto& [e, scale] : {std::pair(127, 1.0f), std::pair(130, 8.0f), std::pair(0, 0x1p-127f), std::pair(1, 0x1p-126f)}) {
    CAPTURE(e);
    std::byte block[17] = {static_cast<std::byte>(e)};
    for (int j = 0; j < 16; ++j) block[1 + j] = std::byte(j | ((15 - j) << 4));
    float values[32];
    kMXFP4.decode(block, 1, values);
    for (int j = 0; j < 16; ++j) {
      const auto value = [&, unit = scale](int code) { return (code & 8 ? -1.0f : 1.0f) * expected[code & 7] * unit; };
      CHECK(values[j] == value(j));
      CHECK(values[j + 16] == value(15 - j));
    }
  }
}

TEST_CASE("an NVFP4 block by hand: four groups of 16 with UE4M3 scales", "[formats]") {
  std::byte block[36] = {std::byte{0x38}, std::byte{0x7e}, std::byte{0x01}, std::byte{0x7f}};  // 1, 448, 2^-9, none
  for (int j = 0; j < 32; ++j) block[4 + j] = std::byte{0xf2};                                   // 1 and -6
  float values[64];
  kNVFP4.decode(block, 1, values);
  const float scales[4] = {1, 448, 0x1p-9f, 0};
  for (int e = 0; e < 64; ++e) CHECK(values[e] == scales[e / 16] * (e % 16 < 8 ? 1.0f : -6.0f));
}

TEST_CASE("Q1_0 and Q2_0 blocks by hand", "[formats]") {
  std::byte block[18] = {std::byte{0x00}, std::byte{0x40}};  // d = 2
  for (int j = 0; j < 16; ++j) block[2 + j] = std::byte{0b11100100};
  float values[128];
  kQ1_0.decode(block, 1, values);
  for (int e = 0; e < 128; ++e) CHECK(values[e] == ((0b11100100 >> (e % 8)) & 1 ? 2.0f : -2.0f));
  kQ2_0.decode(block, 1, values);
  for (int e = 0; e < 64; ++e) CHECK(values[e] == 2.0f * static_cast<float>(e % 4 - 1));
}

TEST_CASE("random blocks of every format decode to the reference's bits", "[formats][oracle]") {
  if (!test::has_shared("oracle/quant/quant_randblocks.tar.zst")) return;
  const auto folder = test::unpacked("oracle/quant/quant_randblocks.tar.zst") / "randblocks";
  for (const BlockFormat* format : all_formats()) {
    if (format->values_per_block == 1) continue;
    CAPTURE(format->name);
    const std::string name = oracle_name(*format);
    if (format->ggml_type >= 39) continue;  // younger than the oracle: MXFP4, NVFP4, Q1_0, Q2_0
    check_decoding(*format, folder / (name + ".q"), folder / (name + ".deq.f32"));
  }
}

TEST_CASE("all 65536 patterns of F16 and BF16 widen exactly", "[formats][oracle]") {
  if (!test::has_shared("oracle/quant/quant_randblocks.tar.zst")) return;
  const auto folder = test::unpacked("oracle/quant/quant_randblocks.tar.zst") / "randblocks";
  std::vector<std::uint16_t> patterns(65536);
  for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint16_t>(i);
  for (const BlockFormat* format : {&kF16, &kBF16}) {
    CAPTURE(format->name);
    const std::vector<float> expected = read_floats(folder / (oracle_name(*format) + "_all65536.f32"));
    std::vector<float> decoded(65536);
    format->decode(reinterpret_cast<const std::byte*>(patterns.data()), 65536, decoded.data());
    std::size_t differing = 0;
    for (std::size_t i = 0; i < 65536; ++i) differing += !same(decoded[i], expected[i]);
    CHECK(differing == 0);
  }
}

TEST_CASE("every finite half survives the way to float and back", "[formats]") {
  std::size_t differing = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    if ((bits & 0x7c00) == 0x7c00 && (bits & 0x3ff)) continue;  // NaN
    differing += float_to_half(half_to_float(half)) != half;
    differing += float_to_bfloat16(bfloat16_to_float(half)) != half && !std::isnan(bfloat16_to_float(half));
  }
  CHECK(differing == 0);
}

TEST_CASE("quantized rows of the reference decode to the reference's values", "[formats][oracle]") {
  for (const char* set : {"main", "edge", "real"}) {
    const std::string archive = std::string("oracle/quant/quant_") + set + ".tar.zst";
    if (!test::has_shared(archive)) return;
    const auto folder = test::unpacked(archive) / set;
    for (const BlockFormat* format : all_formats()) {
      for (const char* kind : {"", ".imat"}) {
        const std::string name = oracle_name(*format) + kind;
        if (!std::filesystem::exists(folder / (name + ".q"))) continue;
        CAPTURE(set, name);
        check_decoding(*format, folder / (name + ".q"), folder / (name + ".deq.f32"));
      }
    }
  }
}
