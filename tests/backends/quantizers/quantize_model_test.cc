// Whole models: the types and bytes of llama-quantize, the same bytes for any number of threads, nothing left behind.
#include "backends/quantizers/quantize_model.h"

#include "backends/formats/catalog.h"
#include "backends/formats/file_hash.h"
#include "backends/formats/gguf.h"
#include "backends/quantizers/imatrix_file.h"
#include "backends/quantizers/mixes.h"
#include "tests/folder.h"
#include "tests/golden/seeded_row.h"
#include "tests/shared_data.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

using namespace quantfleet;

namespace {

using test::Folder;

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

// A model of F32 tensors filled from the seeded row; `poison` goes to the last value of the last tensor.
void write_model(const std::filesystem::path& path, const std::vector<Tensor>& tensors, std::int64_t layers = 2, float poison = 0.5f,
                 const std::string& architecture = "llama", std::int64_t experts = 0) {
  std::vector<GgufWriter::TensorPlan> plan;
  for (const Tensor& tensor : tensors) plan.push_back({tensor.name, &kF32, tensor.shape});
  const auto count = [](std::int64_t n) { return gguf_uint32(static_cast<std::uint32_t>(n)); };
  auto writer = GgufWriter::create(path, {{"general.architecture", gguf_string(architecture)},
                                          {architecture + ".block_count", count(layers)},
                                          {architecture + ".attention.head_count", count(8)},
                                          {architecture + ".attention.head_count_kv", count(4)},
                                          {architecture + ".expert_count", count(experts)}}, plan).value();
  const std::vector<float> row = test::seeded_row().values;
  for (std::size_t t = 0; t < plan.size(); ++t) {
    std::int64_t total = 1;
    for (const std::int64_t n : plan[t].shape) total *= n;
    std::vector<float> values(static_cast<std::size_t>(total));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = row[(i * 7 + i / 256 + t) % 256];
    if (t + 1 == plan.size()) values.back() = poison;
    REQUIRE(writer->write(std::as_bytes(std::span(values))).has_value());
  }
  REQUIRE(writer->finish().has_value());
}

std::vector<Tensor> small_model(std::int64_t columns = 256) {
  std::vector<Tensor> tensors = {{"token_embd.weight", {columns, 8}}, {"output_norm.weight", {columns}}, {"output.weight", {columns, 8}}};
  for (const char* name : {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"})
    for (int layer = 0; layer < 2; ++layer) {
      const std::string full = fmt::format("blk.{}.{}.weight", layer, name);
      tensors.push_back({full, std::string(name) == "attn_norm" ? std::vector<std::int64_t>{columns} : std::vector<std::int64_t>{columns, 4}});
    }
  return tensors;
}

QuantizeOptions with_format(std::string format, int threads = 1) {
  QuantizeOptions options;
  options.format = std::move(format);
  options.threads = threads;
  return options;
}

std::string_view format_of(const GgufFile& file, std::string_view tensor) { return file.find_tensor(tensor)->format->name; }

// Differences in format and in bytes between two models, by tensor name.
void check_same_tensors(const GgufFile& ours, const GgufFile& reference) {
  REQUIRE(ours.tensors().size() == reference.tensors().size());
  for (const GgufTensor& expected : reference.tensors()) {
    CAPTURE(expected.name);
    const GgufTensor* tensor = ours.find_tensor(expected.name);
    REQUIRE(tensor);
    CHECK(tensor->format->name == expected.format->name);
    REQUIRE(tensor->bytes.size() == expected.bytes.size());
    CHECK(std::memcmp(tensor->bytes.data(), expected.bytes.data(), expected.bytes.size()) == 0);
  }
}

}  // namespace

TEST_CASE("the oracle's models become, tensor for tensor, what llama-quantize makes of them", "[quantizers][oracle]") {
  if (!test::has_shared("oracle/models/main/llama256.f32.gguf.zst")) return;
  const Folder folder;
  const auto out = folder.path / "out.gguf";
  const auto models = test::shared_root() / "oracle/models";
  struct Case { std::filesystem::path in, reference; const char* format; bool weighted; };
  std::vector<Case> cases;
  const auto llama256 = test::unpacked("oracle/models/main/llama256.f32.gguf.zst");
  for (const char* format : {"Q3_K_M", "Q4_0", "Q4_1", "Q4_K_M", "Q5_0", "Q5_1", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_XS"})
    cases.push_back({llama256, models / "main/gguf" / fmt::format("llama256.{}.gguf", format), format, false});
  cases.push_back({llama256, models / "main/gguf/llama256.Q2_K.imat.gguf", "Q2_K", true});
  for (const char* format : {"Q4_K_M", "Q5_K_M", "Q6_K"})  // rows of 64 and 172: every matrix falls back
    cases.push_back({models / "stories260K/stories260K.f32.gguf", models / "stories260K" / fmt::format("stories260K.{}.gguf", format),
                     format, false});
  for (const auto& [model, format] : {std::pair("mixtral_like", "Q8_0"), std::pair("mixtral_like", "Q4_K_M"), std::pair("qwen2", "Q4_K_M")})
    cases.push_back({test::unpacked(fmt::format("oracle/models/arch/{}.gguf.zst", model)),
                     models / "arch/quantized" / fmt::format("{}.{}.gguf", model, format), format, false});
  for (const Case& one : cases) {
    CAPTURE(one.reference.string());
    QuantizeOptions options = with_format(one.format, 2);
    if (one.weighted) options.importance_matrix = models / "main/imatrix.dat";
    const auto report = quantize_model(one.in, out, options);
    REQUIRE(report.has_value());
    check_same_tensors(*GgufFile::open(out).value(), *GgufFile::open(one.reference).value());
    CHECK(report->output_bytes == std::filesystem::file_size(out));
    CHECK(GgufFile::open(out).value()->get_int("general.file_type").value() == find_mix(one.format)->file_type);
  }
}

TEST_CASE("the bytes do not depend on the number of threads", "[quantizers]") {
  const Folder folder;
  write_model(folder.path / "in.gguf", small_model());
  for (const char* format : {"Q4_K_M", "Q2_K", "Q8_0"}) {
    std::string first;
    double first_rmse = 0;
    for (const int threads : {1, 2, 7}) {
      const auto report = quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format(format, threads)).value();
      const std::string hash = sha256_of_file(folder.path / "out.gguf").value();
      if (first.empty()) first = hash, first_rmse = report.tensors.back().rmse;
      CAPTURE(format, threads);
      CHECK(hash == first);
      CHECK(report.tensors.back().rmse == first_rmse);
    }
  }
}

TEST_CASE("the report's numbers are those of the file", "[quantizers]") {
  const Folder folder;
  write_model(folder.path / "in.gguf", small_model());
  const auto report = quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format("Q8_0")).value();
  const auto before = GgufFile::open(folder.path / "in.gguf").value(), after = GgufFile::open(folder.path / "out.gguf").value();
  double bytes = 0, values = 0;
  for (const GgufTensor& tensor : after->tensors()) bytes += static_cast<double>(tensor.bytes.size()), values += static_cast<double>(tensor.count_values());
  CHECK(report.bits_per_weight == Approx(bytes * 8 / values));
  CHECK(report.input_bytes == std::filesystem::file_size(folder.path / "in.gguf"));
  REQUIRE(report.tensors.size() == after->tensors().size());
  const GgufTensor* tensor = after->find_tensor("blk.0.attn_q.weight");
  std::vector<float> decoded(1024), original(1024);
  tensor->format->decode(tensor->bytes.data(), 32, decoded.data());
  kF32.decode(before->find_tensor(tensor->name)->bytes.data(), 1024, original.data());
  double sum = 0;
  for (std::size_t i = 0; i < 1024; ++i) sum += (double(decoded[i]) - original[i]) * (double(decoded[i]) - original[i]);
  for (const QuantizedTensor& one : report.tensors) {
    if (one.name == tensor->name) CHECK(one.rmse == Approx(std::sqrt(sum / 1024)));
    if (one.format == &kF32) CHECK(one.rmse == 0);
  }
}

TEST_CASE("mixes give some tensors more bits", "[quantizers][mixes]") {
  const Folder folder;
  write_model(folder.path / "in.gguf", small_model());
  const auto quantized = [&](const char* format) {
    REQUIRE(quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format(format)).has_value());
    return GgufFile::open(folder.path / "out.gguf").value();
  };
  SECTION("Q4_K_M") {
    const auto file = quantized("Q4_K_M");
    CHECK(format_of(*file, "output.weight") == "Q6_K");
    CHECK(format_of(*file, "token_embd.weight") == "Q4_K");
    CHECK(format_of(*file, "blk.0.attn_norm.weight") == "F32");
    CHECK(format_of(*file, "blk.0.attn_q.weight") == "Q4_K");
    CHECK(format_of(*file, "blk.0.ffn_down.weight") == "Q4_K");  // of two layers the last is in the last eighth
    CHECK(format_of(*file, "blk.1.ffn_down.weight") == "Q6_K");
    CHECK(format_of(*file, "blk.1.attn_v.weight") == "Q6_K");
  }
  SECTION("Q2_K contains Q3_K") {
    const auto file = quantized("Q2_K");
    CHECK(format_of(*file, "blk.0.attn_q.weight") == "Q2_K");
    CHECK(format_of(*file, "blk.0.attn_v.weight") == "Q3_K");
    CHECK(format_of(*file, "blk.0.ffn_down.weight") == "Q3_K");
    CHECK(format_of(*file, "blk.0.attn_output.weight") == "Q3_K");
  }
  SECTION("Q3_K_L") {
    const auto file = quantized("Q3_K_L");
    CHECK(format_of(*file, "blk.0.attn_v.weight") == "Q5_K");
    CHECK(format_of(*file, "blk.0.ffn_up.weight") == "Q3_K");
  }
  SECTION("plain floats touch matrices only, F32 everything") {
    CHECK(format_of(*quantized("BF16"), "output.weight") == "BF16");
    CHECK(format_of(*quantized("F16"), "blk.0.attn_norm.weight") == "F32");
    CHECK(format_of(*quantized("f32"), "output.weight") == "F32");
  }
}

TEST_CASE("eight experts keep attn_k and attn_v at eight bits", "[quantizers][mixes]") {
  const Folder folder;
  write_model(folder.path / "in.gguf", small_model(), 2, 0.5f, "llama", 8);
  REQUIRE(quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format("Q4_K_M")).has_value());
  const auto file = GgufFile::open(folder.path / "out.gguf").value();
  CHECK(format_of(*file, "blk.0.attn_v.weight") == "Q8_0");
  CHECK(format_of(*file, "blk.0.attn_k.weight") == "Q8_0");
  CHECK(format_of(*file, "blk.0.attn_output.weight") == "Q5_K");
}

