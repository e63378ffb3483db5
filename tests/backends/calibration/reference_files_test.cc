// Where our bytes differ from llama-quantize's (the grid and uneven formats, whose searches go further), the files must not be worse in mean
// KL divergence from the F32 model on the oracle's text, nor in perplexity. All other formats are the reference's bytes
// (tests/backends/quantizers/quantize_model_test.cc). The table of docs/formats/quantizers.md, of all formats and the whole text: QUANTFLEET_SHOW=1.
#include "backends/calibration/calibration_text.h"
#include "backends/quantizers/quantize_model.h"
#include "tests/backends/calibration/divergence.h"
#include "tests/shared_data.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <numeric>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kVocabulary = 512;

struct Measured {
  double divergence = 0;
  std::vector<double> nll;  // of each scored token
};

// The mean of a - b and its standard error.
std::pair<double, double> difference(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0, squares = 0;
  const double count = static_cast<double>(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] - b[i], squares += (a[i] - b[i]) * (a[i] - b[i]);
  const double mean = sum / count;
  return {mean, std::sqrt((squares / count - mean * mean) / (count - 1))};
}

double perplexity(const std::vector<double>& nll) { return std::exp(std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size())); }

// Rows stand behind the second half of each window; the last one of a window has nothing to predict.
Measured measure(const std::vector<float>& reference, const fs::path& file, std::span<const std::vector<std::int32_t>> windows) {
  const std::vector<float> ours = test::logits_of(file, windows);
  Measured measured;
  measured.divergence = test::mean_divergence(reference, ours, kVocabulary);
  const KernelFamily& family = *find_kernels("").value();
  std::vector<float> p(kVocabulary);
  std::size_t at = 0;
  for (const auto& window : windows)
    for (std::size_t i = window.size() / 2; i < window.size(); ++i, at += kVocabulary) {
      if (i + 1 == window.size()) continue;
      log_softmax(family, &ours[at], kVocabulary, p.data());
      measured.nll.push_back(-double(p[static_cast<std::size_t>(window[i + 1])]));
    }
  REQUIRE(at == ours.size());
  return measured;
}

TEST_CASE("files whose bytes are not the reference's are no worse than its files", "[calibration][quantizers][oracle]") {
  if (!test::has_shared("oracle/models/main/imatrix.dat")) return;
  const bool show = std::getenv("QUANTFLEET_SHOW");
  const fs::path main = test::shared_root() / "oracle/models/main", model = test::unpacked("oracle/models/main/llama256.f32.gguf.zst");
  const fs::path out = fs::temp_directory_path() / fmt::format("quantfleet_reference_{}.gguf", ::getpid());
  const auto tokenizer = Tokenizer::from_gguf(*GgufFile::open(model).value()).value();
  const auto text = read_calibration_text(*tokenizer, {test::shared_root() / "oracle/text/eval_visible.txt", 256, show ? 0 : 4, 0}).value();
  const std::vector<float> reference = test::logits_of(model, text.windows);
  for (const auto& [format, weighted] : {std::pair("IQ4_NL", false), std::pair("IQ3_S", false), std::pair("IQ3_XXS", true), std::pair("IQ2_M", true),
                                         std::pair("IQ2_XXS", true), std::pair("IQ1_M", true), std::pair("IQ1_S", true)}) {
    if (!show && std::string_view(format) != "IQ4_NL" && std::string_view(format) != "IQ3_S" && std::string_view(format) != "IQ2_XXS") continue;  // these are enough every day
    QuantizeOptions options;
    options.format = format;
    options.threads = 2;
    if (weighted) options.importance_matrix = main / "imatrix.dat";
    const auto report = quantize_model(model, out, options);
    if (!report) FAIL(report.error().detail);
    const fs::path theirs = main / "gguf" / fmt::format("llama256.{}{}.gguf", format, weighted ? ".imat" : "");
    const Measured a = measure(reference, out, text.windows), b = measure(reference, theirs, text.windows);
    const auto [more, error] = difference(a.nll, b.nll);
    if (show) fmt::print("| {}{} | {:.5f} | {:.5f} | {:.2f} | {:.2f} | {:.2f} ± {:.2f} % | {:.1f} s |\n", format, weighted ? ", with importance" : "", a.divergence, b.divergence, perplexity(a.nll), perplexity(b.nll), 100 * more, 100 * error, report->seconds);
    CAPTURE(format);
    CHECK(fs::file_size(out) <= fs::file_size(theirs) + 1024);  // notes
    CHECK(a.divergence <= 1.01 * b.divergence);
    CHECK(more <= 0.01 * b.divergence);
  }
  fs::remove(out);
}

}  // namespace
}  // namespace quantfleet
