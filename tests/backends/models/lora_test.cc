// LoRA adapters: what PEFT computes with them (tests/interop/lora.py made tests/golden/lora), the same bits however the work is cut, and one
// sentence for an adapter that is of another model.
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/peft_adapter.h"
#include "backends/models/transformer.h"
#include "tests/folder.h"
#include "tests/paths.h"
#include "tests/random_model.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using test::contents;

const fs::path kModels = test::source_dir() / "tests/golden/huggingface", kAdapters = test::source_dir() / "tests/golden/lora";

std::vector<float> read_floats(const fs::path& path) {
  const std::string bytes = contents(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

struct ModelFolder : test::Folder {
  // A golden model with the tokenizer that all share.
  std::shared_ptr<const GgufFile> model(const std::string& name) const {
    fs::create_directories(path / name);
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) fs::copy_file(kModels / file, path / name / file, fs::copy_options::overwrite_existing);
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(kModels / name / file, path / name / file, fs::copy_options::overwrite_existing);
    return open_model_file(path / name).value();
  }
};

struct Computation {
  std::string kernels = "scalar";
  int threads = 1;
  std::int64_t chunk_rows = 256;
  ActivationKind activations = ActivationKind::kF32;
};

std::vector<float> logits(const std::shared_ptr<const GgufFile>& file, const std::vector<AppliedAdapter>& adapters, std::span<const std::int32_t> ids,
                          const Computation& how = {}) {
  ThreadPool pool(how.threads);
  const auto model = load_model(file, *find_kernels(how.kernels).value(), pool, false, adapters).value();
  KvCache cache(model->config);
  KvSequence sequence(cache);
  Transformer transformer(model, how.activations, pool, how.chunk_rows);
  std::vector<float> all;
  const Transformer::Segment segment{&sequence, ids, 0};
  REQUIRE(transformer.forward({&segment, 1}, [&](std::size_t, std::int64_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); }).has_value());
  return all;
}

AppliedAdapter applied(Result<LoraAdapter> adapter, float scale = 1) { return {std::make_shared<const LoraAdapter>(adapter.value()), scale}; }

double largest_difference(std::span<const float> a, std::span<const float> b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

TEST_CASE("an adapter gives the logits that PEFT computes with it", "[models][lora]") {
  // Rows of q and k in pairs, an embedding that is scaled and tied, fused projections, alpha over the root of the rank, ranks and alphas of
  // single modules: each in one of them.
  const ModelFolder folder;
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(kAdapters)) {
    CAPTURE(entry.path().filename().string());
    const Json expected = Json::parse(contents(entry.path() / "expected.json"));
    const auto ids = expected["ids"].get<std::vector<std::int32_t>>();
    const auto base = folder.model(expected["base"]);
    const auto agree = [&](const fs::path& adapter, const std::string& file) {
      const std::vector<float> all = logits(base, {applied(open_lora_adapter(adapter, *base))}, ids), rows = read_floats(entry.path() / file);
      // F32 sums of a few hundred numbers in another order, logits up to 10: measured at most 6.1e-5.
      CHECK(largest_difference(std::span(all).last(rows.size()), rows) < 1e-4);
      ++compared;
    };
    agree(entry.path(), "expected.f32");
    if (fs::exists(entry.path() / "adapter.gguf")) agree(entry.path() / "adapter.gguf", "expected_gguf.f32");
  }
  CHECK(compared == 10);
}

const std::vector<std::int32_t> kIds = {5, 53, 171, 17, 9, 200, 4, 1, 77, 250, 3, 8, 100, 31, 32, 33, 34, 2, 6, 90};

TEST_CASE("a folder written as an adapter file is the same adapter, bit for bit", "[models][lora]") {
  const ModelFolder folder;
  const auto base = folder.model("llama");
  const LoraAdapter from_folder = open_lora_adapter(kAdapters / "llama_all", *base).value();
  REQUIRE(write_lora_adapter(from_folder, folder.path / "written.gguf").has_value());
  CHECK(logits(base, {applied(open_lora_adapter(folder.path / "written.gguf", *base))}, kIds) == logits(base, {applied(from_folder)}, kIds));
  SECTION("one file has one alpha") {
    const Status written = write_lora_adapter(open_lora_adapter(kAdapters / "llama_ranks", *base).value(), folder.path / "no.gguf");
    REQUIRE(written.has_error());
    CHECK(written.error().code == Code::kUnsupported);
    CHECK_FALSE(fs::exists(folder.path / "no.gguf"));
  }
}

