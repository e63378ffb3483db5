// What the writer makes of a model must be that model again: from a folder, and from the GGUF file of it; with the packed arrays
// that other programs' packages made.
#include "backends/huggingface/checkpoint_writer.h"

#include "backends/formats/catalog.h"
#include "backends/huggingface/checkpoint.h"
#include "tests/folder.h"
#include "tests/paths.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <cstring>
#include <iterator>

namespace quantfleet::huggingface {
namespace {

namespace fs = std::filesystem;

const fs::path kGolden = test::source_dir() / "tests/golden/huggingface";

struct Scratch : test::Folder {
  // A golden folder with the tokenizer that all share.
  fs::path golden(const std::string& name) const {
    const fs::path folder = path / ("golden-" + name);
    fs::create_directories(folder);
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) fs::copy_file(kGolden / file, folder / file);
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(kGolden / name / file, folder / file);
    return folder;
  }

};

std::shared_ptr<const GgufFile> open(const fs::path& path) {
  auto file = open_model_file(path);
  if (!file) FAIL(file.error().detail);
  return *file;
}

void require(const Status& status) {
  if (!status) FAIL(status.error().detail);
}

void copy(const std::shared_ptr<const GgufFile>& model, const fs::path& out, CheckpointOptions options = {}) {
  auto writer = CheckpointWriter::create(out, model, std::move(options));
  if (!writer) FAIL(writer.error().detail);
  for (const GgufTensor& tensor : model->tensors())
    if (!CheckpointWriter::is_of_config(tensor)) require((*writer)->write_plain(tensor));
  require((*writer)->finish());
}

std::vector<float> values_of(const GgufFile& file, const GgufTensor& tensor) {
  std::vector<std::byte> buffer;
  std::vector<float> values(static_cast<std::size_t>(tensor.count_values()));
  tensor.format->decode(file.rows(tensor, 0, tensor.rows(), buffer).data(), tensor.count_values() / tensor.format->values_per_block, values.data());
  return values;
}

void check_same(const GgufFile& a, const GgufFile& b) {
  REQUIRE(a.tensors().size() == b.tensors().size());
  for (const GgufTensor& tensor : a.tensors()) {
    CAPTURE(tensor.name);
    const GgufTensor* other = b.find_tensor(tensor.name);
    REQUIRE(other);
    CHECK(tensor.shape == other->shape);
    CHECK(values_of(a, tensor) == values_of(b, *other));
  }
  for (const auto& [key, value] : a.metadata()) {
    if (key == "general.name") continue;
    CAPTURE(key);
    const GgufValue* other = b.find(key);
    REQUIRE(other);
    CHECK(value.data == other->data);
  }
}

void write_gguf(const GgufFile& model, const fs::path& path) {
  std::vector<GgufWriter::TensorPlan> plan;
  for (const GgufTensor& tensor : model.tensors()) plan.push_back({tensor.name, tensor.format, tensor.shape});
  auto writer = GgufWriter::create(path, model.metadata(), plan);
  REQUIRE(writer.has_value());
  std::vector<std::byte> buffer;
  for (const GgufTensor& tensor : model.tensors()) require((*writer)->write(model.rows(tensor, 0, tensor.rows(), buffer)));
  require((*writer)->finish());
}

const std::vector<std::string> kArchitectureFolders = {"llama", "llama3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo2", "starcoder2", "gpt2", "gpt_neox",
                                                        "mixtral", "qwen2_moe", "qwen3_moe"};

TEST_CASE("a folder of every architecture, written again, is the same model", "[huggingface][writer]") {
  std::vector<std::string> names = kArchitectureFolders;
  names.insert(names.end(), {"phi", "phi3_long", "bloom", "falcon", "falcon_grouped"});
  for (const std::string& name : names) {
    CAPTURE(name);
    const Scratch scratch;
    const auto model = open(scratch.golden(name));
    copy(model, scratch / "out");
    check_same(*model, *open(scratch / "out"));
  }
}

TEST_CASE("a GGUF file of every architecture becomes a folder that is the same model", "[huggingface][writer]") {
  for (const std::string& name : kArchitectureFolders) {
    CAPTURE(name);
    const Scratch scratch;
    write_gguf(*open(scratch.golden(name)), scratch / "model.gguf");
    const auto model = open(scratch / "model.gguf");
    copy(model, scratch / "out");
    check_same(*model, *open(scratch / "out"));
  }
}

TEST_CASE("a SentencePiece vocabulary keeps its tokens, types and the order of its merges", "[huggingface][writer]") {
  const Scratch scratch;
  const auto base = open(scratch.golden("llama"));
  Metadata metadata;
  for (const auto& [key, value] : base->metadata())
    if (!key.starts_with("tokenizer.")) metadata.emplace_back(key, value);
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<std::int32_t> types = {2, 3, 3};
  std::vector<float> scores = {0, 0, 0};
  const auto add = [&](std::string text, std::int32_t type, float score) { tokens.push_back(std::move(text)), types.push_back(type), scores.push_back(score); };
  for (int byte = 0; byte < 256; ++byte) add(fmt::format("<0x{:02X}>", byte), 6, 0);
  add("ab", 1, -2);
  add("\xe2\x96\x81" "a", 1, -1);
  add("abc", 1, -3);
  for (const char* text : {"a", "b", "c", "\xe2\x96\x81"}) add(text, 1, -10);
  while (tokens.size() < 288) add(fmt::format("[PAD{}]", tokens.size()), 5, -1000);
  metadata.emplace_back("tokenizer.ggml.model", gguf_string("llama"));
  metadata.emplace_back("tokenizer.ggml.tokens", gguf_strings(tokens));
  metadata.emplace_back("tokenizer.ggml.token_type", gguf_int32s(types));
  metadata.emplace_back("tokenizer.ggml.scores", gguf_floats(scores));
  metadata.emplace_back("tokenizer.ggml.bos_token_id", gguf_uint32(1));
  metadata.emplace_back("tokenizer.ggml.eos_token_id", gguf_uint32(2));
  metadata.emplace_back("tokenizer.ggml.unknown_token_id", gguf_uint32(0));
  std::vector<GgufWriter::TensorPlan> plan;
  for (const GgufTensor& tensor : base->tensors()) plan.push_back({tensor.name, tensor.format, tensor.shape});
  auto gguf = GgufWriter::create(scratch / "model.gguf", metadata, plan);
  REQUIRE(gguf.has_value());
  std::vector<std::byte> buffer;
  for (const GgufTensor& tensor : base->tensors()) require((*gguf)->write(base->rows(tensor, 0, tensor.rows(), buffer)));
  require((*gguf)->finish());

  copy(open(scratch / "model.gguf"), scratch / "out");
  const auto again = open(scratch / "out");
  const auto read_tokens = again->get_strings("tokenizer.ggml.tokens").value();
  CHECK(std::equal(read_tokens.begin(), read_tokens.end(), tokens.begin(), tokens.end()));
  const auto read_types = again->get_ints("tokenizer.ggml.token_type").value();
  CHECK(std::equal(read_types.begin(), read_types.end(), types.begin(), types.end()));
  CHECK(again->bool_or("tokenizer.ggml.add_bos_token", false).value());
  CHECK(again->bool_or("tokenizer.ggml.add_space_prefix", false).value());
  const auto order = again->get_floats("tokenizer.ggml.scores").value();  // ranks of merges
  CHECK(order[260] > order[259]);
  CHECK(order[259] > order[261]);
}

TEST_CASE("shards end where they are told to, and the index finds every array", "[huggingface][writer]") {
  const Scratch scratch;
  const auto model = open(scratch.golden("qwen2"));
  CheckpointOptions options;
  options.shard_bytes = 20000;
  options.metadata["quantfleet.note"] = "two words";
  copy(model, scratch / "out", options);
  CHECK(fs::exists(scratch / "out/model.safetensors.index.json"));
  CHECK(fs::exists(scratch / "out/model-00001-of-00003.safetensors"));
  check_same(*model, *open(scratch / "out"));
  CHECK(SafetensorsFile::open(scratch / "out/model-00001-of-00003.safetensors").value()->metadata().at("quantfleet.note") == "two words");
}

TEST_CASE("arrays begin at multiples of their value's size, whatever came before", "[huggingface][writer]") {
  const Scratch scratch;
  auto writer = SafetensorsWriter::create(scratch / "a.safetensors", 4 * safetensors_header_bytes("name"));
  REQUIRE(writer.has_value());
  const std::vector<std::byte> bytes(24, std::byte{7});
  const auto put = [&](const char* name, const char* dtype, std::vector<std::int64_t> shape, std::size_t size) {
    require((*writer)->begin(name, dtype, std::move(shape)));
    require((*writer)->write(std::span(bytes).first(size)));
  };
  put("a", "U8", {3}, 3);
  put("b", "F32", {2}, 8);
  put("c", "F16", {3}, 6);
  put("d", "I64", {}, 8);
  require((*writer)->finish({}));
  const auto file = SafetensorsFile::open(scratch / "a.safetensors");
  if (!file) FAIL(file.error().detail);
  const auto offset = [&](std::size_t i) { return (*file)->arrays()[i].bytes.data() - (*file)->arrays()[1].bytes.data(); };
  CHECK(offset(1) == 0);
  CHECK(offset(3) == 8);
  CHECK(offset(2) == 16);
  CHECK(offset(0) == 22);

  auto short_one = SafetensorsWriter::create(scratch / "b.safetensors", 100);
  require((*short_one)->begin("x", "F32", {2}));
  require((*short_one)->write(std::span(bytes).first(4)));
  CHECK((*short_one)->finish({}).error().detail.find("array x lacks 4 bytes") != std::string::npos);
}

TEST_CASE("nothing is left behind when writing ends early, and nothing is overwritten", "[huggingface][writer]") {
  const Scratch scratch;
  const auto model = open(scratch.golden("llama"));
  {
    auto writer = CheckpointWriter::create(scratch / "out", model, {});
    REQUIRE(writer.has_value());
    require((*writer)->write_plain(model->tensors()[0]));
    CHECK((*writer)->finish().error().detail.find("was not written") != std::string::npos);
  }
  CHECK(scratch.count_files() == 1);
  copy(model, scratch / "out");
  CHECK(CheckpointWriter::create(scratch / "out", model, {}).error().code == Code::kUsage);
  {  // an expert is missing
    const auto mixture = open(scratch.golden("mixtral"));
    auto writer = CheckpointWriter::create(scratch / "mixture", mixture, {});
    REQUIRE(writer.has_value());
    for (const GgufTensor& tensor : mixture->tensors()) {
      if (tensor.name != "blk.1.ffn_up_exps.weight") require((*writer)->write_plain(tensor));
      else for (const std::int64_t expert : {0, 1, 2}) require((*writer)->write_linear(tensor, {}, expert));
    }
    CHECK((*writer)->finish().error().detail.find("tensor blk.1.ffn_up_exps.weight was not written") != std::string::npos);
  }
}

std::vector<std::uint32_t> words_of(const SafetensorsArray& array) {
  std::vector<std::uint32_t> words(static_cast<std::size_t>(array.count_values()));
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = word_at(array, static_cast<std::int64_t>(i));
  return words;
}

// Every module with a "qweight" (or another suffix) of a golden folder.
template <class Check>
void for_modules(const std::string& folder, const std::string& suffix, const Check& check) {
  const auto file = SafetensorsFile::open(kGolden / folder / "model.safetensors").value();
  std::map<std::string, ModuleArrays> modules;
  for (const SafetensorsArray& array : file->arrays())
    for (const char* one : {"qweight", "qzeros", "scales", "g_idx", "weight_packed", "weight_scale", "weight_shape"})
      if (array.name.ends_with(std::string(".") + one)) modules[array.name.substr(0, array.name.size() - std::strlen(one) - 1)].arrays.emplace(one, &array);
  int count = 0;
  for (auto& [name, module] : modules) {
    module.name = name;
    if (module.find(suffix)) check(module), ++count;
  }
  REQUIRE(count > 0);
}

void check_bytes(const ModuleArrays& module, const Result<std::vector<StoredArray>>& packed) {
  if (!packed) FAIL(packed.error().detail);
  CHECK(packed->size() == module.arrays.size());
  for (const StoredArray& array : *packed) {
    CAPTURE(module.name, array.suffix);
    const SafetensorsArray* golden = module.find(array.suffix);
    REQUIRE(golden);
    CHECK(golden->dtype == array.dtype);
    CHECK(golden->shape == array.shape);
    CHECK(std::equal(array.bytes.begin(), array.bytes.end(), golden->bytes.begin(), golden->bytes.end()));
  }
}

TEST_CASE("GPTQ packing has the bytes of GPTQModel", "[huggingface][writer]") {
  struct Case {
    const char* folder;
    int bits;
    bool version_2;
  };
  for (const Case& one : {Case{"gptq4", 4, false}, Case{"gptq4-actorder", 4, false}, Case{"gptq8", 8, false}, Case{"gptq3", 3, true}, Case{"gptq2", 2, true}}) {
    CAPTURE(one.folder);
    for_modules(one.folder, "qweight", [&](const ModuleArrays& module) {
      GroupedCodes codes;
      codes.bits = one.bits;
      codes.rows = module.find("qweight")->shape[1];
      codes.columns = module.find("g_idx")->shape[0];
      const std::int64_t N = codes.rows, K = codes.columns, G = module.find("scales")->shape[0];
      codes.group_size = K / G;
      std::vector<std::uint32_t> zeros = words_of(*module.find("qzeros"));
      if (!one.version_2)
        for (std::uint32_t& word : zeros) word += one.bits == 4 ? 0x11111111u : 0x01010101u;
      for (std::int64_t n = 0; n < N; ++n) {
        for (std::int64_t k = 0; k < K; ++k)
          codes.codes.push_back(static_cast<std::uint8_t>(bits_at(module.find("qweight")->bytes.data() + 4 * n, N, k * one.bits, one.bits)));
        for (std::int64_t g = 0; g < G; ++g) {
          codes.zeros.push_back(static_cast<std::uint8_t>(bits_at(reinterpret_cast<const std::byte*>(zeros.data() + g * N * one.bits / 32), 1, n * one.bits, one.bits)));
          codes.scales.push_back(float_at(*module.find("scales"), g * N + n));
        }
      }
      for (const std::uint32_t group : words_of(*module.find("g_idx"))) codes.g_idx.push_back(static_cast<std::int32_t>(group));
      check_bytes(module, pack_gptq(module.name, codes, one.version_2));
    });
  }
}

TEST_CASE("a zero point of 0 comes back from version 1, of 3 bits, too", "[huggingface][writer]") {
  for (const int bits : {2, 3, 4, 8}) {
    CAPTURE(bits);
    GroupedCodes codes;
    codes.bits = bits;
    codes.rows = 32;
    codes.columns = 64;
    codes.group_size = 32;
    for (int i = 0; i < 32 * 64; ++i) codes.codes.push_back(static_cast<std::uint8_t>(i * 7 & ((1 << bits) - 1)));
    for (int i = 0; i < 32 * 2; ++i) codes.zeros.push_back(static_cast<std::uint8_t>(i & ((1 << bits) - 1))), codes.scales.push_back(0.25f);
    const auto packed = pack_gptq("m", codes, false);
    if (!packed) FAIL(packed.error().detail);
    std::vector<SafetensorsArray> arrays;
    for (const StoredArray& array : *packed) arrays.push_back({"m." + array.suffix, array.dtype, array.shape, array.bytes});
    ModuleArrays module{"m", {}};
    for (std::size_t i = 0; i < arrays.size(); ++i) module.arrays.emplace((*packed)[i].suffix, &arrays[i]);
    const Json config = {{"bits", bits}, {"group_size", 32}};
    JsonReader reader(config, "config");
    auto weight = kGptq.read(module, reader);
    if (!weight) FAIL(weight.error().detail);
    std::vector<float> values(64);
    for (std::int64_t n = 0; n < 32; ++n) {
      (*weight)->decode(n, values.data());
      for (std::int64_t k = 0; k < 64; ++k)
        REQUIRE(values[static_cast<std::size_t>(k)] == 0.25f * (codes.codes[static_cast<std::size_t>(n * 64 + k)] - codes.zeros[static_cast<std::size_t>(n * 2 + k / 32)]));
    }
  }
}

TEST_CASE("AWQ packing has the bytes of AutoAWQ", "[huggingface][writer]") {
  for_modules("awq", "qweight", [&](const ModuleArrays& module) {
    constexpr int kField[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    GroupedCodes codes;
    codes.columns = module.find("qweight")->shape[0];
    codes.rows = 8 * module.find("qweight")->shape[1];
    const std::int64_t N = codes.rows, K = codes.columns, G = module.find("scales")->shape[0];
    codes.group_size = K / G;
    const auto field = [&](const char* suffix, std::int64_t row, std::int64_t n) {
      return static_cast<std::uint8_t>(word_at(*module.find(suffix), row * N / 8 + n / 8) >> (4 * kField[n % 8]) & 15);
    };
    for (std::int64_t n = 0; n < N; ++n) {
      for (std::int64_t k = 0; k < K; ++k) codes.codes.push_back(field("qweight", k, n));
      for (std::int64_t g = 0; g < G; ++g) codes.zeros.push_back(field("qzeros", g, n)), codes.scales.push_back(float_at(*module.find("scales"), g * N + n));
    }
    check_bytes(module, pack_awq(module.name, codes));
  });
}

TEST_CASE("EXL2 packing has the bytes of the layout written down in Python", "[huggingface][writer]") {
  const auto file = SafetensorsFile::open(kGolden / "exl2/model.safetensors").value();
  std::map<std::string, ModuleArrays> modules;
  for (const SafetensorsArray& array : file->arrays())
    if (const std::size_t at = array.name.rfind(".q_"); at != std::string::npos) modules[array.name.substr(0, at)].arrays.emplace(array.name.substr(at + 1), &array);
  REQUIRE(modules.size() == 7);
  for (auto& [name, module] : modules) {
    module.name = name;
    const SafetensorsArray &words = *module.find("q_weight"), &scales = *module.find("q_scale"), &list = *module.find("q_groups");
    Exl2Codes codes;
    codes.rows = words.shape[1];
    codes.columns = module.find("q_invperm")->shape[0];
    const std::int64_t N = codes.rows, K = codes.columns, G = scales.shape[0];
    if (N % 32 != 0) continue;
    const auto short_at = [&](std::int64_t i) { return static_cast<int>(list.bytes[static_cast<std::size_t>(2 * i)]) | static_cast<int>(list.bytes[static_cast<std::size_t>(2 * i + 1)]) << 8; };
    codes.codes.resize(static_cast<std::size_t>(N * K));
    std::int64_t first = 0;
    for (std::int64_t g = 0; g < G; ++g) {
      const int bits = short_at(2 * g);
      const std::int64_t begin = short_at(2 * g + 1), end = g + 1 < G ? short_at(2 * g + 3) : words.shape[0], count = (end - begin) * 32 / bits;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t i = 0; i < count; ++i)
          codes.codes[static_cast<std::size_t>(n * K + first + i)] = static_cast<std::uint8_t>(bits_at(words.bytes.data() + 4 * (begin * N + n), N, i * bits, bits));
      codes.groups.push_back({bits, count});
      codes.maxima.push_back(float_at(*module.find("q_scale_max"), g));
      for (std::int64_t n = 0; n < N; ++n) codes.scale_codes.push_back(static_cast<std::uint8_t>(word_at(scales, g * N / 8 + n / 8) >> (4 * (n % 8)) & 15));
      first += count;
    }
    for (const std::uint32_t place : words_of(*module.find("q_invperm"))) codes.inverse.push_back(static_cast<std::int32_t>(place));
    auto packed = pack_exl2(name, codes);
    if (!packed) FAIL(packed.error().detail);
    CHECK(packed->back().suffix == "q_perm");  // which old files have, too
    packed->pop_back();
    check_bytes(module, packed);
  }
}

TEST_CASE("shapes that a packing cannot hold are refused by name", "[huggingface][writer]") {
  GroupedCodes codes;
  codes.rows = 12;
  codes.columns = 64;
  codes.group_size = 32;
  CHECK_THAT(pack_gptq("a.b", codes, false).error().detail, Catch::Contains("a.b: 12 outputs and 64 inputs of 4 bits"));
  CHECK_THAT(pack_awq("a.b", codes).error().detail, Catch::Contains("a.b: 12 outputs"));
  codes.bits = 5;
  CHECK_THAT(pack_gptq("a.b", codes, false).error().detail, Catch::Contains("GPTQ of 5 bits"));
  codes.bits = 4;
  codes.group_size = 48;
  CHECK_THAT(pack_compressed("a.b", codes, true).error().detail, Catch::Contains("64 inputs do not divide into groups of 48"));
}

}  // namespace
}  // namespace quantfleet::huggingface
