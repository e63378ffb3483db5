// Rows in brief against the whole distributions: unbiased, never above by their lower bound, scatter as stated; and the calculator
// against the divergences that llama.cpp's own logits give (oracle/numbers.md, table 3).
#include "backends/engines/reference_row.h"
#include "tests/shared_data.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

namespace quantfleet {
namespace {

std::vector<float> log_softmax_of(const std::vector<double>& logits) {
  const double high = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - high);
  std::vector<float> row;
  for (const double x : logits) row.push_back(static_cast<float>(x - high - std::log(sum)));
  return row;
}

struct Pair {
  std::vector<float> p, q;
};

// `spread`: of the reference's logits; `change`: of the model's against them.
Pair random_pair(std::size_t vocabulary, double spread, double change, unsigned seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<double> p, q;
  for (std::size_t i = 0; i < vocabulary; ++i) {
    p.push_back(spread * normal(random));
    q.push_back(p.back() + change * normal(random));
  }
  return {log_softmax_of(p), log_softmax_of(q)};
}

ReferenceRow stored(const std::vector<float>& p, std::int32_t target, std::uint64_t seed) {
  const auto bytes = encode(summarize(p, target, seed));
  ReferenceRow row;
  REQUIRE(decode(bytes, p.size(), row));
  return row;
}

}  // namespace

TEST_CASE("a row in brief keeps top, tail and target, in 96 bytes", "[engines][reference_logits]") {
  const Pair pair = random_pair(1000, 2, 0.2, 1);
  const ReferenceRow row = stored(pair.p, 17, 1);
  REQUIRE(row.top.size() == kTop);
  REQUIRE(row.draws.size() == kDraws);
  CHECK(row.target == Approx(pair.p[17]).margin(2e-6));
  std::vector<float> sorted = pair.p;
  std::sort(sorted.rbegin(), sorted.rend());
  double tail = 1;
  for (int i = 0; i < kTop; ++i) {
    const auto& entry = row.top[static_cast<std::size_t>(i)];
    CHECK(pair.p[entry.token] == sorted[static_cast<std::size_t>(i)]);
    CHECK(entry.log_probability == Approx(pair.p[entry.token]).margin(2e-6));
    tail -= std::exp(entry.log_probability);
  }
  CHECK(std::exp(row.tail) == Approx(tail).margin(1e-5));
  const RowDivergence brief = divergence(row, pair.q, 17), whole = divergence(std::span<const float>(pair.p), pair.q, 17);
  CHECK(brief.same_top == whole.same_top);
  CHECK(brief.reference_nll == Approx(whole.reference_nll).margin(2e-6));
  CHECK(brief.delta_p == Approx(whole.delta_p).margin(2e-6));
}

TEST_CASE("without a tail a row in brief is exact", "[engines][reference_logits]") {
  for (const std::size_t vocabulary : {1u, 2u, 8u}) {
    const Pair pair = random_pair(vocabulary, 1, 0.3, 5);
    const ReferenceRow row = stored(pair.p, 0, 1);
    CHECK(row.draws.empty());
    const RowDivergence brief = divergence(row, pair.q, 0);
    CHECK(brief.kl == Approx(divergence(std::span<const float>(pair.p), pair.q, 0).kl).margin(1e-5));
    CHECK(brief.kl_variance == 0);
  }
  // All others underflow.
  std::vector<float> p(100, -200.0f), q(100, -200.0f);
  p[3] = q[3] = 0.0f;
  const RowDivergence certain = divergence(stored(p, 3, 1), q, 3);
  CHECK(std::abs(certain.kl) < 1e-5);
}

