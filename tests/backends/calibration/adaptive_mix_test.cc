// Budgets: the allocation is the best there is on small cases, the file keeps to the budget, other engines' formats only, the same
// bytes anywhere, and less divergence than the fixed mixes of the same size.
#include "backends/calibration/adaptive_mix.h"
#include "backends/calibration/importance.h"
#include "backends/huggingface/checkpoint.h"
#include "tests/backends/calibration/divergence.h"
#include "tests/folder.h"
#include "tests/random_model.h"
#include "tests/shared_data.h"


#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using test::Folder, test::contents;

double loss_of(std::span<const std::vector<FormatOption>> options, const std::vector<std::size_t>& chosen) {
  double loss = 0;
  for (std::size_t t = 0; t < chosen.size(); ++t) loss += options[t][chosen[t]].loss;
  return loss;
}

TEST_CASE("an allocation keeps to its budget and is nearly the best there is", "[calibration][budget]") {
  std::uint64_t state = 99;
  const auto next = [&] {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state >> 20;
  };
  for (int round = 0; round < 200; ++round) {
    std::vector<std::vector<FormatOption>> options(5);
    std::uint64_t least = 0, most = 0;
    for (auto& tensor : options) {
      const double weight = 1 + static_cast<double>(next() % 100);
      for (std::uint64_t bits = 2; bits <= 6; ++bits) tensor.push_back({bits * 100 + next() % 20, weight / static_cast<double>(std::uint64_t{1} << (2 * bits))});
      least += tensor.front().bytes;
      most += tensor.back().bytes;
    }
    const std::uint64_t budget = least + next() % (most - least + 200);
    const auto chosen = allocate(options, budget);
    REQUIRE(chosen.size() == 5);
    double best = 1e30;
    std::uint64_t used = 0;
    for (std::size_t t = 0; t < 5; ++t) used += options[t][chosen[t]].bytes;
    CHECK(used <= budget);
    for (int code = 0; code < 3125; ++code) {
      std::vector<std::size_t> all;
      std::uint64_t bytes = 0;
      for (int t = 0, rest = code; t < 5; ++t, rest /= 5) {
        all.push_back(static_cast<std::size_t>(rest % 5));
        bytes += options[static_cast<std::size_t>(t)][all.back()].bytes;
      }
      if (bytes <= budget) best = std::min(best, loss_of(options, all));
    }
    CHECK(loss_of(options, chosen) <= 1.35 * best);  // only what a single upgrade cannot reach is missed
  }
  const std::vector<std::vector<FormatOption>> one = {{{10, 1.0}}};
  CHECK(allocate(one, 9).empty());
  CHECK((allocate(one, 10) == std::vector<std::size_t>{0}));
}

TEST_CASE("a budget gives the same file for any thread count and instruction set, and keeps to it", "[calibration][budget]") {
  const Folder folder;
  const fs::path model = folder.path / "model.gguf", text = folder.path / "text.txt";
  REQUIRE(test::write_random_model(model, {.layers = 1}).has_value());
  std::ofstream(text) << std::string(150, 'a') + " the river and the mill; 12 boats wait (there) " + std::string(50, 'q');
  BudgetOptions options;
  options.bits_per_weight = 6;
  options.text = {text, 32, 0, 0};
  options.probe_windows = 1;
  options.threads = 2;
  options.formats = {"Q4_0", "IQ4_NL", "Q5_1", "Q8_0"};
  const auto report = quantize_to_budget(model, folder.path / "a.gguf", options).value();
  CHECK(report.written.bits_per_weight <= 6);
  CHECK(report.written.bits_per_weight > 5.7);
  CHECK(report.tensors.size() == 7 + 2);
  options.threads = 3;
  options.kernels = "scalar";
  REQUIRE(quantize_to_budget(model, folder.path / "b.gguf", options).has_value());
  CHECK(contents(folder.path / "a.gguf") == contents(folder.path / "b.gguf"));

  options.bits_per_weight = 0;
  options.file_bytes = fs::file_size(folder.path / "a.gguf") - 3000;
  REQUIRE(quantize_to_budget(model, folder.path / "c.gguf", options).has_value());
  CHECK(fs::file_size(folder.path / "c.gguf") <= options.file_bytes);
  CHECK(fs::file_size(folder.path / "c.gguf") > options.file_bytes - 5000);

  options.file_bytes = 0;
  options.bits_per_weight = 2;
  const auto none = quantize_to_budget(model, folder.path / "d.gguf", options);
  REQUIRE(!none.has_value());
  CHECK(none.error().code == Code::kBadValue);
  CHECK(!fs::exists(folder.path / "d.gguf"));
  options.formats = {"Q9_K"};
  CHECK(quantize_to_budget(model, folder.path / "d.gguf", options).error().code == Code::kUnknownFormat);
}