TEST_CASE("rows that are not whole blocks fall back to smaller blocks, then to F16", "[quantizers][mixes]") {
  const Folder folder;
  struct Case { const char* format; const char* of_96; const char* of_100; };
  for (const Case& one : {Case{"Q4_K_S", "Q5_0", "F16"}, Case{"Q5_K_S", "Q5_1", "F16"}, Case{"Q6_K", "Q8_0", "F16"},
                          Case{"Q3_K_S", "Q4_0", "F16"}, Case{"Q8_0", "Q8_0", "F16"}, Case{"Q4_0", "Q4_0", "F16"}}) {
    CAPTURE(one.format);
    for (const auto& [columns, expected] : {std::pair(96, one.of_96), std::pair(100, one.of_100)}) {
      write_model(folder.path / "in.gguf", small_model(columns));
      REQUIRE(quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format(one.format)).has_value());
      CHECK(format_of(*GgufFile::open(folder.path / "out.gguf").value(), "blk.0.ffn_up.weight") == expected);
    }
  }
}

TEST_CASE("a quantized model can be quantized again, and to floats", "[quantizers]") {
  const Folder folder;
  write_model(folder.path / "in.gguf", small_model());
  REQUIRE(quantize_model(folder.path / "in.gguf", folder.path / "q8.gguf", with_format("Q8_0")).has_value());
  REQUIRE(quantize_model(folder.path / "q8.gguf", folder.path / "f32.gguf", with_format("F32")).has_value());
  REQUIRE(quantize_model(folder.path / "f32.gguf", folder.path / "again.gguf", with_format("Q8_0")).has_value());
  CHECK(sha256_of_file(folder.path / "again.gguf").value() == sha256_of_file(folder.path / "q8.gguf").value());
}

