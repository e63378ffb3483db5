// GPTQ, AWQ, SparseGPT and SmoothQuant against an independent implementation in double (tests/interop/calibrated.py, whose cases are in
// tests/golden/calibrated.json), and the same bits for any thread count and instruction set.
#include "backends/formats/half_float.h"
#include "backends/formats/safetensors.h"
#include "backends/huggingface/linear_format.h"
#include "backends/quantizers/awq.h"
#include "backends/quantizers/exl2.h"
#include "backends/quantizers/gptq.h"
#include "backends/quantizers/group_grid.h"
#include "backends/quantizers/inverse_cholesky.h"
#include "backends/quantizers/smoothquant.h"
#include "backends/quantizers/sparse_gpt.h"
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

namespace quantfleet {
namespace {

using huggingface::GroupedCodes;

std::vector<float> flat(const nlohmann::json& rows) {
  std::vector<float> values;
  for (const auto& row : rows)
    for (const auto& value : row) values.push_back(value.get<float>());
  return values;
}

struct Case {
  nlohmann::json golden;
  std::vector<float> x, w, second;
  std::vector<double> mean_magnitude;
  std::int64_t rows = 0, columns = 0;
};

Case read_case() {
  std::ifstream file(test::source_dir() / "tests/golden/calibrated.json");
  Case one;
  one.golden = nlohmann::json::parse(file);
  one.x = flat(one.golden["x"]);
  one.w = flat(one.golden["w"]);
  one.rows = static_cast<std::int64_t>(one.golden["w"].size());
  one.columns = static_cast<std::int64_t>(one.golden["w"][0].size());
  const std::int64_t K = one.columns, tokens = static_cast<std::int64_t>(one.x.size()) / K;
  one.second.resize(static_cast<std::size_t>(K * K));
  one.mean_magnitude.resize(static_cast<std::size_t>(K));
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t i = 0; i < K; ++i) {
      one.mean_magnitude[i] += std::abs(double(one.x[t * K + i])) / double(tokens);
      for (std::int64_t j = 0; j < K; ++j) one.second[i * K + j] += one.x[t * K + i] * one.x[t * K + j];
    }
  return one;
}

// Inputs with correlations, deterministic: a chain of noise.
std::vector<float> noise(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values;
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  float last = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    last = 0.5f * last + static_cast<float>(static_cast<std::int64_t>(state >> 40) - (1 << 23)) / static_cast<float>(1 << 23);
    values.push_back(last);
  }
  return values;
}

struct Machine {
  ThreadPool pool;
  GemmF32 gemm;
  Machine(int threads, std::string_view kernel) : pool(threads), gemm(pool, *find_gemm_f32_kernel(kernel)) {}
};

double relative_error(const Case& one, const std::vector<float>& values, Machine& machine) {
  std::vector<float> difference(values);
  for (std::size_t i = 0; i < values.size(); ++i) difference[i] -= one.w[i];
  return output_error(difference, one.second, one.rows, one.columns, machine.gemm) / output_error(one.w, one.second, one.rows, one.columns, machine.gemm);
}

// Codes equal to the golden ones, as a share.
double agreement(const std::vector<std::uint8_t>& codes, const nlohmann::json& golden) {
  const std::vector<float> expected = flat(golden);
  REQUIRE(expected.size() == codes.size());
  int equal = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) equal += static_cast<float>(codes[i]) == expected[i];
  return equal / double(codes.size());
}

