// The quantizers: as good as the reference, the same bytes everywhere, finite on rows that break others.
#include "tests/paths.h"
#include "backends/formats/catalog.h"
#include "backends/formats/file_hash.h"
#include "backends/formats/half_float.h"
#include "backends/quantizers/catalog.h"
#include "backends/quantizers/quantize_model.h"
#include "tests/golden/seeded_row.h"
#include "tests/shared_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>

using namespace quantfleet;

namespace {

template <class T>
std::vector<T> read_all(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  std::vector<T> values(text.size() / sizeof(T));
  std::memcpy(values.data(), text.data(), values.size() * sizeof(T));
  return values;
}

std::string oracle_name(const BlockFormat& format) {
  std::string name(format.name);
  for (char& c : name)
    if (c != 'K') c = static_cast<char>(std::tolower(c));
  return name;
}

std::vector<std::byte> encode(const BlockFormat& format, const std::vector<float>& rows, std::int64_t columns, const float* importance) {
  const auto row_bytes = static_cast<std::size_t>(format.row_bytes(columns));
  std::vector<std::byte> bytes(rows.size() / static_cast<std::size_t>(columns) * row_bytes);
  for (std::size_t row = 0; row * row_bytes < bytes.size(); ++row)
    encode_row(format, rows.data() + row * static_cast<std::size_t>(columns), columns, importance, bytes.data() + row * row_bytes);
  return bytes;
}

std::vector<float> decode(const BlockFormat& format, const std::vector<std::byte>& bytes) {
  const auto count_blocks = static_cast<std::int64_t>(bytes.size()) / format.bytes_per_block;
  std::vector<float> values(static_cast<std::size_t>(count_blocks * format.values_per_block));
  format.decode(bytes.data(), count_blocks, values.data());
  return values;
}

// Root mean square error; weighted by the importance of the column, if given.
double rmse(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& importance = {}) {
  double sum = 0, weights = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double weight = importance.empty() ? 1 : importance[i % importance.size()];
    sum += weight * (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    weights += weight;
  }
  return std::sqrt(sum / weights);
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

std::string hex(const std::vector<std::byte>& bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

}  // namespace

TEST_CASE("every format has a quantizer", "[quantizers]") {
  CHECK(all_encoders().size() == all_formats().size());
  for (const BlockFormat* format : all_formats()) {
    CAPTURE(format->name);
    REQUIRE(find_encoder(*format));
    CHECK(find_encoder(*format)->plain);
  }
}

// Their searches go further than the reference's, so their bytes differ from it (docs/formats/i-quants.md).
bool searches_further(const BlockFormat& format, bool weighted) { return format.name.starts_with("IQ") && (weighted || format.name != "IQ4_XS"); }

TEST_CASE("the grid formats and the uneven ones lose no more than the reference", "[quantizers][oracle]") {
  struct Set { const char* name; std::int64_t columns; };
  for (const Set& set : {Set{"main", 1024}, Set{"edge", 1024}, Set{"real", 768}}) {
    const std::string archive = fmt::format("oracle/quant/quant_{}.tar.zst", set.name);
    if (!test::has_shared(archive)) return;
    const auto folder = test::unpacked(archive) / set.name;
    const auto rows = read_all<float>(folder / "src.f32"), importance = read_all<float>(folder / "imatrix.f32");
    for (const BlockFormat* format : all_formats())
      for (const bool weighted : {false, true}) {
        const std::string name = oracle_name(*format) + (weighted ? ".imat" : "");
        if (!searches_further(*format, weighted) || !std::filesystem::exists(folder / (name + ".q"))) continue;
        CAPTURE(set.name, name);
        const auto reference = decode(*format, read_all<std::byte>(folder / (name + ".q")));
        const auto ours = decode(*format, encode(*format, rows, set.columns, weighted ? importance.data() : nullptr));
        CHECK(all_finite(ours));
        const std::vector<float> weights = weighted ? importance : std::vector<float>{};
        if (std::getenv("QUANTFLEET_SHOW"))  // the table of docs/formats/quantizers.md
          fmt::print("{} {} {:.3f}\n", set.name, name, rmse(ours, rows, weights) / rmse(reference, rows, weights));
        CHECK(rmse(ours, rows, weights) <= 1.0 * rmse(reference, rows, weights));
      }
  }
}

TEST_CASE("the oracle's rows get the reference's bytes", "[quantizers][oracle]") {
  struct Set { const char* name; std::int64_t columns; };
  for (const Set& set : {Set{"main", 1024}, Set{"edge", 1024}, Set{"real", 768}}) {
    const std::string archive = fmt::format("oracle/quant/quant_{}.tar.zst", set.name);
    if (!test::has_shared(archive)) return;
    const auto folder = test::unpacked(archive) / set.name;
    const auto rows = read_all<float>(folder / "src.f32"), importance = read_all<float>(folder / "imatrix.f32");
    for (const BlockFormat* format : all_formats())
      for (const bool weighted : {false, true}) {
        const std::string name = oracle_name(*format) + (weighted ? ".imat" : "");
        if (searches_further(*format, weighted) || !std::filesystem::exists(folder / (name + ".q"))) continue;
        CAPTURE(set.name, name);
        const auto expected = read_all<std::byte>(folder / (name + ".q"));
        const auto ours = encode(*format, rows, set.columns, weighted ? importance.data() : nullptr);
        REQUIRE(ours.size() == expected.size());
        const auto decoded = decode(*format, ours);
        CHECK(all_finite(decoded));
        // The reference stores NaN scales for rows of denormal size with importance (edge row 7): those blocks are not compared.
        std::size_t differing = 0;
        const auto size = static_cast<std::size_t>(format->bytes_per_block);
        const auto reference = decode(*format, expected);
        const auto values = static_cast<std::size_t>(format->values_per_block);
        for (std::size_t block = 0; block * size < ours.size(); ++block) {
          const bool broken = std::any_of(reference.begin() + static_cast<std::ptrdiff_t>(block * values),
                                          reference.begin() + static_cast<std::ptrdiff_t>((block + 1) * values),
                                          [](float value) { return std::isnan(value); });
          differing += !broken && std::memcmp(ours.data() + block * size, expected.data() + block * size, size) != 0;
        }
        CHECK(differing == 0);
        if (all_finite(reference)) CHECK(rmse(decoded, rows) <= 1.0 * rmse(reference, rows));
      }
  }
}

TEST_CASE("the seeded row has the golden bytes", "[quantizers][golden]") {
  const test::SeededRow row = test::seeded_row();
  std::string made;
  for (const Encoder& encoder : all_encoders())
    for (const bool weighted : {false, true}) {
      if (weighted && !encoder.weighted) continue;
      const auto bytes = encode(*encoder.format, row.values, 256, weighted ? row.importance.data() : nullptr);
      const auto decoded = decode(*encoder.format, bytes);
      made += fmt::format("{}\t{}\t{}\t{}\n", encoder.format->name, weighted ? "weighted" : "plain", hex(bytes),
                          sha256_of_bytes(std::as_bytes(std::span(decoded))));
    }
  const auto path = test::source_dir() / "tests/golden/encoded_rows.tsv";
  if (std::getenv("QUANTFLEET_WRITE_GOLDEN")) std::ofstream(path, std::ios::binary) << made;
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  const std::string golden((std::istreambuf_iterator<char>(in)), {});
  std::istringstream made_lines(made), golden_lines(golden);
  std::string ours, expected;
  while (std::getline(golden_lines, expected)) {
    REQUIRE(std::getline(made_lines, ours));
    CAPTURE(expected.substr(0, expected.find('\t', expected.find('\t') + 1)));
    CHECK((ours == expected));
  }
  CHECK_FALSE(std::getline(made_lines, ours));
}

TEST_CASE("importance makes important columns better", "[quantizers]") {
  test::SeededRow row = test::seeded_row();
  for (float& weight : row.importance) weight = weight * weight * weight * weight;  // spread over decades, as in real models
  std::vector<float> rows;  // the seeded row and its rotations, so that one block's luck does not decide
  for (std::ptrdiff_t turn = 0; turn < 12; ++turn) {
    rows.insert(rows.end(), row.values.begin() + turn, row.values.end());
    rows.insert(rows.end(), row.values.begin(), row.values.begin() + turn);
  }
  for (const Encoder& encoder : all_encoders()) {
    if (!encoder.weighted) continue;
    CAPTURE(encoder.format->name);
    const auto weighted_error = [&](const float* importance) {
      const auto decoded = decode(*encoder.format, encode(*encoder.format, rows, 256, importance));
      double sum = 0;
      for (std::size_t i = 0; i < rows.size(); ++i)
        sum += double(row.importance[i % 256]) * (double(decoded[i]) - rows[i]) * (double(decoded[i]) - rows[i]);
      return sum;
    };
    CHECK(weighted_error(row.importance.data()) < weighted_error(nullptr));
  }
}

TEST_CASE("Q8_0 rounds halves away from zero; Q4_0 takes its scale from the first of the extremes", "[quantizers]") {
  std::vector<float> row(32, 0.0f);
  row[0] = 127.0f;  // d = 1
  const std::pair<float, int> cases[] = {{0x1.fffffep-2f, 0}, {0.5f, 1}, {-0.5f, -1}, {-0x1.fffffep-2f, 0}, {2.5f, 3}, {-126.5f, -127}};
  for (std::size_t i = 0; i < std::size(cases); ++i) row[i + 1] = cases[i].first;
  const auto codes = decode(kQ8_0, encode(kQ8_0, row, 32, nullptr));
  for (std::size_t i = 0; i < std::size(cases); ++i) CHECK(codes[i + 1] == static_cast<float>(cases[i].second));

  for (const float first : {4.0f, -4.0f}) {
    row.assign(32, 0.0f);
    row[5] = first, row[20] = -first;
    const auto decoded = decode(kQ4_0, encode(kQ4_0, row, 32, nullptr));
    CHECK(decoded[5] == first);            // code 0
    CHECK(decoded[20] == -first / 8 * 7);  // code 15, the last one
  }
}

// Where values share a scale by ggml's rule and there is no reference data: the rule and the search of codes once more, by trying everything.
struct PlainFormat {
  const BlockFormat* format;
  std::size_t together;  // values that share a scale
  std::vector<float> codes;
  float (*scale_of)(std::span<const float> x, std::span<const float> scales);
  std::vector<float> scales;  // ascending
  double beside_best;         // what the rule's scales cost at most: RMSE as a share of that under the best scale of each group
};

TEST_CASE("MXFP4, NVFP4, Q1_0 and Q2_0, for which there is no reference data, lose what an exhaustive search under the rule's scales loses", "[quantizers]") {
  const auto largest = [](std::span<const float> x) {
    float most = 0;
    for (const float value : x) most = std::max(most, std::fabs(value));
    return most;
  };
  static const auto kLargest = largest;
  static const auto kNearest = [](float wanted, std::span<const float> scales) {
    return *std::min_element(scales.begin(), scales.end(), [&](float a, float b) { return std::fabs(a - wanted) < std::fabs(b - wanted); });
  };
  std::vector<float> powers, ue4m3, halves;
  for (int e = -40; e < 20; ++e) powers.push_back(std::ldexp(1.0f, e));
  for (int code = 1; code < 127; ++code) ue4m3.push_back(code < 8 ? std::ldexp(static_cast<float>(code), -9) : std::ldexp(1 + static_cast<float>(code & 7) / 8, (code >> 3) - 7));
  for (int bits = 0x2000; bits < 0x5000; ++bits) halves.push_back(half_to_float(static_cast<std::uint16_t>(bits)));  // 2^-7 to 32
  const std::vector<float> e2m1 = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.5f, -1, -1.5f, -2, -3, -4, -6};
  const PlainFormat formats[] = {
      {&kMXFP4, 32, e2m1, [](std::span<const float> x, std::span<const float>) { return std::ldexp(1.0f, static_cast<int>(std::floor(std::log2(kLargest(x)))) - 2); }, powers, 1.06},
      {&kNVFP4, 16, e2m1, [](std::span<const float> x, std::span<const float> scales) { return kNearest(kLargest(x) / 6, scales); }, ue4m3, 1.07},
      {&kQ1_0, 128, {1, -1}, [](std::span<const float> x, std::span<const float> scales) {
         double sum = 0;
         for (const float value : x) sum += std::fabs(value);
         return kNearest(static_cast<float>(sum / static_cast<double>(x.size())), scales);
       }, halves, 1.0001},
      {&kQ2_0, 64, {-1, 0, 1, 2}, [](std::span<const float> x, std::span<const float> scales) { return kNearest(kLargest(x), scales); }, halves, 1.25},
  };
  std::vector<float> row;
  for (const float value : test::seeded_row().values) row.push_back(value * 16);
  for (const PlainFormat& plain : formats) {
    CAPTURE(plain.format->name);
    const auto error_under = [&](std::span<const float> x, float scale) {
      double sum = 0;
      for (const float value : x) {
        float least = 1e30f;
        for (const float code : plain.codes) least = std::min(least, std::fabs(value - scale * code));
        sum += double(least) * least;
      }
      return sum;
    };
    double by_rule = 0, best = 0;
    for (std::size_t at = 0; at < row.size(); at += plain.together) {
      const std::span<const float> x(&row[at], plain.together);
      by_rule += error_under(x, plain.scale_of(x, plain.scales));
      double least = 1e30;
      for (const float scale : plain.scales) least = std::min(least, error_under(x, scale));
      best += least;
    }
    const double ours = rmse(decode(*plain.format, encode(*plain.format, row, 256, nullptr)), row), rule = std::sqrt(by_rule / 256), exhaustive = std::sqrt(best / 256);
    if (std::getenv("QUANTFLEET_SHOW")) fmt::print("{} {:.5f}, by the rule {:.5f}, under the best scales {:.5f}: {:.3f}\n", plain.format->name, ours, rule, exhaustive, ours / exhaustive);
    CHECK(ours == Approx(rule).epsilon(1e-4));
    CHECK(ours <= plain.beside_best * exhaustive);
  }
}

TEST_CASE("rows at the edges stay finite and zeros stay zero", "[quantizers]") {
  const float tiny = 1e-40f, smallest = std::numeric_limits<float>::denorm_min(), large = 3e38f;
  const std::vector<float> importance(256, 1.0f), zero_importance(256, 0.0f);
  for (const Encoder& encoder : all_encoders()) {
    if (encoder.format == &kF16) continue;  // refuses large values with a sentence instead
    CAPTURE(encoder.format->name);
    for (const float magnitude : {0.0f, smallest, tiny, 1e-38f, 1e-30f, 1e-6f, 1.0f, 1e6f, 1e20f, large}) {
      CAPTURE(magnitude);
      std::vector<float> row(256);
      for (std::size_t i = 0; i < row.size(); ++i)
        row[i] = magnitude * (i % 3 == 0 ? 1.0f : i % 3 == 1 ? -0.5f : 0.0f) * (i % 7 == 0 ? 1.0f : 0.25f);
      for (const float* weights : {static_cast<const float*>(nullptr), importance.data(), zero_importance.data()}) {
        const auto decoded = decode(*encoder.format, encode(*encoder.format, row, 256, weights));
        CHECK(all_finite(decoded));
        if (magnitude == 0)
          CHECK(std::all_of(decoded.begin(), decoded.end(), [](float value) { return value == 0; }));
      }
    }
  }
}