TEST_CASE("a weight that is not finite is an error that names tensor, row and column", "[quantizers][damage]") {
  const Folder folder;
  for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const char* format : {"Q4_K_M", "F32", "F16"}) {
      write_model(folder.path / "in.gguf", small_model(), 2, poison);
      const auto report = quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format(format, 2));
      REQUIRE_FALSE(report.has_value());
      CHECK(report.error().code == Code::kNonFinite);
      CHECK(report.error().detail.find("blk.1.ffn_down.weight, row 3, column 255") != std::string::npos);
      CHECK(folder.count_files() == 1);
    }
}

TEST_CASE("a weight too large for binary16 is refused where scales or values are binary16", "[quantizers][damage]") {
  const Folder folder;
  write_model(folder.path / "in.gguf", small_model(), 2, 1e6f);
  for (const char* format : {"F16", "Q8_0", "Q4_K_M"})
    CHECK(quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format(format)).error().code == Code::kBadValue);
  CHECK(quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", with_format("BF16")).has_value());
}

TEST_CASE("stopping leaves nothing behind", "[quantizers]") {
  const Folder folder;
  write_model(folder.path / "in.gguf", small_model());
  int calls = 0;
  QuantizeOptions options = with_format("Q8_0");
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    CHECK(done <= total);
    return ++calls < 3;
  };
  CHECK(quantize_model(folder.path / "in.gguf", folder.path / "out.gguf", options).error().code == Code::kInterrupted);
  CHECK(calls == 3);
  CHECK(folder.count_files() == 1);
}