TEST_CASE("with an adapter, too, no bit depends on threads, kernels, chunks or company", "[models][lora]") {
  const ModelFolder folder;
  test::RandomModel shape;
  shape.format = GENERATE("F32", "Q4_0");
  const fs::path path = folder.path / "random.gguf";
  REQUIRE(test::write_random_model(path, shape).has_value());
  const auto base = GgufFile::open(path).value();
  LoraAdapter adapter{"made here", "llama", {}};
  std::uint64_t state = 7;
  const auto add = [&](std::string tensor, std::int64_t rows, std::int64_t columns, std::int64_t rank) {
    LowRankUpdate update{std::move(tensor), -1, rank, rows, columns, {}, {}, 0.75f};
    const bool embedding = update.tensor == kAdaptedEmbedding;
    const auto fill = [&](std::vector<float>& values, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        values.push_back(static_cast<float>(state >> 40) / static_cast<float>(1 << 24) - 0.5f);
      }
    };
    fill(update.a, rank * (embedding ? rows : columns));
    fill(update.b, rank * (embedding ? columns : rows));
    adapter.updates.push_back(std::move(update));
  };
  add("token_embd.weight", 300, 64, 5);
  add("blk.0.attn_q.weight", 64, 64, 3);
  add("blk.0.attn_v.weight", 32, 64, 17);
  add("blk.1.ffn_up.weight", 128, 64, 1);
  add("blk.1.ffn_down.weight", 64, 128, 8);
  add("output.weight", 300, 64, 4);
  const std::vector<AppliedAdapter> adapters = {applied(adapter), applied(adapter, -0.5f)};

  const ActivationKind activations = shape.format == "F32" ? ActivationKind::kF32 : ActivationKind::kInt8;
  const std::vector<float> expected = logits(base, adapters, kIds, {"scalar", 1, 256, activations});
  CHECK(largest_difference(expected, logits(base, {}, kIds, {"scalar", 1, 256, activations})) > 0.1);
  CHECK(expected != logits(base, {adapters[1], adapters[0]}, kIds, {"scalar", 1, 256, activations}));  // F32 addition: the order counts
  for (const KernelFamily* family : available_kernels())
    for (const int threads : {1, 3})
      for (const std::int64_t chunk_rows : {1, 7, 256}) {
        CAPTURE(family->name, threads, chunk_rows);
        CHECK(logits(base, adapters, kIds, {std::string(family->name), threads, chunk_rows, activations}) == expected);
      }
  CHECK(logits(base, {applied(adapter, 0)}, kIds, {"scalar", 1, 256, activations}) == logits(base, {}, kIds, {"scalar", 1, 256, activations}));
}

// An adapter file with these tensors of ones.
struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  float value = 1;
};
void write_adapter(const fs::path& path, const std::vector<std::pair<std::string, GgufValue>>& metadata, const std::vector<Tensor>& tensors) {
  std::vector<GgufWriter::TensorPlan> plans;
  for (const Tensor& tensor : tensors) plans.push_back({tensor.name, find_format("F32"), tensor.shape});
  auto writer = GgufWriter::create(path, metadata, plans).value();
  for (const Tensor& tensor : tensors) {
    std::int64_t count = 1;
    for (const std::int64_t dimension : tensor.shape) count *= dimension;
    const std::vector<float> values(static_cast<std::size_t>(count), tensor.value);
    REQUIRE(writer->write(std::as_bytes(std::span(values))).has_value());
  }
  REQUIRE(writer->finish().has_value());
}