TEST_CASE("the inverse's Cholesky factor times itself is the inverse", "[quantizers][gptq]") {
  Machine machine(2, "auto");
  const std::int64_t n = GENERATE(1, 7, 128, 129, 300);
  const std::vector<float> x = noise(n * 2 * n, 3);
  std::vector<float> h(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = i == j ? 0.1 * double(n) : 0;
      for (std::int64_t t = 0; t < 2 * n; ++t) sum += double(x[t * n + i]) * x[t * n + j];
      h[i * n + j] = static_cast<float>(sum);
    }
  std::vector<float> u = h;
  REQUIRE(inverse_cholesky(u.data(), n, machine.gemm));
  double worst = 0;  // of U^T U H against the unit matrix
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<double> row(static_cast<std::size_t>(n));  // row i of U^T U
    for (std::int64_t k = 0; k <= i; ++k)
      for (std::int64_t j = k; j < n; ++j) row[j] += double(u[k * n + i]) * u[k * n + j];
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t k = 0; k < n; ++k) sum += row[k] * h[k * n + j];
      worst = std::max(worst, std::abs(sum - (i == j)));
      if (j < i) CHECK(u[i * n + j] == 0);
    }
  }
  CHECK(worst < 1e-3);
  std::vector<float> indefinite = {1, 2, 2, 1};
  CHECK(!inverse_cholesky(indefinite.data(), 2, machine.gemm));
}

TEST_CASE("GPTQ chooses the codes of the implementation in double, and beats rounding", "[quantizers][gptq]") {
  const Case one = read_case();
  Machine machine(2, "auto");
  REQUIRE(one.golden["gptq"].size() == 5);
  for (const auto& golden : one.golden["gptq"]) {
    const GptqOptions options{golden["bits"], golden["group_size"], golden["symmetric"], golden["act_order"], 0.01};
    CAPTURE(options.bits, options.group_size, options.act_order);
    const auto solver = GptqSolver::create(one.second, one.columns, options, machine.gemm);
    REQUIRE(solver.has_value());
    CHECK(solver->damping() == 0.01);
    std::vector<float> values = one.w;
    const GroupedCodes codes = solver->quantize(values, one.rows, machine.gemm, machine.pool);
    CHECK(agreement(codes.codes, golden["codes"]) > 0.98);
    CHECK(relative_error(one, values, machine) == Approx(golden["error"].get<double>()).epsilon(0.02));
    CHECK(golden["error"].get<double>() < golden["nearest_error"].get<double>());
    // The codes mean the values that the later layers see.
    const std::int64_t groups = codes.groups();
    for (std::int64_t n = 0; n < one.rows; ++n)
      for (std::int64_t k = 0; k < one.columns; ++k) {
        const std::int64_t group = n * groups + (codes.g_idx.empty() ? k / codes.group_size : codes.g_idx[static_cast<std::size_t>(k)]);
        CHECK(values[n * one.columns + k] == codes.scales[group] * static_cast<float>(codes.codes[n * one.columns + k] - codes.zeros[group]));
      }
  }
}

TEST_CASE("the grid search takes the share of the range that rounds best", "[quantizers][gptq]") {
  const std::vector<float> w = noise(64, 7);
  for (const bool symmetric : {true, false})
    for (const int bits : {2, 3, 4}) {
      CAPTURE(symmetric, bits);
      const auto error_of = [&](const GroupGrid& grid) {
        double sum = 0;
        for (const float value : w) sum += std::pow(double(grid.value_of(grid.code_of(value)) - value), 2);
        return sum;
      };
      // A range is a share of the whole one: so is that of values that are all clamped to it.
      const auto [low, high] = std::minmax_element(w.begin(), w.end());
      const float magnitude = std::max(-*low, *high);
      double best = 1e30;
      for (int step = 0; step < 80; ++step) {
        const float share = 1.0f - static_cast<float>(step) / 100.0f;
        const float ends[] = {symmetric ? -magnitude * share : *low * share, symmetric ? magnitude * share : *high * share};
        best = std::min(best, error_of(fit_group(ends, 2, bits, symmetric)));
      }
      const GroupGrid found = fit_group(w.data(), 64, bits, symmetric, true);
      CHECK(error_of(found) == Approx(best).epsilon(1e-9));
      CHECK(error_of(found) <= error_of(fit_group(w.data(), 64, bits, symmetric)));
    }
}