TEST_CASE("what cannot be quantized is one sentence", "[quantizers][damage]") {
  const Folder folder;
  const auto in = folder.path / "in.gguf", out = folder.path / "out.gguf";
  write_model(in, small_model());
  CHECK(quantize_model(in, out, with_format("Q9")).error().code == Code::kUnknownFormat);
  CHECK(quantize_model(folder.path / "absent.gguf", out, with_format("Q8_0")).error().code == Code::kNotFound);
  CHECK(quantize_model(in, in, with_format("Q8_0")).error().code == Code::kUsage);
  CHECK(quantize_model(in, folder.path / "no" / "out.gguf", with_format("Q8_0")).error().code == Code::kNotFound);
  CHECK(folder.count_files() == 1);
}

TEST_CASE("importance matrices: both layouts, lengths checked, the sentence names the tensor", "[quantizers][imatrix]") {
  const Folder folder;
  const auto in = folder.path / "in.gguf", out = folder.path / "out.gguf", file = folder.path / "imatrix.dat";
  write_model(in, small_model());
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = {test::seeded_row().importance, 4};
  matrix.chunks = 4;
  matrix.dataset = "calibration.txt";
  REQUIRE(write_importance_matrix(file, matrix).has_value());

  SECTION("what is written reads back") {
    const auto read = read_importance_matrix(file).value();
    CHECK(read.chunks == 4);
    CHECK(read.dataset == "calibration.txt");
    CHECK(read.entries.at("blk.0.attn_q.weight").mean_square == matrix.entries["blk.0.attn_q.weight"].mean_square);
  }
  SECTION("it changes the tensor it names, and the file says so") {
    QuantizeOptions options = with_format("Q4_K_S");
    REQUIRE(quantize_model(in, out, options).has_value());
    const std::string without = sha256_of_bytes(GgufFile::open(out).value()->find_tensor("blk.0.attn_q.weight")->bytes);
    options.importance_matrix = file;
    REQUIRE(quantize_model(in, out, options).has_value());
    const auto quantized = GgufFile::open(out).value();
    CHECK(sha256_of_bytes(quantized->find_tensor("blk.0.attn_q.weight")->bytes) != without);
    CHECK(quantized->get_string("quantize.imatrix.file").value() == "imatrix.dat");
  }
  SECTION("a wrong length is refused") {
    matrix.entries["blk.0.attn_q.weight"].mean_square.pop_back();
    REQUIRE(write_importance_matrix(file, matrix).has_value());
    QuantizeOptions options = with_format("Q4_K_S");
    options.importance_matrix = file;
    const auto error = quantize_model(in, out, options).error();
    CHECK(error.code == Code::kBadShape);
    CHECK(error.detail.find("blk.0.attn_q.weight") != std::string::npos);
  }
  SECTION("one of another model is refused, with the tensor") {
    const auto error = [&] {
      REQUIRE(write_importance_matrix(file, matrix).has_value());
      QuantizeOptions options = with_format("Q4_K_S");
      options.importance_matrix = file;
      const auto report = quantize_model(in, out, options);
      CHECK(!std::filesystem::exists(out));
      return report ? std::string() : report.error().detail;
    };
    matrix.entries["blk.2.attn_q.weight"] = matrix.entries["blk.0.attn_q.weight"];
    CHECK_THAT(error(), Catch::Contains("imatrix.dat: is of another model: it names tensor blk.2.attn_q.weight, which") && Catch::Contains("in.gguf does not have"));
    matrix.entries = {{"encoder.weight", {{1, 2}, 1}}};
    CHECK_THAT(error(), Catch::Contains("imatrix.dat: names no tensor of") && Catch::Contains("in.gguf"));
    matrix.entries = {{"blk.1.ffn_up.weight", {{1, 2}, 1}}};
    CHECK_THAT(error(), Catch::Contains("imatrix.dat: has 2 values for tensor blk.1.ffn_up.weight of") && Catch::Contains("which has 256 columns"));
  }
  SECTION("cut after any byte: refused, or only the notes at the end are gone") {
    std::ifstream stream(file, std::ios::binary);
    const std::string whole((std::istreambuf_iterator<char>(stream)), {});
    const std::size_t end_of_entries = whole.size() - 4 - 4 - matrix.dataset.size();
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const auto parsed = parse_importance_matrix(std::as_bytes(std::span(whole.data(), size)), "cut.dat");
      CAPTURE(size);
      CHECK(parsed.has_value() == (size == end_of_entries || size == end_of_entries + 4));
    }
  }
  SECTION("a name of two gigabytes, or of less than nothing, is refused before anything is reserved") {
    for (const std::int32_t length : {65'536, 0x7fffffff, -1}) {
      const std::int32_t header[] = {1, length, 0, 0};
      CHECK(parse_importance_matrix(std::as_bytes(std::span(header)), "bad.dat").error().code == Code::kBadValue);
    }
  }
  SECTION("a NaN is refused") {
    matrix.entries["blk.0.attn_q.weight"].mean_square[3] = std::numeric_limits<float>::quiet_NaN();
    REQUIRE(write_importance_matrix(file, matrix).has_value());
    CHECK(read_importance_matrix(file).error().code == Code::kNonFinite);
  }
  SECTION("the GGUF layout: sums divided by counts") {
    const auto path = folder.path / "imatrix.gguf";
    auto writer = GgufWriter::create(path, {{"general.type", gguf_string("imatrix")}, {"imatrix.chunk_count", gguf_uint32(2)}},
                                     {{"a.weight.in_sum2", &kF32, {4, 1}}, {"a.weight.counts", &kF32, {1, 1}}}).value();
    const std::vector<float> sums = {2, 4, 6, 8}, counts = {2};
    REQUIRE(writer->write(std::as_bytes(std::span(sums))).has_value());
    REQUIRE(writer->write(std::as_bytes(std::span(counts))).has_value());
    REQUIRE(writer->finish().has_value());
    CHECK(read_importance_matrix(path).value().entries.at("a.weight").mean_square == std::vector<float>{1, 2, 3, 4});
  }
}

