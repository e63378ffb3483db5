// Rotated models: matrices of Hadamard's kind are orthogonal; the answers stay; quantizing a model with outliers costs less; what cannot be
// turned is refused in one sentence.
#include "backends/quantizers/rotation.h"

#include "backends/calibration/quantize_checkpoint.h"
#include "backends/formats/block_format.h"
#include "backends/quantizers/hadamard.h"
#include "backends/quantizers/quantize_checkpoint.h"
#include "tests/backends/calibration/divergence.h"
#include "tests/folder.h"
#include "tests/random_model.h"
#include "tests/shared_data.h"


#include <iterator>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using test::Folder, test::contents;

std::vector<std::vector<std::int32_t>> some_windows(int count, int tokens) {
  std::vector<std::vector<std::int32_t>> windows(static_cast<std::size_t>(count));
  for (std::size_t w = 0; w < windows.size(); ++w)
    for (int i = 0; i < tokens; ++i) windows[w].push_back(static_cast<std::int32_t>((w * 131 + static_cast<std::size_t>(i) * 37 + 5) % 250));
  return windows;
}

TEST_CASE("a Hadamard rotation is orthogonal, flat and the seed's own", "[rotation]") {
  // Sylvester's; Paley's first with 11 and 19; his second with 13 and 17; products with powers of two; widths of published models.
  for (const std::int64_t n : {1, 2, 64, 12, 20, 28, 36, 24, 80, 96, 576, 896}) {
    CAPTURE(n);
    const auto rotation = HadamardRotation::create(n, 7).value();
    std::vector<double> rows(static_cast<std::size_t>(n * n));
    for (std::int64_t i = 0; i < n; ++i) {
      std::vector<double> unit(static_cast<std::size_t>(n));
      unit[static_cast<std::size_t>(i)] = 1;
      rotation.apply(unit.data(), 1);
      std::copy(unit.begin(), unit.end(), rows.begin() + i * n);
    }
    double worst = 0;
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t j = i; j < std::min(n, i + 40); ++j) {
        double product = 0;
        for (std::int64_t k = 0; k < n; ++k) product += rows[static_cast<std::size_t>(i * n + k)] * rows[static_cast<std::size_t>(j * n + k)];
        worst = std::max(worst, std::fabs(product - (i == j)));
      }
    CHECK(worst < 1e-12);
    for (const double value : rows) REQUIRE(std::fabs(std::fabs(value) - 1 / std::sqrt(static_cast<double>(n))) < 1e-12);
  }
  std::vector<double> lanes = {1, 2, 3, 4, 5, 6, 7, 8}, one = {1, 3, 5, 7}, other = one;
  HadamardRotation::create(4, 7).value().apply(lanes.data(), 2);
  HadamardRotation::create(4, 7).value().apply(one.data(), 1);
  HadamardRotation::create(4, 6).value().apply(other.data(), 1);
  for (int i = 0; i < 4; ++i) CHECK(lanes[static_cast<std::size_t>(2 * i)] == one[static_cast<std::size_t>(i)]);
  CHECK(one != other);
  for (const std::int64_t width : {3072, 3584, 5120, 5376, 8192}) CHECK(HadamardRotation::create(width, 0).value().size() == width);
  CHECK_THAT(HadamardRotation::create(6, 0).error().detail, Catch::Contains("no Hadamard matrix of 6 rows"));
}

// A random model with the biases that Llama checkpoints may have: of q, k, v and the output matrix, of gate, up and down.
void write_with_biases(const fs::path& from, const fs::path& to) {
  const auto model = open_model_file(from).value();
  std::vector<GgufWriter::TensorPlan> plan;
  for (const GgufTensor& tensor : model->tensors()) plan.push_back({tensor.name, tensor.format, tensor.shape});
  const std::size_t count = plan.size();
  for (std::size_t i = 0; i < count; ++i)
    if (plan[i].name.starts_with("blk.") && plan[i].shape.size() == 2) plan.push_back({plan[i].name.substr(0, plan[i].name.size() - 6) + "bias", find_format("F32"), {plan[i].shape[1]}});
  auto writer = GgufWriter::create(to, model->metadata(), plan).value();
  std::vector<std::byte> buffer;
  for (const GgufTensor& tensor : model->tensors()) REQUIRE(writer->write(model->rows(tensor, 0, tensor.rows(), buffer)).has_value());
  for (std::size_t i = count; i < plan.size(); ++i) {
    std::vector<float> values;
    for (std::int64_t k = 0; k < plan[i].shape[0]; ++k) values.push_back(0.01f * static_cast<float>((k * 37 + static_cast<std::int64_t>(i) * 11) % 101 - 50));
    REQUIRE(writer->write(std::as_bytes(std::span(values))).has_value());
  }
  REQUIRE(writer->finish().has_value());
}