TEST_CASE("AWQ finds the scales and the clipping of the implementation in double, and beats rounding", "[quantizers][awq]") {
  Case one = read_case();
  Machine machine(2, "auto");
  const auto& golden = one.golden["awq"];
  const AwqOptions options{4, golden["group_size"], 20, 20};
  const std::vector<std::span<const float>> matrices = {one.w};
  const std::vector<float> scales = search_scales({one.mean_magnitude, one.second}, matrices, options, machine.gemm, machine.pool);
  const auto expected = golden["scales"].get<std::vector<double>>();
  for (std::size_t k = 0; k < scales.size(); ++k) CHECK(scales[k] == Approx(expected[k]).epsilon(1e-4));
  std::vector<float> weights = one.w, second = one.second;
  const std::int64_t K = one.columns;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(weights.size()); ++i) weights[i] *= scales[i % K];
  for (std::int64_t i = 0; i < K * K; ++i) second[i] = second[i] / scales[i / K] / scales[i % K];
  clip_groups(weights, one.rows, second, K, options, machine.gemm, machine.pool);
  const std::vector<float> clipped = flat(golden["clipped"]);
  int equal = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) equal += std::abs(weights[i] - clipped[i]) <= 1e-4f * std::abs(clipped[i]);
  CHECK(equal > 0.95 * double(weights.size()));
  const GroupedCodes codes = round_groups(weights, one.rows, K, 4, 16, false, machine.pool);
  CHECK(agreement(codes.codes, golden["codes"]) > 0.95);
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(weights.size()); ++i) weights[i] /= scales[i % K];
  const double error = relative_error(one, weights, machine);
  CHECK(error == Approx(golden["error"].get<double>()).epsilon(0.03));
  CHECK(error < 0.6 * golden["nearest_error"].get<double>());
}

TEST_CASE("GPTQ and AWQ give the same bits for any thread count and instruction set", "[quantizers][gptq][awq]") {
  constexpr std::int64_t rows = 24, columns = 192, tokens = 250;
  const std::vector<float> x = noise(tokens * columns, 1), w = noise(rows * columns, 2);
  struct Bits {
    std::vector<float> second, gptq, scales, clipped;
    std::vector<std::uint8_t> codes;
    bool operator==(const Bits&) const = default;
  };
  const auto compute = [&](int threads, std::string_view kernel) {
    Machine machine(threads, kernel);
    Bits bits;
    bits.second.resize(columns * columns);
    machine.gemm.run({x.data(), 1, columns}, {x.data(), columns, 1}, columns, columns, tokens, bits.second.data(), columns, false);
    const auto solver = GptqSolver::create(bits.second, columns, {3, 64, false, true, 0.01}, machine.gemm).value();
    bits.gptq = w;
    bits.codes = solver.quantize(bits.gptq, rows, machine.gemm, machine.pool).codes;
    std::vector<double> magnitude(columns);
    for (std::int64_t i = 0; i < tokens * columns; ++i) magnitude[static_cast<std::size_t>(i % columns)] += std::abs(double(x[static_cast<std::size_t>(i)])) / tokens;
    const std::vector<std::span<const float>> matrices = {w};
    bits.scales = search_scales({magnitude, bits.second}, matrices, {4, 64, 20, 20}, machine.gemm, machine.pool);
    bits.clipped = w;
    clip_groups(bits.clipped, rows, bits.second, columns, {4, 64, 20, 20}, machine.gemm, machine.pool);
    return bits;
  };
  const Bits first = compute(1, "scalar");
  for (const GemmF32Kernel* kernel : all_gemm_f32_kernels()) {
    if (!find_gemm_f32_kernel(kernel->name)) continue;  // not on this CPU
    for (const int threads : {1, 3}) {
      CAPTURE(kernel->name, threads);
      CHECK((compute(threads, kernel->name) == first));
    }
  }
}