TEST_CASE("the estimate is unbiased, its lower bound holds and its scatter is as stated", "[engines][reference_logits]") {
  struct Case { std::size_t vocabulary; double spread, change; };
  for (const Case& c : {Case{500, 0.5, 0.05}, Case{500, 2, 0.2}, Case{2000, 3, 0.6}, Case{2000, 1, 1.0}, Case{9, 0.1, 0.1}}) {
    CAPTURE(c.vocabulary, c.spread, c.change);
    double sum = 0, squares = 0, stated = 0;
    const int n = 3000;
    const Pair pair = random_pair(c.vocabulary, c.spread, c.change, 7);
    const double exact = divergence(std::span<const float>(pair.p), pair.q, 0).kl;
    for (int seed = 0; seed < n; ++seed) {
      const RowDivergence brief = divergence(stored(pair.p, 0, static_cast<std::uint64_t>(seed) * 7919), pair.q, 0);
      REQUIRE(brief.kl_lower <= exact + 1e-5);
      REQUIRE(brief.kl_lower <= brief.kl);
      sum += brief.kl, squares += brief.kl * brief.kl, stated += brief.kl_variance;
    }
    const double mean = sum / n, variance = squares / n - mean * mean;
    CHECK(std::abs(mean - exact) < 4 * std::sqrt(variance / n) + 1e-5);
    CHECK(variance < 1.15 * stated / n + 1e-12);  // draws from equal shares scatter less than free ones, for which the formula is
    CHECK(stated / n < 5 * variance + 1e-10);
  }
}

TEST_CASE("the stated error of a text's mean is what estimates really scatter by, neither half nor twice", "[engines][reference_logits]") {
  constexpr int kRows = 60, kTexts = 200;  // of the same rows, drawn anew
  std::vector<Pair> pairs;
  double exact = 0;
  for (int i = 0; i < kRows; ++i) {
    pairs.push_back(random_pair(300, 2.5, 0.5, static_cast<unsigned>(500 + i)));
    exact += divergence(std::span<const float>(pairs.back().p), pairs.back().q, 0).kl / kRows;
  }
  double squares = 0;
  int within_four = 0;
  for (int text = 0; text < kTexts; ++text) {
    double mean = 0, variance = 0;
    for (int i = 0; i < kRows; ++i) {
      const Pair& pair = pairs[static_cast<std::size_t>(i)];
      const RowDivergence row = divergence(stored(pair.p, 0, static_cast<std::uint64_t>(text * kRows + i)), pair.q, 0);
      mean += row.kl / kRows, variance += row.kl_variance;
    }
    const double in_errors = (mean - exact) / estimation_error(variance, kRows);
    squares += in_errors * in_errors / kTexts;
    within_four += std::abs(in_errors) < 4;
  }
  CAPTURE(squares);
  CHECK(std::sqrt(squares) < 1.45);
  CHECK(std::sqrt(squares) > 0.7);
  CHECK(within_four >= 0.937 * kTexts);
}

TEST_CASE("over many positions the estimate is within the stated error", "[engines][reference_logits]") {
  double exact = 0, brief = 0, variance = 0, lower = 0;
  const int n = 1500;
  for (int i = 0; i < n; ++i) {
    const Pair pair = random_pair(600, 1 + 0.002 * i, 0.2, static_cast<unsigned>(100 + i));
    exact += divergence(std::span<const float>(pair.p), pair.q, 0).kl;
    const RowDivergence row = divergence(stored(pair.p, 0, static_cast<std::uint64_t>(i)), pair.q, 0);
    brief += row.kl, variance += row.kl_variance, lower += row.kl_lower;
  }
  CHECK(std::abs(brief - exact) < 4 * std::sqrt(variance) + n * 1e-6);
  CHECK(std::sqrt(variance) < 0.02 * exact);
  CHECK(std::abs(brief - exact) < 0.02 * exact);
  CHECK(lower < exact);
}