TEST_CASE("every expert is encoded with its own importance", "[quantizers][imatrix]") {
  const Folder folder;
  const auto in = folder.path / "in.gguf", out = folder.path / "out.gguf", file = folder.path / "imatrix.dat";
  std::vector<Tensor> tensors = small_model();
  tensors.push_back({"blk.0.ffn_up_exps.weight", {256, 4, 2}});
  write_model(in, tensors, 2, 0.5f, "llama", 2);
  const auto encoded = [&](const std::vector<float>& first, const std::vector<float>& second) {
    ImportanceMatrix matrix;
    std::vector<float> both = first;
    both.insert(both.end(), second.begin(), second.end());
    matrix.entries["blk.0.ffn_up_exps.weight"] = {both, 1};
    REQUIRE(write_importance_matrix(file, matrix).has_value());
    QuantizeOptions options = with_format("Q4_K_M");
    options.importance_matrix = file;
    REQUIRE(quantize_model(in, out, options).has_value());
    const auto quantized = GgufFile::open(out).value();
    const GgufTensor& tensor = *quantized->find_tensor("blk.0.ffn_up_exps.weight");
    CHECK(tensor.shape == std::vector<std::int64_t>{256, 4, 2});
    const std::string bytes(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
    return std::pair(bytes.substr(0, bytes.size() / 2), bytes.substr(bytes.size() / 2));
  };
  std::vector<float> rising, falling;
  for (int i = 0; i < 256; ++i) rising.push_back(1.0f + static_cast<float>(i * i)), falling.push_back(1.0f + static_cast<float>((255 - i) * (255 - i)));
  const auto [a0, a1] = encoded(rising, rising);
  const auto [b0, b1] = encoded(rising, falling);
  CHECK(a0 == b0);
  CHECK(a1 != b1);
}

TEST_CASE("the oracle's importance matrix is read", "[quantizers][oracle][imatrix]") {
  if (!test::has_shared("oracle/models/main/imatrix.dat")) return;
  const auto matrix = read_importance_matrix(test::shared_root() / "oracle/models/main/imatrix.dat").value();
  CHECK(matrix.entries.at("blk.0.attn_q.weight").mean_square.size() == 256);
  CHECK(matrix.entries.at("blk.0.ffn_down.weight").mean_square.size() == 512);
}
