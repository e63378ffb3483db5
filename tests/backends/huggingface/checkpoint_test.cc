// Hugging Face folders: tiny random models that transformers wrote, some quantized by the packages that define the formats
// (tests/interop/huggingface.py made them), must give the logits that transformers computes. And what is wrong with a folder is
// said in one sentence that names the array.
#include "tests/folder.h"
#include "tests/paths.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/huggingface/model_folder.h"
#include "backends/formats/safetensors.h"
#include "backends/models/transformer.h"
#include "backends/tokenizers/tokenizer.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using test::contents;

const fs::path kGolden = test::source_dir() / "tests/golden/huggingface";

// A copy of a golden folder with the tokenizer that all share.
struct Checkpoint : test::Folder {
  explicit Checkpoint(const std::string& name) {
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) fs::copy_file(kGolden / file, path / file);
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(kGolden / name / file, path / file);
  }

  void change_json(const std::string& file, const std::function<void(Json&)>& change) const {
    Json json = Json::parse(contents(path / file));
    change(json);
    std::ofstream(path / file) << json.dump();
  }

  struct Array {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::string bytes;
  };
  void change_arrays(const std::function<void(std::map<std::string, Array>&)>& change) const {
    std::map<std::string, Array> arrays;
    {
      const auto file = SafetensorsFile::open(path / "model.safetensors").value();
      for (const SafetensorsArray& array : file->arrays())
        arrays[array.name] = {array.dtype, array.shape, {reinterpret_cast<const char*>(array.bytes.data()), array.bytes.size()}};
    }
    change(arrays);
    write_arrays(path / "model.safetensors", arrays);
  }
  static void write_arrays(const fs::path& path, const std::map<std::string, Array>& arrays) {
    Json header = Json::object();
    std::string data;
    for (const auto& [name, array] : arrays) {
      header[name] = {{"dtype", array.dtype}, {"shape", array.shape}, {"data_offsets", {data.size(), data.size() + array.bytes.size()}}};
      data += array.bytes;
    }
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), 8);
    file << text << data;
  }

  std::string error() const {
    const auto file = open_model_file(path);
    return file ? "" : file.error().detail;
  }
};

std::vector<float> logits_of(const std::shared_ptr<const GgufFile>& file, const std::vector<std::int32_t>& tokens) {
  ThreadPool pool{2};
  const auto model = load_model(file, *find_kernels("").value(), pool, true);
  if (!model) FAIL(model.error().detail);
  Transformer transformer(*model, ActivationKind::kF32, pool);
  transformer.use_long_rotary(static_cast<int>(tokens.size()) > (*model)->config.long_rotary_context);
  KvCache cache((*model)->config);
  KvSequence sequence(cache);
  std::vector<float> all;
  const Transformer::Segment segment{&sequence, tokens, 0};
  const auto status = transformer.forward({&segment, 1}, [&](std::size_t, std::int64_t, std::span<const float> row) {
    all.insert(all.end(), row.begin(), row.end());
  });
  if (!status) FAIL(status.error().detail);
  return all;
}

void check_logits(const std::string& name) {
  INFO(name);
  const Checkpoint folder(name);
  const auto file = open_model_file(folder.path);
  if (!file) FAIL(file.error().detail);
  const Json expected = Json::parse(contents(kGolden / name / "expected.json"));
  const auto tokens = expected["tokens"].get<std::vector<std::int32_t>>();

  const auto tokenizer = Tokenizer::from_gguf(**file);
  if (!tokenizer) FAIL(tokenizer.error().detail);
  auto ids = (*tokenizer)->encode(expected["text"].get<std::string>(), false, false);
  ids.insert(ids.begin(), 0);
  CHECK(ids == tokens);

  const std::vector<float> ours = logits_of(*file, tokens);
  const std::string bytes = contents(kGolden / name / "expected.f32");
  std::vector<float> last(bytes.size() / sizeof(float));
  std::memcpy(last.data(), bytes.data(), bytes.size());
  REQUIRE(last.size() == expected["rows"].get<std::size_t>() * 288);
  REQUIRE(ours.size() == tokens.size() * 288);
  double worst = 0;
  for (std::size_t i = 0; i < last.size(); ++i) worst = std::max(worst, std::abs(double(ours[ours.size() - last.size() + i]) - last[i]));
  CHECK(worst < 1e-4);
}

