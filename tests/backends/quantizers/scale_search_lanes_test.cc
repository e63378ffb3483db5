// The searches in lanes give the bytes of the scalar searches, on every instruction set that this CPU has.
#include "backends/quantizers/lanes/searches.h"
#include "backends/quantizers/scale_search.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

using namespace quantfleet;

namespace {

struct SuperBlock {
  std::string what;
  std::array<float, 256> x{}, weights{};
};

// Ordinary values, and blocks at the edges: zeros, one value, equal values, one sign, denormals, squares that overflow.
std::vector<SuperBlock> super_blocks() {
  std::mt19937 bits(7);
  const auto uniform = [&] { return static_cast<float>(bits() >> 8) * 0x1p-24f; };
  const auto bell = [&] { return uniform() + uniform() + uniform() + uniform() - 2.0f; };
  std::vector<SuperBlock> blocks;
  const auto add = [&](std::string what, auto value) {
    for (int repetition = 0; repetition < 8; ++repetition) {
      SuperBlock block;
      block.what = what;
      for (int i = 0; i < 256; ++i) block.x[static_cast<std::size_t>(i)] = value(i);
      for (float& weight : block.weights) weight = 0.1f + uniform();
      blocks.push_back(block);
    }
  };
  for (const float size : {1.0f, 0.02f, 1e-5f, 1e-12f, 3e-15f, 1e-20f, 1e-30f, 1e-38f, 1e-42f, 1e4f, 6e4f})
    add("bell of " + std::to_string(std::log10(size)), [&](int) { return size * bell(); });
  add("zeros", [](int) { return 0.0f; });
  add("negative zeros", [](int) { return -0.0f; });
  add("one value", [&](int i) { return i == 77 ? bell() : 0.0f; });
  add("equal values", [](int) { return 0.25f; });
  add("equal negative values", [](int) { return -0.25f; });
  add("positive", [&](int) { return uniform(); });
  add("negative", [&](int) { return -uniform(); });
  add("zeros in every other sub-block", [&](int i) { return i / 16 % 2 ? bell() : 0.0f; });
  add("an outlier", [&](int i) { return i % 16 == 3 ? 50.0f : 0.01f * bell(); });
  add("few different values", [&](int) { return static_cast<float>(static_cast<int>(bits() % 5)) - 2.0f; });
  return blocks;
}

// The k-quants' own weights, as fit_all_with_minimum makes them for nullptr.
std::array<float, 256> own_weights(const std::array<float, 256>& x, int count) {
  std::array<float, 256> weights{};
  const std::size_t n = 256 / static_cast<std::size_t>(count);
  for (std::size_t j = 0; j < 256; j += n) {
    float sum = 0;
    for (std::size_t i = j; i < j + n; ++i) sum += x[i] * x[i];
    const float rms = count == 8 ? std::sqrt(sum / 32) : 0.0f;
    for (std::size_t i = j; i < j + n; ++i) weights[i] = rms + std::fabs(x[i]);
  }
  return weights;
}

struct Found {
  std::array<float, 16> scales{}, mins{};
  std::array<std::uint8_t, 256> codes{};
  bool operator==(const Found& other) const { return std::memcmp(this, &other, sizeof *this) == 0; }
};

}  // namespace