TEST_CASE("what GPTQ cannot use is one sentence", "[quantizers][gptq]") {
  Machine machine(1, "auto");
  std::vector<float> h(36 * 36);
  for (int i = 0; i < 36; ++i) h[i * 36 + i] = 1;
  const auto odd = GptqSolver::create(h, 36, {4, 32, true, false, 0.01}, machine.gemm);
  CHECK(odd.error().code == Code::kBadShape);
  CHECK(odd.error().detail == "36 inputs do not divide into groups of 32");
  CHECK(GptqSolver::create(h, 36, {4, -1, true, false, 0.01}, machine.gemm).has_value());
  h[0] = INFINITY;
  CHECK(GptqSolver::create(h, 36, {4, -1, true, false, 0.01}, machine.gemm).error().code == Code::kNonFinite);
  // Two inputs that are always equal: damping makes it solvable; a matrix that is no sum of squares needs more damping.
  std::vector<float> equal = {4, 4, 4, 4};
  CHECK(GptqSolver::create(equal, 2, {4, -1, true, false, 0.01}, machine.gemm)->damping() == 0.01);
  std::vector<float> slightly = {1, 1.05f, 1.05f, 1};
  const auto damped = GptqSolver::create(slightly, 2, {4, -1, true, false, 0.01}, machine.gemm);
  REQUIRE(damped.has_value());
  CHECK(damped->damping() == Approx(0.06).margin(0.011));
}

// What the reader makes of packed arrays, [N, K].
std::vector<float> read_back(const std::vector<huggingface::StoredArray>& packed, const huggingface::LinearFormat& format, const huggingface::Json& config) {
  std::vector<SafetensorsArray> arrays;
  for (const huggingface::StoredArray& array : packed) arrays.push_back({"m." + array.suffix, array.dtype, array.shape, array.bytes});
  huggingface::ModuleArrays module{"m", {}};
  for (std::size_t i = 0; i < arrays.size(); ++i) module.arrays.emplace(packed[i].suffix, &arrays[i]);
  huggingface::JsonReader reader(config, "config");
  auto weight = format.read(module, reader);
  if (!weight) FAIL(weight.error().detail);
  std::vector<float> values(static_cast<std::size_t>((*weight)->rows() * (*weight)->columns()));
  for (std::int64_t n = 0; n < (*weight)->rows(); ++n) (*weight)->decode(n, values.data() + n * (*weight)->columns());
  return values;
}

TEST_CASE("SparseGPT chooses the weights of the implementation in double, and beats Wanda", "[quantizers][sparse]") {
  const Case one = read_case();
  Machine machine(2, "auto");
  for (const auto& golden : one.golden["sparse_gpt"]) {
    const int bits = golden["bits"];
    CAPTURE(bits);
    const auto feedback = ErrorFeedback::create(one.second, one.columns, false, 0.01, machine.gemm).value();
    std::vector<float> values = one.w;
    const auto codes = prune_and_quantize(values, one.rows, feedback, bits, golden["group_size"], machine.gemm, machine.pool);
    const std::vector<float> expected = flat(golden["values"]);
    std::size_t near = 0;
    for (std::size_t i = 0; i < values.size(); ++i) near += std::abs(values[i] - expected[i]) < 1e-6f;
    CHECK(near > 0.98 * double(values.size()));
    CHECK(relative_error(one, values, machine) == Approx(golden["error"].get<double>()).epsilon(0.02));
    CHECK(golden["error"].get<double>() < golden["wanda_error"].get<double>());
    // With a diagonal alone nothing is passed on: Wanda.
    std::vector<float> diagonal(one.second.size()), rounded = one.w;
    for (std::int64_t k = 0; k < one.columns; ++k) diagonal[k * one.columns + k] = one.second[k * one.columns + k];
    prune_and_quantize(rounded, one.rows, ErrorFeedback::create(diagonal, one.columns, false, 0.01, machine.gemm).value(), bits, golden["group_size"], machine.gemm, machine.pool);
    CHECK(relative_error(one, rounded, machine) == Approx(golden["wanda_error"].get<double>()).epsilon(0.02));
    CHECK(read_back(huggingface::pack_sparse("m", codes).value(), huggingface::kSparse, {{"bits", bits}}) == values);
  }
}