TEST_CASE("a model of every architecture gives the logits of transformers", "[huggingface]") {
  for (const char* name : {"llama", "llama3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo2", "starcoder2", "gpt2", "gpt_neox",
                           "mixtral", "qwen2_moe", "qwen3_moe", "phi", "phi3_long", "bloom", "falcon", "falcon_grouped"})
    check_logits(name);
}

TEST_CASE("quantized checkpoints give the logits of their decoded weights", "[huggingface]") {
  for (const char* name : {"gptq4", "gptq4-actorder", "gptq8", "gptq3", "gptq2", "awq", "nf4", "nf4-nested", "fp4", "int8", "ct-w4a16", "ct-w8a8", "ct-nvfp4", "fp8", "exl2"})
    check_logits(name);
}

TEST_CASE("in memory EXL2 and NVFP4 take about the bits of their codes and scales", "[huggingface]") {
  for (const auto& [name, most] : {std::pair("exl2", 7.25), std::pair("ct-nvfp4", 4.51)}) {
    CAPTURE(name);
    const auto file = open_model_file(Checkpoint(name).path).value();
    double bytes = 0, values = 0;
    for (const GgufTensor& tensor : file->tensors())
      if (tensor.name.starts_with("blk.") && tensor.shape.size() == 2) {
        bytes += static_cast<double>(WeightMatrix::packed_bytes(**find_kernels("scalar"), *tensor.format, tensor.rows(), tensor.columns()));
        values += static_cast<double>(tensor.count_values());
      }
    CHECK(8 * bytes / values <= most);
  }
}

TEST_CASE("once its weights are packed, a folder's pages are given back", "[huggingface]") {
  const Checkpoint folder("nf4");
  const auto resident = [path = (folder.path / "model.safetensors").string()] {
    std::ifstream maps("/proc/self/smaps");
    bool ours = false;
    double bytes = 0;
    for (std::string line; std::getline(maps, line);) {
      if (line.find('-') < line.find(' ')) ours = line.ends_with(path);
      else if (ours && line.starts_with("Rss:")) bytes += std::stod(line.substr(4)) * 1024;
    }
    return bytes;
  };
  const auto size = static_cast<double>(fs::file_size(folder.path / "model.safetensors"));
  const auto file = open_model_file(folder.path).value();
  ThreadPool pool{1};
  const auto kept = load_model(file, *find_kernels("").value(), pool, false);
  CHECK(resident() > 0.9 * size);
  const auto given_back = load_model(file, *find_kernels("").value(), pool, true);
  REQUIRE(given_back.has_value());
  CHECK(resident() < 0.2 * size);
}

TEST_CASE("the source format is named", "[huggingface]") {
  const std::map<std::string, std::string> names = {{"gptq4-actorder", "GPTQ-4bit-32g-actorder"}, {"gptq8", "GPTQ-8bit"}, {"awq", "AWQ-4bit-32g"},
                                                    {"nf4-nested", "bnb-nf4-nested"},            {"int8", "bnb-int8"},  {"ct-w4a16", "CT-w4"},
                                                    {"ct-nvfp4", "CT-nvfp4"},                    {"fp8", "FP8"},        {"exl2", "EXL2-4.67bpw"}};
  for (const auto& [folder, name] : names) CHECK(open_model_file(Checkpoint(folder).path).value()->get_string("quantfleet.source_format").value() == name);
}