TEST_CASE("bytes that are no row in brief are refused", "[engines][reference_logits]") {
  const Pair pair = random_pair(40, 1, 0.1, 3);
  const auto good = encode(summarize(pair.p, 0, 1));
  ReferenceRow row;
  REQUIRE(decode(good, 40, row));
  const auto with = [&](std::size_t at, int value) {
    auto bytes = good;
    bytes[at] = static_cast<std::byte>(value);
    return decode(bytes, 40, row);
  };
  CHECK_FALSE(with(6, 200));                             // a token beyond the vocabulary
  CHECK_FALSE(with(12, static_cast<int>(good[6])));      // the same token twice
  CHECK_FALSE(with(11, 0xf0));                           // the first less likely than the second
  CHECK_FALSE(decode(good, 8, row));                     // a tail where the vocabulary has none
  auto bytes = good;
  bytes[9] = bytes[10] = bytes[11] = bytes[15] = bytes[16] = bytes[17] = std::byte{0};  // two certain tokens
  CHECK_FALSE(decode(bytes, 40, row));
}

TEST_CASE("fed with llama.cpp's logits the calculator gives llama.cpp's divergences", "[engines][reference_logits][oracle]") {
  const std::string folder = "oracle/models/main/logits/";
  if (!test::has_shared(folder)) return;
  const std::size_t V = 512;
  const auto rows_of = [&](const std::string& name) {
    std::ifstream file(test::shared_root() / (folder + name + ".logits.f32"), std::ios::binary);
    std::vector<float> values;
    for (float value; file.read(reinterpret_cast<char*>(&value), 4);) values.push_back(value);
    std::vector<std::vector<float>> rows;
    for (std::size_t at = 0; at + V <= values.size(); at += V)
      rows.push_back(log_softmax_of(std::vector<double>(values.begin() + static_cast<std::ptrdiff_t>(at), values.begin() + static_cast<std::ptrdiff_t>(at + V))));
    return rows;
  };
  struct Mean { double whole = 0, brief = 0, variance = 0, lower = 0; };
  const auto compared = [&](const std::vector<std::vector<float>>& p, const std::vector<std::vector<float>>& q) {
    REQUIRE(p.size() == q.size());
    Mean mean;
    const double n = static_cast<double>(p.size());
    for (std::size_t i = 0; i < p.size(); ++i) {
      mean.whole += divergence(std::span<const float>(p[i]), q[i], 0).kl / n;
      const RowDivergence row = divergence(stored(p[i], 0, i), q[i], 0);
      mean.brief += row.kl / n, mean.lower += row.kl_lower / n, mean.variance += row.kl_variance / (n * n);
    }
    CHECK(std::abs(mean.brief - mean.whole) < 4 * std::sqrt(mean.variance) + 5e-6);
    CHECK(mean.lower <= mean.whole + 5e-6);
    return mean.whole;
  };
  const auto reference = rows_of("F32.kvf32.p64");
  REQUIRE(reference.size() >= 64);
  std::ifstream numbers(test::shared_root() / "oracle/numbers.md");
  int files = 0;
  bool in_table = false;
  for (std::string line; std::getline(numbers, line);) {
    if (line.starts_with("## ")) in_table = line.starts_with("## 3.");
    if (!in_table || !line.starts_with("| ") || line.starts_with("| file")) continue;
    std::vector<std::string> cells;
    std::istringstream parts(line);
    for (std::string cell; std::getline(parts, cell, '|');) cells.push_back(cell.substr(cell.find_first_not_of(' ') == std::string::npos ? 0 : cell.find_first_not_of(' ')));
    REQUIRE(cells.size() >= 7);
    const std::string name = cells[1].substr(0, cells[1].find(' '));
    const auto native = rows_of(name + ".native.p64"), exact_weights = rows_of(name + ".dequantized_f32math.p64");
    if (native.empty() || exact_weights.empty()) continue;
    INFO(name);
    CHECK(compared(exact_weights, native) == Approx(std::stod(cells[4])).epsilon(0.01).margin(1e-7));
    CHECK(compared(reference, exact_weights) == Approx(std::stod(cells[5])).epsilon(0.01).margin(5e-6));  // printed with five decimals
    CHECK(compared(reference, native) == Approx(std::stod(cells[6])).epsilon(0.01).margin(5e-6));
    ++files;
  }
  CHECK(files > 15);
}

}  // namespace quantfleet