TEST_CASE("biases turn with what they are added to", "[rotation]") {
  const Folder folder;
  REQUIRE(test::write_random_model(folder.path / "plain.gguf", {}).has_value());
  write_with_biases(folder.path / "plain.gguf", folder.path / "model.gguf");
  const auto model = open_model_file(folder.path / "model.gguf").value();
  const auto windows = some_windows(2, 24);
  const std::vector<float> plain = test::logits_of(model, windows), turned = test::logits_of(rotate_model(model, {3}, 2).value(), windows);
  float most = 0, largest = 0;
  for (std::size_t i = 0; i < plain.size(); ++i) {
    most = std::max(most, std::fabs(plain[i] - turned[i]));
    largest = std::max(largest, std::fabs(plain[i]));
  }
  CHECK(most < 2e-5f * largest);
  CHECK(most > 0);
  CHECK(test::mean_divergence(plain, test::logits_of(folder.path / "plain.gguf", windows), 300) > 1e-3);  // they matter
}

TEST_CASE("a rotated model gives the same logits", "[rotation][oracle]") {
  for (const char* name : {"llama_gqa", "llama3_ropefreqs_bpe", "mistral_like", "mixtral_like", "qwen2", "qwen2moe", "phi3"}) {
    CAPTURE(name);
    const std::string path = fmt::format("oracle/models/arch/{}.gguf.zst", name);
    if (!test::has_shared(path)) return;
    const auto model = open_model_file(test::unpacked(path)).value();
    const auto rotated = rotate_model(model, {3}, 2);
    if (!rotated) FAIL(rotated.error().detail);
    const auto windows = some_windows(2, 24);
    const std::vector<float> plain = test::logits_of(model, windows), turned = test::logits_of(*rotated, windows);
    REQUIRE(plain.size() == turned.size());
    float most = 0, largest = 0;
    for (std::size_t i = 0; i < plain.size(); ++i) {
      most = std::max(most, std::fabs(plain[i] - turned[i]));
      largest = std::max(largest, std::fabs(plain[i]));
    }
    CAPTURE(most, largest);
    CHECK(most < 2e-5f * largest);  // F32 rounds at 6e-8 in each of some hundred sums of hundreds of products
    CHECK(most > 0);
    CHECK((*rotated)->find_tensor("output.weight") != nullptr);
    CHECK((*rotated)->string_or("quantfleet.rotation", "").value() == "hadamard, seed 3");
  }
}

TEST_CASE("a rotated model is the same file for any number of threads, and a folder that opens", "[rotation]") {
  const Folder folder;
  const fs::path model = folder.path / "model.gguf";
  REQUIRE(test::write_random_model(model, {.tied = true}).has_value());
  QuantizeOptions options;
  options.format = "F32";
  options.rotation = Rotation{5};
  REQUIRE(quantize_model(model, folder.path / "one.gguf", options).has_value());
  options.threads = 3;
  REQUIRE(quantize_model(model, folder.path / "three.gguf", options).has_value());
  CHECK(contents(folder.path / "one.gguf") == contents(folder.path / "three.gguf"));
  options.rotation = Rotation{6};
  REQUIRE(quantize_model(model, folder.path / "other.gguf", options).has_value());
  CHECK(contents(folder.path / "one.gguf") != contents(folder.path / "other.gguf"));

  // Folders: of the GGUF file, and of a tied folder, whose config.json must no longer say so.
  options.format = "bnb-int8";
  options.rotation = {};
  REQUIRE(quantize_checkpoint(model, folder.path / "plain", options).has_value());
  options.format = "w8a16";
  options.rotation = Rotation{5};
  for (const char* in : {"model.gguf", "plain"}) {
    CAPTURE(in);
    const fs::path out = folder.path / fmt::format("turned-{}", in);
    const auto report = quantize_checkpoint(folder.path / in, out, options);
    if (!report) FAIL(report.error().detail);
    const auto windows = some_windows(2, 24);
    CHECK(open_model_file(out).value()->find_tensor("output.weight") != nullptr);
    CHECK(test::mean_divergence(test::logits_of(model, windows), test::logits_of(out, windows), 300) < 2e-3);
  }
}