TEST_CASE("shards are found by their index, and what the index promises must be there", "[huggingface]") {
  const Checkpoint folder("qwen2");
  std::map<std::string, Checkpoint::Array> first, second;
  folder.change_arrays([&](auto& arrays) {
    for (const auto& [name, array] : arrays) (first.size() < 10 ? first : second)[name] = array;
  });
  fs::remove(folder.path / "model.safetensors");
  Checkpoint::write_arrays(folder.path / "model-00001-of-00002.safetensors", first);
  Checkpoint::write_arrays(folder.path / "model-00002-of-00002.safetensors", second);
  Json map;
  for (const auto& [name, array] : first) map[name] = "model-00001-of-00002.safetensors";
  for (const auto& [name, array] : second) map[name] = "model-00002-of-00002.safetensors";
  const auto write_index = [&] { std::ofstream(folder.path / "model.safetensors.index.json") << Json{{"weight_map", map}}.dump(); };
  write_index();
  CHECK(folder.error().empty());
  map["model.layers.7.mlp.up_proj.weight"] = "model-00002-of-00002.safetensors";
  write_index();
  CHECK(folder.error().find("model.layers.7.mlp.up_proj.weight is not in model-00002-of-00002.safetensors") != std::string::npos);
  map["model.layers.7.mlp.up_proj.weight"] = "../../etc/passwd";
  write_index();
  CHECK(folder.error().find("weight_map names '../../etc/passwd'") != std::string::npos);
}

TEST_CASE("a folder as one archive is the same model, and equal folders are equal archives", "[huggingface][archive]") {
  for (const char* name : {"llama", "gptq4-actorder", "nf4"}) {
    CAPTURE(name);
    const Checkpoint folder(name);
    std::ofstream(folder.path / "notes.bin") << "not the model's";
    fs::create_directory(folder.path / "deeper");
    const fs::path archive = folder.path / "model.tar";
    const auto files = huggingface::ModelFolder::open(folder.path).value();
    REQUIRE(huggingface::write_model_archive(*files, "Tiny-1", archive).has_value());
    const auto apart = open_model_file(folder.path).value(), one = open_model_file(archive).value();
    CHECK(one->get_string("general.name").value() == "Tiny-1");
    CHECK(one->parts() == std::vector<fs::path>{archive});
    REQUIRE(one->tensors().size() == apart->tensors().size());
    for (std::size_t i = 0; i < one->tensors().size(); ++i) {
      const GgufTensor &x = one->tensors()[i], &y = apart->tensors()[i];
      CHECK(x.name == y.name);
      std::vector<std::byte> a, b;
      const auto first = one->rows(x, 0, x.rows(), a), second = apart->rows(y, 0, y.rows(), b);
      CHECK(std::equal(first.begin(), first.end(), second.begin(), second.end()));
    }
    const auto again = huggingface::ModelFolder::open(archive).value();
    REQUIRE(huggingface::write_model_archive(*again, "Tiny-1", folder.path / "again.tar").has_value());
    CHECK(contents(folder.path / "again.tar") == contents(archive));
  }
}