// The goldens have 32 inputs; from the second block of 128 on errors arrive by another way.
TEST_CASE("errors are passed on beyond a block of 128: a plain loop over all inputs chooses the same", "[quantizers][gptq][sparse]") {
  constexpr std::int64_t rows = 16, K = 320, tokens = 400, group = 32;
  const std::vector<float> x = noise(tokens * K, 11), w = noise(rows * K, 12);
  Machine machine(2, "auto");
  std::vector<float> second(static_cast<std::size_t>(K * K));
  machine.gemm.run({x.data(), 1, K}, {x.data(), K, 1}, K, K, tokens, second.data(), K, false);
  const ErrorFeedback feedback = ErrorFeedback::create(second, K, false, 0.01, machine.gemm).value();
  // Inputs one after the other, in double; value_of(weights from here on, input, the row's memory) is what a weight becomes.
  const auto plain = [&](const auto& value_of) {
    std::vector<double> values(w.begin(), w.end());
    for (std::int64_t n = 0; n < rows; ++n) {
      double* v = &values[static_cast<std::size_t>(n * K)];
      std::array<double, 2> memory = {};
      for (std::int64_t k = 0; k < K; ++k) {
        const float* u = &feedback.inverse[static_cast<std::size_t>(k * K)];
        const double value = value_of(v + k, k, memory), error = (v[k] - value) / u[k];
        v[k] = value;
        for (std::int64_t j = k + 1; j < K; ++j) v[j] -= error * u[j];
      }
    }
    return values;
  };
  const auto same_behind_128 = [&](const std::vector<float>& ours, const std::vector<double>& expected) {
    int same = 0, count = 0;
    for (std::size_t i = 0; i < ours.size(); ++i)
      if (static_cast<std::int64_t>(i) % K >= 128) ++count, same += std::fabs(ours[i] - expected[i]) < 1e-3;
    return same / double(count);
  };
  const auto round_to = [](double value, double scale) { return std::clamp(std::nearbyint(value / scale), -8.0, 7.0) * scale; };
  const auto scale_of = [](double largest) { return double(half_to_float(float_to_half(static_cast<float>(largest / 7.5)))); };
  std::vector<float> gptq = w, sparse = w;
  GptqSolver::create(second, K, {4, group, true, false, 0.01}, machine.gemm).value().quantize(gptq, rows, machine.gemm, machine.pool);
  CHECK(same_behind_128(gptq, plain([&](const double* v, std::int64_t k, std::array<double, 2>& scale) {
          if (k % group == 0) {
            double largest = 0;
            for (std::int64_t i = 0; i < group; ++i) largest = std::max(largest, std::fabs(v[i]));
            scale[0] = scale_of(largest);
          }
          return round_to(v[0], scale[0]);
        })) > 0.97);
  // Two of four stay: memory holds the scale, and the sum of 2^i over those that stay of these four.
  const auto kept = [&](const double* v, std::int64_t k) {
    int bits = 0;
    for (int i = 0; i < 4; ++i) {
      int better = 0;
      const auto score = [&](int j) { return std::fabs(v[j]) / feedback.inverse[static_cast<std::size_t>((k + j) * K + k + j)]; };
      for (int j = 0; j < 4; ++j) better += j != i && score(j) > score(i);
      bits |= (better < 2) << i;
    }
    return bits;
  };
  prune_and_quantize(sparse, rows, feedback, 4, group, machine.gemm, machine.pool);
  CHECK(same_behind_128(sparse, plain([&](const double* v, std::int64_t k, std::array<double, 2>& memory) {
          if (k % group == 0) {
            double largest = 0;
            for (std::int64_t i = 0; i < group; ++i)
              if (kept(v + i / 4 * 4, k + i / 4 * 4) >> (i % 4) & 1) largest = std::max(largest, std::fabs(v[i]));
            memory[0] = scale_of(largest);
          }
          if (k % 4 == 0) memory[1] = kept(v, k);
          return static_cast<int>(memory[1]) >> (k % 4) & 1 ? round_to(v[0], memory[0]) : 0.0;
        })) > 0.97);
}