// The plain meaning of an adapter, in double: every matrix W + s B A, written as a model of its own.
TEST_CASE("adapters of experts give the logits of a model whose matrices hold the sums", "[models][lora]") {
  const ModelFolder folder;
  const auto base = folder.model("mixtral");
  constexpr std::int64_t kRank = 3;
  constexpr float kAlpha = 4, kScale = 0.75f;
  std::vector<GgufWriter::TensorPlan> adapter_plans, merged_plans;
  std::vector<std::vector<float>> adapter_values, merged_values;
  std::uint64_t state = 11;
  const auto random_values = [&](std::int64_t count) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      values.push_back(static_cast<float>(state >> 40) / static_cast<float>(1 << 24) - 0.5f);
    }
    return values;
  };
  for (const GgufTensor& tensor : base->tensors()) {
    const std::int64_t K = tensor.columns(), all_rows = tensor.rows();
    std::vector<float> w(static_cast<std::size_t>(all_rows * K));
    std::vector<std::byte> buffer;
    for (std::int64_t row = 0; row < all_rows; ++row)
      tensor.format->decode(base->rows(tensor, row, row + 1, buffer).data(), K / tensor.format->values_per_block, &w[static_cast<std::size_t>(row * K)]);
    const bool experts = tensor.name.ends_with("_exps.weight");
    if (experts || tensor.name.ends_with("attn_q.weight")) {
      const std::int64_t N = tensor.shape[1], E = experts ? tensor.shape[2] : 1;
      const std::vector<float> A = random_values(E * kRank * K), B = random_values(E * N * kRank);
      for (std::int64_t e = 0; e < E; ++e)
        for (std::int64_t n = 0; n < N; ++n)
          for (std::int64_t k = 0; k < K; ++k) {
            double sum = 0;
            for (std::int64_t r = 0; r < kRank; ++r)
              sum += static_cast<double>(B[static_cast<std::size_t>((e * N + n) * kRank + r)]) * static_cast<double>(A[static_cast<std::size_t>((e * kRank + r) * K + k)]);
            float& value = w[static_cast<std::size_t>((e * N + n) * K + k)];
            value = static_cast<float>(value + static_cast<double>(kScale) * (static_cast<double>(kAlpha) / kRank) * sum);
          }
      std::vector<std::int64_t> a_shape = {K, kRank}, b_shape = {kRank, N};
      if (experts) a_shape.push_back(E), b_shape.push_back(E);
      adapter_plans.push_back({tensor.name + ".lora_a", find_format("F32"), a_shape});
      adapter_plans.push_back({tensor.name + ".lora_b", find_format("F32"), b_shape});
      adapter_values.push_back(A);
      adapter_values.push_back(B);
    }
    merged_plans.push_back({tensor.name, find_format("F32"), tensor.shape});
    merged_values.push_back(std::move(w));
  }
  CHECK(adapter_plans.size() == 2 * 2 * (3 + 1));  // two layers: gate, up and down of all experts, and q
  const auto write = [&](const char* name, const std::vector<std::pair<std::string, GgufValue>>& metadata, const std::vector<GgufWriter::TensorPlan>& plans,
                         const std::vector<std::vector<float>>& values) {
    auto writer = GgufWriter::create(folder.path / name, metadata, plans).value();
    for (const auto& one : values) REQUIRE(writer->write(std::as_bytes(std::span(one))).has_value());
    REQUIRE(writer->finish().has_value());
    return folder.path / name;
  };
  const fs::path adapter = write("experts.gguf", {{"general.type", gguf_string("adapter")}, {"general.architecture", gguf_string("llama")},
                                                  {"adapter.type", gguf_string("lora")}, {"adapter.lora.alpha", gguf_float32(kAlpha)}}, adapter_plans, adapter_values);
  const auto merged = GgufFile::open(write("merged.gguf", base->metadata(), merged_plans, merged_values)).value();
  const std::vector<std::int32_t> ids = {5, 53, 175, 83, 65, 121, 251, 167, 157, 221, 71, 283};
  const std::vector<float> expected = logits(merged, {}, ids), given = logits(base, {applied(open_lora_adapter(adapter, *base), kScale)}, ids);
  CHECK(largest_difference(logits(base, {}, ids), expected) > 0.1);
  // F32 sums of some ten numbers in another order, logits up to 10.
  CHECK(largest_difference(given, expected) < 1e-4);
}