TEST_CASE("rotating first saves a model with outlier channels, in every kind of quantizer", "[rotation][oracle]") {
  if (!test::has_shared("oracle/models/main/imatrix.dat")) return;
  const Folder folder;
  const fs::path hard = folder.path / "hard.gguf", text = test::shared_root() / "oracle/text/calib_visible.txt";
  test::write_with_outliers(test::unpacked("oracle/models/main/llama256.f32.gguf.zst"), hard);
  const auto tokenizer = Tokenizer::from_gguf(*open_model_file(hard).value()).value();
  const auto windows = read_calibration_text(*tokenizer, {test::shared_root() / "oracle/text/eval_visible.txt", 128, 2, 0}).value().windows;
  const std::vector<float> reference = test::logits_of(hard, windows);
  const auto divergence_of = [&](const std::string& format, bool rotate) {
    const fs::path out = folder.path / fmt::format("{}-{}", format, rotate);
    const std::optional<Rotation> rotation = rotate ? std::optional<Rotation>(Rotation{1}) : std::nullopt;
    if (is_calibrated_format(format)) {
      CalibratedOptions options;
      options.format = parse_calibrated_format(format).value();
      options.text = {text, 128, 4, 0};
      options.rotation = rotation;
      options.threads = 2;
      REQUIRE(quantize_checkpoint(hard, out, options).has_value());
    } else {
      QuantizeOptions options;
      options.format = format;
      options.rotation = rotation;
      options.threads = 2;
      REQUIRE((format == "w4a16" ? quantize_checkpoint(hard, out, options) : quantize_model(hard, out, options)).has_value());
    }
    return test::mean_divergence(reference, test::logits_of(out, windows), 512);
  };
  for (const char* format : {"Q4_0", "w4a16", "GPTQ-4bit-g128"}) {
    CAPTURE(format);
    const double plain = divergence_of(format, false), rotated = divergence_of(format, true);
    CAPTURE(plain, rotated);
    CHECK(rotated < 0.7 * plain);
  }
}

TEST_CASE("what a rotation would change is refused in one sentence", "[rotation][oracle]") {
  const std::map<std::string, std::string> reasons = {{"gpt2", "norms that subtract the mean"}, {"gemma2", "norms behind attention"}, {"olmo2", "norms behind attention"}, {"gemma", "output matrix always"}};
  for (const auto& [name, reason] : reasons) {
    const std::string path = fmt::format("oracle/models/arch/{}.gguf.zst", name);
    if (!test::has_shared(path)) return;
    const auto refused = rotate_model(open_model_file(test::unpacked(path)).value(), {}, 1);
    REQUIRE(!refused.has_value());
    CHECK(refused.error().code == Code::kUnsupported);
    CHECK_THAT(refused.error().detail, Catch::Contains(reason));
  }
  const Folder folder;
  REQUIRE(test::write_random_model(folder.path / "odd.gguf", {.width = 72, .heads = 12, .kv_heads = 6}).has_value());  // heads of 6
  CHECK_THAT(rotate_model(open_model_file(folder.path / "odd.gguf").value(), {}, 1).error().detail, Catch::Contains("no Hadamard matrix of 6 rows"));
  QuantizeOptions options;
  options.format = "Q4_0";
  options.rotation = Rotation{};
  options.importance_matrix = folder.path / "any.dat";
  CHECK(quantize_model(folder.path / "odd.gguf", folder.path / "out.gguf", options).error().code == Code::kUsage);
  CHECK(!fs::exists(folder.path / "out.gguf"));
}

}  // namespace
}  // namespace quantfleet