TEST_CASE("a budget measures every expert of a mixture", "[calibration][budget][oracle]") {
  if (!test::has_shared("oracle/models/arch/mixtral_like.gguf.zst")) return;
  const Folder folder;
  const fs::path model = test::unpacked("oracle/models/arch/mixtral_like.gguf.zst");
  BudgetOptions options;
  options.bits_per_weight = 6;
  options.text = {test::shared_root() / "oracle/text/calib_visible.txt", 32, 4, 0};
  options.threads = 2;
  options.probe_windows = 1;
  options.formats = {"Q4_0", "Q8_0"};
  const auto report = quantize_to_budget(model, folder.path / "a.gguf", options).value();
  CHECK(report.written.bits_per_weight <= 6);
  int experts = 0;
  for (const MixedTensor& tensor : report.tensors)
    if (tensor.name.ends_with("_exps.weight")) {
      ++experts;
      CHECK(tensor.output_error > 0);
      CHECK(tensor.output_error < 0.05);
      CHECK(tensor.sensitivity > 0);
    }
  const auto file = open_model_file(folder.path / "a.gguf").value();
  CHECK(experts == 3 * static_cast<int>(read_model_config(*file).value().layers));
  CHECK(file->string_or("quantfleet.calibration_windows", "").value() == "4");
  options.threads = 1;
  REQUIRE(quantize_to_budget(model, folder.path / "b.gguf", options).has_value());
  CHECK((contents(folder.path / "a.gguf") == contents(folder.path / "b.gguf")));
}

TEST_CASE("a budget loses less than a fixed mix of the same size on the oracle's model", "[calibration][budget][oracle]") {
  if (!test::has_shared("oracle/models/main/imatrix.dat")) return;
  const bool show = std::getenv("QUANTFLEET_SHOW");  // the table of docs/formats/quantizers.md, from more windows
  const Folder folder;
  const fs::path model = test::unpacked("oracle/models/main/llama256.f32.gguf.zst");
  const auto tokenizer = Tokenizer::from_gguf(*open_model_file(model).value()).value();
  const auto evaluation = read_calibration_text(*tokenizer, {test::shared_root() / "oracle/text/eval_visible.txt", 256, show ? 12 : 4, 0}).value();
  const std::vector<float> reference = test::logits_of(model, evaluation.windows);
  for (const char* mix : {"Q2_K", "Q4_K_M"}) {
    QuantizeOptions fixed;
    fixed.format = mix;
    fixed.importance_matrix = test::shared_root() / "oracle/models/main/imatrix.dat";
    fixed.threads = 2;
    const auto written = quantize_model(model, folder.path / "fixed.gguf", fixed).value();
    BudgetOptions options;
    options.bits_per_weight = written.bits_per_weight;
    options.text = {test::shared_root() / "oracle/text/calib_visible.txt", 256, show ? 24 : 12, 0};
    options.threads = 2;
    options.probe_windows = show ? 8 : 2;
    if (!show) options.formats = {"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"};  // quick to encode
    const auto report = quantize_to_budget(model, folder.path / "mixed.gguf", options).value();
    const double ours = test::mean_divergence(reference, test::logits_of(folder.path / "mixed.gguf", evaluation.windows), 512);
    const double theirs = test::mean_divergence(reference, test::logits_of(folder.path / "fixed.gguf", evaluation.windows), 512);
    if (show) std::printf("%-7s %.3f bits: mean KL divergence %.5f, a budget of as many bits (%.3f): %.5f, predicted %.5f\n", mix, written.bits_per_weight, theirs,
                report.written.bits_per_weight, ours, report.predicted_divergence);
    CAPTURE(mix);
    CHECK(report.written.bits_per_weight <= written.bits_per_weight + 1e-9);
    CHECK(ours < theirs);
  }
}

}  // namespace
}  // namespace quantfleet