TEST_CASE("what is wrong with an archive is said with the byte", "[huggingface][archive]") {
  const Checkpoint folder("llama");
  const auto files = huggingface::ModelFolder::open(folder.path).value();
  REQUIRE(huggingface::write_model_archive(*files, "m", folder.path / "m.tar").has_value());
  const std::string good = contents(folder.path / "m.tar");
  const auto error = [&](std::string bytes) {
    std::ofstream(folder.path / "bad.tar", std::ios::binary) << bytes;
    const auto opened = open_model_file(folder.path / "bad.tar");
    return opened ? std::string() : opened.error().detail;
  };
  const auto with = [&](std::size_t place, const std::string& text) { return std::string(good).replace(place, text.size(), text); };
  const auto summed = [](std::string bytes) {  // the first header's sum made right again
    unsigned sum = 0;
    for (std::size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(bytes[i]);
    char text[16];
    std::snprintf(text, sizeof text, "%06o", sum);
    return bytes.replace(148, 6, text);
  };
  CHECK(error(good).empty());
  CHECK_THAT(error(with(0, "x")), Catch::Contains("byte 0 of the archive has another sum"));
  CHECK_THAT(error(summed(with(0, "../config.json"))), Catch::Contains("has no name of a file"));
  CHECK_THAT(error(summed(with(124, "77777777777"))), Catch::Contains("goes beyond the archive"));
  CHECK_THAT(error(summed(with(124, "9"))), Catch::Contains("has no size"));
  CHECK_THAT(error(summed(with(156, "x"))), Catch::Contains("of an extended kind"));
  CHECK_THAT(error(summed(with(0, "other/config.json"))), Catch::Contains("is of the folder 'm' and others of 'other'"));
  CHECK_THAT(error(good.substr(0, 700)), Catch::Contains("goes beyond the archive"));
  CHECK_THAT(error(summed(with(0, std::string("m/notes.json\0", 13)))), Catch::Contains("config.json: no such file in the archive"));
}

TEST_CASE("what is wrong with a folder is said with the key or the array", "[huggingface]") {
  const auto changed = [](const std::string& name, const std::function<void(Json&)>& config, const std::function<void(std::map<std::string, Checkpoint::Array>&)>& arrays = {}) {
    const Checkpoint folder(name);
    if (config) folder.change_json("config.json", config);
    if (arrays) folder.change_arrays(arrays);
    return folder.error();
  };
  const auto has = [](const std::string& text) { return Catch::Contains(text); };
  const std::string q = "model.layers.0.self_attn.q_proj.";
  CHECK_THAT(changed("llama", [](Json& c) { c["model_type"] = "mamba"; }), has("model_type is 'mamba'"));
  CHECK_THAT(changed("llama", [](Json& c) { c["num_hidden_layers"] = "two"; }), has("num_hidden_layers is \"two\"; an integer"));
  CHECK_THAT(changed("llama", [](Json& c) { c["num_hidden_layers"] = 1; }), has("model.layers.1."));
  CHECK_THAT(changed("llama", [](Json& c) { c["num_attention_heads"] = 8; }), has("rows; 8 heads"));
  CHECK_THAT(changed("llama", [](Json& c) { c["hidden_act"] = "relu"; }), has("hidden_act is 'relu'"));
  CHECK_THAT(changed("llama", [](Json& c) { c["rope_parameters"]["rope_type"] = "dynamic"; }), has("'dynamic'"));
  CHECK_THAT(changed("llama", {}, [](auto& a) { a["model.layers.0.mlp.extra.weight"] = a["model.norm.weight"]; }), has("model.layers.0.mlp.extra.weight is not part of llama"));
  CHECK_THAT(changed("llama", {}, [](auto& a) { a.erase("lm_head.weight"); }), has("lm_head"));
  CHECK_THAT(changed("llama", {}, [](auto& a) { a["model.norm.weight"].dtype = "I16"; }), has("model.norm.weight is not a vector"));
  CHECK_THAT(changed("gptq4", [](Json& c) { c["quantization_config"]["quant_method"] = "vptq"; }), has("quant_method is 'vptq'"));
  CHECK_THAT(changed("gptq4", [](Json& c) { c["quantization_config"]["bits"] = 5; }), has("bits is 5; GPTQ has 2, 3, 4 and 8"));
  CHECK_THAT(changed("gptq4", [](Json& c) { c["quantization_config"]["group_size"] = 64; }), has("scales has shape [2, 64]; [1, 64] is needed"));
  CHECK_THAT(changed("gptq4", [](Json& c) { c["quantization_config"]["checkpoint_format"] = "marlin"; }), has("checkpoint_format is 'marlin'"));
  CHECK_THAT(changed("gptq4", {}, [&](auto& a) { a.erase(q + "scales"); }), has(q + "scales is missing"));
  CHECK_THAT(changed("gptq4", {}, [&](auto& a) { a.erase(q + "qweight"); }), has(q + "weight is missing"));
  CHECK_THAT(changed("gptq4", {}, [&](auto& a) { a[q + "g_idx"].bytes[0] = 9; }), has("g_idx[0] is 9; there are 2 groups"));
  CHECK_THAT(changed("gptq4", {}, [&](auto& a) { a[q + "scales"].bytes.replace(0, 2, "\x00\x7c", 2); }), has(q + "scales: value 0 is not a finite number"));
  CHECK_THAT(changed("awq", [](Json& c) { c["quantization_config"]["version"] = "gemv"; }), has("AWQ version 'gemv'"));
  CHECK_THAT(changed("awq", [](Json& c) { c["quantization_config"]["group_size"] = 48; }), has("64 inputs do not divide into groups of 48"));
  CHECK_THAT(changed("ct-w4a16", [](Json& c) { c["quantization_config"]["config_groups"].begin()->erase("format"), c["quantization_config"]["format"] = "marlin-24"; }), has("format is 'marlin-24'; this program reads pack-quantized"));
  CHECK_THAT(changed("nf4", {}, [&](auto& a) { a.erase(q + "weight.absmax"); }), has(q + "weight.absmax is missing"));
  CHECK_THAT(changed("int8", {}, [&](auto& a) { a[q + "weight_format"].bytes[0] = 1; }), has("weight_format is 1"));
  CHECK_THAT(changed("ct-w4a16", {}, [&](auto& a) { a.erase(q + "weight_scale"); }), has(q + "weight_scale is missing"));
  CHECK_THAT(changed("exl2", {}, [&](auto& a) { a[q + "q_invperm"].bytes.replace(0, 4, a[q + "q_invperm"].bytes.substr(4, 4)); }), has("a permutation of 64 inputs is needed"));
  CHECK_THAT(changed("exl2", {}, [&](auto& a) { a[q + "q_groups"].bytes[0] = 7; }), has("group 0 has 7 bits"));
}

TEST_CASE("an array that is missing beside others of a quantized layer is named, or its layer is", "[huggingface]") {
  const std::set<std::string> optional = {"gptq4 g_idx", "gptq2 g_idx", "gptq3 g_idx", "gptq8 g_idx", "gptq4-actorder g_idx", "int8 weight_format"};
  for (const char* name : {"gptq4", "gptq4-actorder", "gptq8", "gptq3", "gptq2", "awq", "nf4", "nf4-nested", "fp4", "int8", "ct-w4a16", "ct-w8a8", "ct-nvfp4", "fp8", "exl2"}) {
    const Checkpoint folder(name);
    const std::string module = "model.layers.0.self_attn.q_proj.";
    std::map<std::string, Checkpoint::Array> whole;
    folder.change_arrays([&](auto& arrays) { whole = arrays; });
    for (const auto& [array, bytes] : whole) {
      if (!array.starts_with(module) || optional.contains(name + (" " + array.substr(module.size())))) continue;
      auto rest = whole;
      rest.erase(array);
      Checkpoint::write_arrays(folder.path / "model.safetensors", rest);
      CAPTURE(name, array, folder.error());
      CHECK(folder.error().find("model.layers.0.self_attn.q_proj") != std::string::npos);
    }
  }
}

TEST_CASE("tokenizers that this program cannot follow are refused", "[huggingface]") {
  const auto changed = [](const std::function<void(Json&)>& change) {
    const Checkpoint folder("qwen2");
    folder.change_json("tokenizer.json", change);
    return folder.error();
  };
  CHECK_THAT(changed([](Json& t) { t["model"]["type"] = "WordPiece"; }), Catch::Contains("the tokenizer's model is 'WordPiece'"));
  CHECK_THAT(changed([](Json& t) { t["pre_tokenizer"]["add_prefix_space"] = true; }), Catch::Contains("adds a space"));
  CHECK_THAT(changed([](Json& t) { t["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "\\w+"}}}}; }), Catch::Contains("splits by \\w+"));
  CHECK_THAT(changed([](Json& t) { t["model"]["vocab"]["zzz"] = 100000; }), Catch::Contains("token id 100000 does not lie below the 288 rows"));
  CHECK_THAT(changed([](Json& t) { t["model"]["vocab"]["zzz"] = 5; }), Catch::Contains("two tokens have the id 5"));
  CHECK_THAT(changed([](Json& t) { t["model"]["merges"][0] = "ab"; }), Catch::Contains("merge 0 has no two parts"));
}

}  // namespace
}  // namespace quantfleet