TEST_CASE("an adapter of another model is refused in one sentence that names the tensor and what was expected", "[models][lora]") {
  const ModelFolder folder;
  const fs::path path = folder.path / "random.gguf", adapter_path = folder.path / "adapter.gguf";
  REQUIRE(test::write_random_model(path, {}).has_value());
  const auto base = GgufFile::open(path).value();
  std::vector<std::pair<std::string, GgufValue>> metadata = {{"general.type", gguf_string("adapter")}, {"general.architecture", gguf_string("llama")},
                                                             {"adapter.type", gguf_string("lora")}, {"adapter.lora.alpha", gguf_float32(4)}};
  std::vector<Tensor> tensors = {{"blk.0.attn_k.weight.lora_a", {64, 2}}, {"blk.0.attn_k.weight.lora_b", {2, 32}}};
  const auto refused = [&]() -> Error {
    write_adapter(adapter_path, metadata, tensors);
    const auto adapter = open_lora_adapter(adapter_path, *base);
    if (!adapter) return adapter.error();
    ThreadPool pool(1);
    const std::vector<AppliedAdapter> adapters = {applied(*adapter)};
    const auto model = load_model(base, *find_kernels("scalar").value(), pool, false, adapters);
    return model ? Error{} : model.error();
  };
  const auto check = [&](Code code, const std::vector<std::string>& words) {
    const Error error = refused();
    CAPTURE(error.detail);
    CHECK(error.code == code);
    for (const std::string& word : words) CHECK(error.detail.find(word) != std::string::npos);
  };
  CHECK(refused().detail.empty());
  SECTION("architecture") {
    metadata[1].second = gguf_string("qwen2");
    check(Code::kBadValue, {"adapter.gguf", "qwen2", "llama"});
  }
  SECTION("not an adapter") {
    metadata[0].second = gguf_string("model");
    check(Code::kBadMagic, {"general.type", "'model'"});
  }
  SECTION("another kind of adapter") {
    metadata[2].second = gguf_string("control_vector");
    check(Code::kUnsupported, {"adapter.type", "control_vector"});
  }
  SECTION("shape of the base matrix") {
    tensors[1].shape = {2, 64};
    check(Code::kBadShape, {"blk.0.attn_k.weight", "[64, 64]", "[64, 32]"});
  }
  SECTION("ranks of A and B") {
    tensors[1].shape = {3, 32};
    check(Code::kBadShape, {"blk.0.attn_k.weight", "rank 2", "rank 3"});
  }
  SECTION("a layer that the base lacks") {
    for (Tensor& tensor : tensors) tensor.name.replace(4, 1, "7");
    check(Code::kUnsupported, {"blk.7.attn_k.weight"});
  }
  SECTION("a norm, which no adapter changes") {
    tensors = {{"blk.0.attn_norm.weight.lora_a", {64, 1}}, {"blk.0.attn_norm.weight.lora_b", {1, 1}}};
    check(Code::kUnsupported, {"blk.0.attn_norm.weight"});
  }
  SECTION("A without B") {
    tensors.pop_back();
    check(Code::kNotFound, {"blk.0.attn_k.weight.lora_b"});
  }
  SECTION("a tensor that is neither") {
    tensors.push_back({"blk.0.attn_k.weight", {64, 32}});
    check(Code::kUnsupported, {"blk.0.attn_k.weight", "lora_a"});
  }
  SECTION("not a number") {
    tensors[0].value = std::nanf("");
    check(Code::kNonFinite, {"blk.0.attn_k.weight.lora_a"});
  }
  SECTION("no tensor") {
    tensors.clear();
    check(Code::kNotFound, {"no tensor"});
  }
}

TEST_CASE("what a PEFT folder asks for besides plain LoRA is refused by name", "[models][lora]") {
  const ModelFolder folder;
  const auto base = folder.model("llama");
  const std::string arrays = contents(kAdapters / "llama" / "adapter_model.safetensors");
  Json config = Json::parse(contents(kAdapters / "llama" / "adapter_config.json"));
  const auto error_of = [&](const GgufFile& model) {
    const auto adapter = huggingface::read_peft_adapter(config.dump(), std::as_bytes(std::span(arrays)), "folder", model);
    return adapter ? Error{} : adapter.error();
  };
  CHECK(error_of(*base).detail.empty());
  SECTION("options") {
    const auto [key, value] = GENERATE(table<std::string, std::string>({{"use_dora", "true"}, {"bias", "\"all\""}, {"modules_to_save", "[\"lm_head\"]"}, {"peft_type", "\"LOHA\""},
                                                                        {"init_lora_weights", "\"pissa_niter_4\""}, {"alpha_pattern", "{\"(q|k)_proj\": 3}"}, {"lora_bias", "true"},
                                                                        {"target_parameters", "[\"experts.down_proj\"]"}, {"trainable_token_indices", "[1]"}}));
    config[key] = Json::parse(value);
    CAPTURE(key);
    CHECK(error_of(*base).code == Code::kUnsupported);
    CHECK(error_of(*base).detail.find(key) != std::string::npos);
  }
  SECTION("another rank than the arrays have") {
    config["r"] = 8;
    CHECK(error_of(*base).code == Code::kBadShape);
    CHECK(error_of(*base).detail.find("rank 3; adapter_config.json says 8") != std::string::npos);
  }
  SECTION("modules of another architecture") {
    const Error error = error_of(*folder.model("phi3"));
    CHECK(error.code == Code::kUnsupported);
    CHECK(error.detail.find("q_proj") != std::string::npos);
    CHECK(error.detail.find("phi3") != std::string::npos);
  }
  SECTION("a pickle") {
    fs::create_directories(folder.path / "pickled");
    std::ofstream(folder.path / "pickled/adapter_config.json") << config.dump();
    std::ofstream(folder.path / "pickled/adapter_model.bin") << "x";
    const auto adapter = open_lora_adapter(folder.path / "pickled", *base);
    REQUIRE(adapter.has_error());
    CHECK(adapter.error().detail.find("pickle") != std::string::npos);
  }
  SECTION("no adapter at all") {
    const auto adapter = open_lora_adapter(folder.path, *base);
    REQUIRE(adapter.has_error());
    CHECK(adapter.error().code == Code::kNotFound);
  }
}

}  // namespace
}  // namespace quantfleet
