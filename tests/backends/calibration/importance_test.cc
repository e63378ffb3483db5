// Importance matrices: equal to llama-imatrix's on the oracle, the same bits for any thread count and kernels, exact on a
// product that can be computed by hand.
#include "backends/calibration/importance.h"
#include "tests/folder.h"
#include "tests/random_model.h"
#include "tests/shared_data.h"


#include <cmath>
#include <cstdio>
#include <fstream>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using test::Folder;

ImportanceOptions options_for(const fs::path& model, const fs::path& text, int context) {
  ImportanceOptions options;
  options.model = model;
  options.text.path = text;
  options.text.context_tokens = context;
  options.threads = 2;
  return options;
}

TEST_CASE("the importance of the oracle's model is llama-imatrix's", "[calibration][oracle][imatrix]") {
  if (!test::has_shared("oracle/models/main/imatrix.dat")) return;
  const auto reference = read_importance_matrix(test::shared_root() / "oracle/models/main/imatrix.dat").value();
  const auto report = collect_importance(options_for(test::unpacked("oracle/models/main/llama256.f32.gguf.zst"),
                                                     test::shared_root() / "oracle/text/calib_visible.txt", 256)).value();
  CHECK(report.matrix.chunks == reference.chunks);
  REQUIRE(report.matrix.entries.size() == reference.entries.size());
  double worst = 0, sum = 0;
  std::size_t count = 0;
  for (const auto& [name, entry] : reference.entries) {
    CAPTURE(name);
    const auto& ours = report.matrix.entries.at(name);
    CHECK(ours.calls == entry.calls);
    REQUIRE(ours.mean_square.size() == entry.mean_square.size());
    for (std::size_t k = 0; k < entry.mean_square.size(); ++k, ++count) {
      const double difference = std::abs(double(ours.mean_square[k]) - entry.mean_square[k]) / entry.mean_square[k];
      worst = std::max(worst, difference);
      sum += difference;
    }
  }
  std::printf("importance against llama-imatrix: relative difference mean %.2e, largest %.2e (%zu values)\n", sum / double(count), worst, count);
  CHECK(sum / double(count) < 1e-4);
  CHECK(worst < 1e-3);  // the reference sums in F32
}

TEST_CASE("importance does not depend on threads, kernels or the windows that run together", "[calibration][imatrix]") {
  const Folder folder;
  const fs::path model = folder.path / "model.gguf", text = folder.path / "text.txt";
  REQUIRE(test::write_random_model(model, {.layers = 3, .adds_bos = true}).has_value());
  std::ofstream(text) << std::string(1000, 'a') + "the other letters of a text that is long enough for some windows " + std::string(600, 'z');
  ImportanceOptions options = options_for(model, text, 100);
  options.with_output = true;
  const auto first = collect_importance(options).value();
  CHECK(first.matrix.entries.size() == 3 * 7 + 1);
  CHECK(first.text.windows.size() == 16);
  CHECK(first.text.windows[3][0] == 299);  // BOS
  for (const auto& [threads, kernels] : {std::pair(1, "scalar"), std::pair(3, "")}) {
    options.threads = threads;
    options.kernels = kernels;
    const auto again = collect_importance(options).value();
    for (const auto& [name, entry] : first.matrix.entries) {
      CAPTURE(name, threads);
      CHECK((entry.mean_square == again.matrix.entries.at(name).mean_square));
      CHECK((entry.tokens == std::vector<std::int64_t>{1600}));
    }
  }
  // q, k and v multiply the same input.
  CHECK((first.matrix.entries.at("blk.1.attn_q.weight").mean_square == first.matrix.entries.at("blk.1.attn_v.weight").mean_square));
}