TEST_CASE("SmoothQuant's scales are the formula's", "[quantizers][smoothquant]") {
  const Case one = read_case();
  std::vector<float> most(static_cast<std::size_t>(one.columns));
  for (std::size_t i = 0; i < one.x.size(); ++i) most[i % most.size()] = std::max(most[i % most.size()], std::abs(one.x[i]));
  const std::span<const float> matrices[] = {std::span(one.w).first(one.w.size() / 2), std::span(one.w).subspan(one.w.size() / 2)};
  for (const auto& golden : one.golden["smoothquant"]) {
    const std::vector<float> scales = smoothing_scales(most, matrices, golden["alpha"]);
    for (std::size_t k = 0; k < scales.size(); ++k) CHECK(scales[k] == Approx(golden["scales"][k].get<double>()).epsilon(1e-6));
    CHECK(scales[11] == 1);  // an input that is always zero
  }
  CHECK(static_input_scale(255) == 2);
  CHECK(static_input_scale(0) == 1 / 127.5f);
}

TEST_CASE("EXL2: more bits cost less, the reader gives the values back, any machine the same", "[quantizers][exl2]") {
  const std::int64_t K = 160, N = 64, tokens = 400;
  std::vector<float> x = noise(tokens * K, 5), w = noise(N * K, 6), second(static_cast<std::size_t>(K * K));
  for (std::int64_t t = 0; t < tokens; ++t) x[t * K + 7] *= 6, x[t * K + 90] *= 4, x[t * K + 33] = 0;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t i = 0; i < K; ++i)
      for (std::int64_t j = 0; j < K; ++j) second[i * K + j] += x[t * K + i] * x[t * K + j];
  Machine machine(2, "auto"), other(3, "scalar");
  const auto feedback = ErrorFeedback::create(second, K, true, 0.01, machine.gemm).value();
  const double energy = output_error(w, second, N, K, machine.gemm);
  std::vector<std::pair<double, double>> cost;  // bits per weight, error
  for (const Exl2Option& option : exl2_options()) {
    CAPTURE(option.text());
    std::vector<float> values = w, again = w;
    const auto codes = quantize_exl2(values, N, feedback, option, machine.gemm, machine.pool);
    std::int64_t inputs = 0;
    for (const auto& group : codes.groups) inputs += group.count;
    REQUIRE(inputs == K);
    const auto packed = huggingface::pack_exl2("m", codes).value();
    CHECK(read_back(packed, huggingface::kExl2, huggingface::Json::object()) == values);
    std::uint64_t stored = 0;
    for (const auto& array : packed)
      if (array.suffix != "q_perm") stored += 8 * array.bytes.size();
    CHECK(stored == exl2_bits(codes.groups, N, K));
    quantize_exl2(again, N, ErrorFeedback::create(second, K, true, 0.01, other.gemm).value(), option, other.gemm, other.pool);
    CHECK(again == values);
    std::vector<float> difference(values);
    for (std::size_t i = 0; i < values.size(); ++i) difference[i] -= w[i];
    cost.emplace_back(double(stored) / double(N * K), output_error(difference, second, N, K, machine.gemm) / energy);
  }
  std::sort(cost.begin(), cost.end());
  CHECK(cost.front().second > 100 * cost.back().second);
  for (std::size_t i = 0; i + 4 < cost.size(); ++i) CHECK(cost[i + 4].second < cost[i].second);
  // The most important inputs have the most bits.
  std::vector<float> values = w;
  const auto codes = quantize_exl2(values, N, feedback, exl2_options()[0], machine.gemm, machine.pool);
  CHECK(codes.groups.front().bits == 3);
  CHECK(codes.inverse[7] == 0);
  CHECK(codes.inverse[33] == K - 1);
  CHECK_THAT(huggingface::pack_exl2("a.b", {24, 64, {}, {}, {}, {}, {}}).error().detail, Catch::Contains("a.b: 24 outputs and 64 inputs; EXL2 has multiples of 32"));
}

}  // namespace
}  // namespace quantfleet