TEST_CASE("searches in lanes give the scalar searches' scales, minima and codes", "[quantizers][lanes]") {
  for (const LaneSearches* lanes : available_lane_searches()) {
    for (const SuperBlock& block : super_blocks()) {
      CAPTURE(lanes->name, block.what);
      for (const bool given : {false, true}) {
        const float* weights = given ? block.weights.data() : nullptr;
        for (const int count : {8, 16}) {
          const std::array<float, 256> used = given ? block.weights : own_weights(block.x, count);
          const std::size_t n = 256 / static_cast<std::size_t>(count);
          for (const int code_max : {3, 15, 31})
            for (const Candidates candidates : {Candidates{-1.0f, 0.1f, 20}, Candidates{-0.5f, 0.1f, 15, true}, Candidates{-0.9f, 0.05f, 36}}) {
              Found truth, found;
              for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
                const ScaleAndMinimum fit = fit_with_minimum(std::span(block.x).subspan(n * j, n), used.data() + n * j, code_max, candidates,
                                                             truth.codes.data() + n * j);
                truth.scales[j] = fit.scale;
                truth.mins[j] = fit.minimum;
              }
              (count == 8 ? lanes->with_minimum_8 : lanes->with_minimum_16)(block.x.data(), weights, code_max, candidates, found.scales.data(),
                                                                            found.mins.data(), found.codes.data());
              CHECK(found == truth);
            }
        }
        for (const int limit : {4, 32}) {
          Found truth, found;
          for (std::size_t j = 0; j < 16; ++j)
            truth.scales[j] = fit_symmetric(std::span(block.x).subspan(16 * j, 16), limit, given ? weights + 16 * j : nullptr,
                                            truth.codes.data() + 16 * j);
          lanes->symmetric(block.x.data(), limit, weights, found.scales.data(), found.codes.data());
          CHECK(found == truth);
        }
      }
      Found truth, found;
      for (std::size_t j = 0; j < 16; ++j)
        truth.scales[j] = fit_by_descent(std::span(block.x).subspan(16 * j, 16), 4, truth.codes.data() + 16 * j);
      lanes->by_descent(block.x.data(), 4, found.scales.data(), found.codes.data());
      CHECK(found == truth);
    }
  }
}

TEST_CASE("codes are assigned alike by every instruction set, and kept where the scale is zero", "[quantizers][lanes]") {
  for (const LaneSearches* lanes : available_lane_searches()) {
    for (const SuperBlock& block : super_blocks()) {
      CAPTURE(lanes->name, block.what);
      for (const int count : {8, 16}) {
        const std::size_t n = 256 / static_cast<std::size_t>(count);
        Found truth, found;
        for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
          found.scales[j] = j % 5 == 0 ? 0.0f : block.weights[j] * std::fabs(block.x[n * j]);
          found.mins[j] = block.weights[100 + j] * std::fabs(block.x[n * j + 1]);
        }
        truth = found;
        found.codes.fill(7), truth.codes.fill(7);
        for (std::size_t i = 0; i < 256; ++i)
          if (const float scale = truth.scales[i / n]; scale != 0)
            truth.codes[i] = static_cast<std::uint8_t>(std::clamp(nearest_code((block.x[i] + truth.mins[i / n]) / scale), 0, 15));
        lanes->assign_unsigned(block.x.data(), count, found.scales.data(), found.mins.data(), 15, found.codes.data());
        CHECK(found == truth);
        for (std::size_t i = 0; i < 256; ++i)
          if (const float scale = truth.scales[i / n]; scale != 0)
            truth.codes[i] = static_cast<std::uint8_t>(std::clamp(nearest_code(block.x[i] / scale), -32, 31) + 32);
        lanes->assign_signed(block.x.data(), count, found.scales.data(), 32, found.codes.data());
        CHECK(found == truth);
      }
    }
  }
}

TEST_CASE("places in a table are counted value by value, whatever their number", "[quantizers][lanes]") {
  std::array<float, 15> edges{};
  for (std::size_t i = 0; i < 15; ++i) edges[i] = static_cast<float>(i) / 8 - 0.875f;  // 0 among them: values equal to an edge lie below it
  for (const LaneSearches* lanes : available_lane_searches())
    for (const SuperBlock& block : super_blocks())
      for (const int n : {1, 3, 32, 67, 256}) {
        CAPTURE(lanes->name, block.what, n);
        const std::span<const float> x = std::span(block.x).first(static_cast<std::size_t>(n));
        std::array<std::uint8_t, 256> truth{}, found{};
        float largest = 0;
        for (const float value : x) largest = std::max(largest, std::fabs(value));
        const float inverse = 1.0f / std::max(largest, 1e-38f);
        for (std::size_t i = 0; i < x.size(); ++i) truth[i] = static_cast<std::uint8_t>(std::count_if(edges.begin(), edges.end(), [&](float edge) { return x[i] * inverse > edge; }));
        CHECK(lanes->table_places(x.data(), n, edges.data(), found.data()) == largest);
        CHECK(found == truth);
      }
}