// Each token meets two of four experts: their counts add up to twice the tokens.
TEST_CASE("experts have importance of their own", "[calibration][oracle][imatrix]") {
  if (!test::has_shared("oracle/models/arch/mixtral_like.gguf.zst")) return;
  ImportanceOptions options = options_for(test::unpacked("oracle/models/arch/mixtral_like.gguf.zst"), test::shared_root() / "oracle/text/calib_visible.txt", 64);
  options.text.count_windows = 8;
  const auto report = collect_importance(options).value();
  const auto file = GgufFile::open(test::unpacked("oracle/models/arch/mixtral_like.gguf.zst")).value();
  for (const char* name : {"blk.0.ffn_gate_exps.weight", "blk.1.ffn_down_exps.weight"}) {
    CAPTURE(name);
    const auto& entry = report.matrix.entries.at(name);
    const GgufTensor& tensor = *file->find_tensor(name);
    CHECK(static_cast<std::int64_t>(entry.mean_square.size()) == tensor.columns() * tensor.shape[2]);
    std::int64_t tokens = 0;
    for (const std::int64_t count : entry.tokens) tokens += count;
    CHECK(tokens == 2 * report.text.count_tokens());
  }
}

TEST_CASE("both layouts give the matrix back", "[calibration][imatrix]") {
  const Folder folder;
  ImportanceMatrix matrix;
  matrix.entries["blk.0.ffn_up.weight"] = {{0.5f, 2.0f, 0.0f}, 4, {1024}};
  matrix.entries["blk.0.ffn_up_exps.weight"] = {{0.5f, 2.0f, 1.0f, 1.0f}, 4, {8, 0}};
  matrix.chunks = 4;
  matrix.dataset = "text.txt";
  for (const char* name : {"imatrix.dat", "imatrix.gguf"}) {
    REQUIRE(write_importance_matrix(folder.path / name, matrix).has_value());
    const auto read = read_importance_matrix(folder.path / name).value();
    CHECK((read.entries.at("blk.0.ffn_up.weight").mean_square == matrix.entries["blk.0.ffn_up.weight"].mean_square));
    CHECK(read.entries.at("blk.0.ffn_up.weight").calls == 4);
    CHECK(read.chunks == 4);
    CHECK(read.dataset == "text.txt");
  }
  const auto read = read_importance_matrix(folder.path / "imatrix.gguf").value();
  CHECK((read.entries.at("blk.0.ffn_up.weight").tokens == std::vector<std::int64_t>{1024}));
  CHECK((read.entries.at("blk.0.ffn_up_exps.weight").tokens == std::vector<std::int64_t>{8, 0}));
  CHECK((read.entries.at("blk.0.ffn_up_exps.weight").mean_square == std::vector<float>{0.5f, 2.0f, 1.0f, 1.0f}));
}

TEST_CASE("a seed chooses windows without repetition, the same ones everywhere", "[calibration]") {
  CHECK((choose_windows(10, 3, 7) == choose_windows(10, 3, 7)));
  CHECK((choose_windows(1000, 5, 1) == std::vector<std::int64_t>{158, 277, 528, 657, 776}));
  CHECK((choose_windows(3, 0, 1) == std::vector<std::int64_t>{0, 1, 2}));
  CHECK((choose_windows(3, 9, 1) == std::vector<std::int64_t>{0, 1, 2}));
  std::vector<int> chosen(20, 0);
  for (std::uint64_t seed = 0; seed < 2000; ++seed)
    for (const std::int64_t window : choose_windows(20, 5, seed)) ++chosen[static_cast<std::size_t>(window)];
  for (const int times : chosen) CHECK(std::abs(times - 500) < 100);  // 5 standard deviations
}

TEST_CASE("a text shorter than one window is one sentence", "[calibration]") {
  const Folder folder;
  const fs::path model = folder.path / "model.gguf", text = folder.path / "text.txt";
  REQUIRE(test::write_random_model(model, {}).has_value());
  std::ofstream(text) << std::string(99, 'a');
  const auto short_text = collect_importance(options_for(model, text, 100));
  REQUIRE(!short_text.has_value());
  CHECK(short_text.error().code == Code::kBadShape);
  CHECK(short_text.error().detail.find("has 99 tokens; one window of 100 is the least") != std::string::npos);
  CHECK(collect_importance(options_for(model, folder.path / "none.txt", 100)).error().code == Code::kNotFound);
}

}  // namespace
}  // namespace quantfleet
