// Quantizing into Hugging Face folders: arrays equal to those of the packages that define the formats (tests/interop/quantizers.py
// made the golden file), errors of the expected size, the same bytes for every number of threads, nothing left after a failure.
#include "backends/quantizers/quantize_checkpoint.h"

#include "backends/formats/half_float.h"
#include "backends/formats/safetensors.h"
#include "backends/huggingface/checkpoint.h"
#include "backends/kernels/kernels.h"
#include "backends/quantizers/imatrix_file.h"
#include "backends/quantizers/linear_quantizer.h"
#include "backends/quantizers/quantize_model.h"
#include "tests/folder.h"
#include "tests/paths.h"
#include "tests/random_model.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

namespace quantfleet {
namespace {

namespace fs = std::filesystem;
using huggingface::StoredArray;
using test::Folder, test::contents;

QuantizeOptions with_format(std::string_view format, int threads = 2) {
  QuantizeOptions options;
  options.format = format;
  options.threads = threads;
  const LinearQuantizer* quantizer = find_linear_quantizer(format);
  options.group_size = quantizer && quantizer->group_size > 0 ? 32 : 0;
  if (std::string_view(format).starts_with("bnb")) options.group_size = 0;
  return options;
}

QuantizeReport quantize(const fs::path& in, const fs::path& out, const QuantizeOptions& options) {
  auto report = quantize_checkpoint(in, out, options);
  if (!report) FAIL(report.error().detail);
  return *report;
}

std::vector<float> values_of(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.find_tensor(name);
  REQUIRE(tensor);
  std::vector<std::byte> buffer;
  std::vector<float> values(static_cast<std::size_t>(tensor->count_values()));
  tensor->format->decode(file.rows(*tensor, 0, tensor->rows(), buffer).data(), tensor->count_values() / tensor->format->values_per_block, values.data());
  return values;
}

// Arrays as a reader finds them in a file.
struct Module {
  std::vector<SafetensorsArray> stored;
  huggingface::ModuleArrays arrays{"m", {}};

  explicit Module(const std::vector<StoredArray>& made) {
    for (const StoredArray& array : made) stored.push_back({"m." + array.suffix, array.dtype, array.shape, array.bytes});
    for (std::size_t i = 0; i < made.size(); ++i) arrays.arrays.emplace(made[i].suffix, &stored[i]);
  }
  std::unique_ptr<huggingface::LinearWeight> read(const huggingface::LinearFormat& format, const huggingface::Json& config) const {
    huggingface::JsonReader reader(config, "config");
    auto weight = format.read(arrays, reader);
    if (!weight) FAIL(weight.error().detail);
    REQUIRE(*weight);
    return std::move(*weight);
  }
};

// Of the process' mappings of this file.
double resident_bytes(const fs::path& path) {
  std::ifstream maps("/proc/self/smaps");
  bool ours = false;
  double bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) ours = line.ends_with(path.string());
    else if (ours && line.starts_with("Rss:")) bytes += std::stod(line.substr(4)) * 1024;
  }
  return bytes;
}

TEST_CASE("arrays equal those of bitsandbytes, compressed-tensors, torch and hqq", "[quantizers][folders]") {
  const auto golden = SafetensorsFile::open(test::source_dir() / "tests/golden/quantizers.safetensors").value();
  const auto find = [&](const std::string& name) -> const SafetensorsArray* {
    for (const SafetensorsArray& array : golden->arrays())
      if (array.name == name) return &array;
    return nullptr;
  };
  const SafetensorsArray* weight = find("weight");
  REQUIRE(weight);
  LinearInput input{"m", weight->shape[0], weight->shape[1], {reinterpret_cast<const float*>(weight->bytes.data()), static_cast<std::size_t>(weight->count_values())}, {}};
  ThreadPool pool(2);
  int compared = 0;
  for (const LinearQuantizer& quantizer : all_linear_quantizers()) {
    const std::string name(quantizer.name);
    const auto arrays = quantizer.quantize(input, name.starts_with("bnb") ? 64 : 32, pool);
    if (!arrays) FAIL(arrays.error().detail);
    for (const StoredArray& array : *arrays) {
      const SafetensorsArray* expected = find(name + "." + array.suffix);
      if (!expected) continue;
      CAPTURE(name, array.suffix);
      CHECK(array.dtype == expected->dtype);
      CHECK(array.shape == expected->shape);
      REQUIRE(array.bytes.size() == expected->bytes.size());
      std::size_t same = 0;
      int furthest = 0;
      for (std::size_t i = 0; i < array.bytes.size(); ++i) {
        same += array.bytes[i] == expected->bytes[i];
        furthest = std::max(furthest, std::abs(static_cast<int>(array.bytes[i]) - static_cast<int>(expected->bytes[i])));
      }
      // HQQ's zero points are means, which torch sums in another order. Of two entries that a scale lies halfway between (to 1e-4),
      // bitsandbytes may take the other one.
      const bool scale_codes = name.ends_with("-dq") && array.suffix == "weight.absmax";
      if (scale_codes) CHECK(furthest <= 1);
      if (name.starts_with("hqq") || scale_codes) CHECK(static_cast<double>(same) >= 0.96 * static_cast<double>(array.bytes.size()));
      else CHECK(same == array.bytes.size());
      ++compared;
    }
  }
  CHECK(compared >= 40);
}

TEST_CASE("while a quantized folder becomes another format, the pages it was read from are given back", "[quantizers][folders]") {
  const Folder scratch;
  test::RandomModel shape;
  shape.width = 256, shape.feed_forward = 512, shape.layers = 6;
  REQUIRE(test::write_random_model(scratch / "f32.gguf", shape).has_value());
  quantize(scratch / "f32.gguf", scratch / "fp8", with_format("fp8-e4m3"));
  const fs::path shard = scratch / "fp8/model.safetensors";
  double most = 0;
  std::uint64_t calls = 0;
  const auto look = [&](std::uint64_t, std::uint64_t) {
    most = std::max(most, resident_bytes(shard));
    return ++calls > 0;
  };
  QuantizeOptions options = with_format(GENERATE("Q8_0", "Q4_0", "bnb-nf4"));
  CAPTURE(options.format);
  options.progress = look;
  if (find_linear_quantizer(options.format)) quantize(scratch / "fp8", scratch / "again", options);
  else REQUIRE(quantize_model(scratch / "fp8", scratch / "again.gguf", options).has_value());
  CHECK(calls > 40);
  CHECK(most < 0.2 * static_cast<double>(fs::file_size(shard)));
}

TEST_CASE("LLM.int8 rounds the inverse of the largest magnitude before it multiplies, as torch does", "[quantizers][folders]") {
  std::vector<float> row(32, 0.0f);
  row[0] = 0x1.01f424p+1f;  // 127 / row[0] is another number, with which the others would be 2, 3 and 5
  row[1] = 0x1.44fb24p-5f, row[2] = 0x1.c6f93p-5f, row[3] = 0x1.657aa6p-4f;
  ThreadPool pool(1);
  const auto arrays = find_linear_quantizer("bnb-int8")->quantize({"m", 1, 32, row, {}}, 64, pool).value();
  const std::vector<int> expected = {127, 3, 4, 6, 0};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(static_cast<int>(arrays[0].bytes[i]) == expected[i]);
}

TEST_CASE("hqq's own arrays decode to the values that hqq gives", "[quantizers][folders]") {
  const auto golden = SafetensorsFile::open(test::source_dir() / "tests/golden/quantizers.safetensors").value();
  std::map<std::string, const SafetensorsArray*> arrays;
  for (const SafetensorsArray& array : golden->arrays()) arrays.emplace(array.name, &array);
  const SafetensorsArray& weight = *arrays.at("weight");
  const LinearInput input{"m", weight.shape[0], weight.shape[1], {reinterpret_cast<const float*>(weight.bytes.data()), static_cast<std::size_t>(weight.count_values())}, {}};
  ThreadPool pool(1);
  for (const std::string name : {"hqq-8", "hqq-4", "hqq-3", "hqq-2", "hqq-1"}) {
    CAPTURE(name);
    const auto ours = find_linear_quantizer(name)->quantize(input, 32, pool).value();  // the settings around the numbers
    Module module(ours);
    for (auto& [suffix, array] : module.arrays.arrays)
      if (const auto theirs = arrays.find(name + "." + suffix); theirs != arrays.end()) array = theirs->second;
    const auto read = module.read(huggingface::kHqq, huggingface::Json::object());
    const auto* wanted = reinterpret_cast<const float*>(arrays.at(name + ".values")->bytes.data());
    std::vector<float> values(static_cast<std::size_t>(input.columns));
    for (std::int64_t n = 0; n < input.rows; ++n) {
      read->decode(n, values.data());
      REQUIRE(std::memcmp(values.data(), wanted + n * input.columns, 4 * values.size()) == 0);
    }
  }
}

// How far a value may move: half a step of the format's grid under the scale that its group, row or matrix must have.
void check_errors(const LinearQuantizer& quantizer, const std::vector<float>& original, const std::vector<float>& decoded, std::int64_t columns) {
  const std::string_view name = quantizer.name;
  const auto largest = [&](std::size_t begin, std::size_t count) {
    float amax = 0;
    for (std::size_t i = begin; i < begin + count; ++i) amax = std::max(amax, std::fabs(original[i]));
    return static_cast<double>(amax);
  };
  const auto width = static_cast<std::size_t>(columns);
  if (name.starts_with("hqq")) {
    // Fitted: no bound for a value, but the mean error is none above that of the grid from minimum to maximum, from which the fit
    // starts, beside what the rounding of scale and zero point to F16 moves (each 2^-12 of 2^b - 1 steps at most, twice).
    const double top = (1 << (name.back() - '0')) - 1;
    double fitted = 0, plain = 0, rounding = 0;
    for (std::size_t g = 0; g < original.size(); g += 32) {
      const auto [low, high] = std::minmax_element(original.begin() + static_cast<std::ptrdiff_t>(g), original.begin() + static_cast<std::ptrdiff_t>(g) + 32);
      const double step = (static_cast<double>(*high) - *low) / top;
      for (std::size_t i = g; i < g + 32; ++i) {
        fitted += std::fabs(static_cast<double>(decoded[i]) - original[i]);
        plain += std::fabs(*low + step * std::nearbyint((original[i] - *low) / step) - original[i]);
        rounding += step * top * 0x1p-11;
      }
    }
    CHECK(fitted <= 1.02 * plain + rounding);
    CHECK(fitted > 0.5 * plain);
    return;
  }
  const double matrix = largest(0, original.size());
  double magnitude = 0, most = 0, sum = 0;
  for (const float value : original) magnitude += std::fabs(static_cast<double>(value));
  magnitude /= static_cast<double>(original.size());
  for (std::size_t i = 0; i < original.size(); ++i) {
    const double x = original[i], error = std::fabs(static_cast<double>(decoded[i]) - x), row = largest(i / width * width, width), group32 = largest(i / 32 * 32, 32);
    const auto fp8 = [&](double scale, int mantissa, double smallest) { return std::max(std::fabs(x) * std::ldexp(1, -mantissa - 1), scale * smallest / 2); };
    double bound = 0;
    if (name.starts_with("bnb-nf4")) bound = largest(i / 64 * 64, 64) * (1 - 0.6961928) / 2;             // the widest gap of the table
    else if (name.starts_with("bnb-fp4")) bound = largest(i / 64 * 64, 64) * (1 - 8.0 / 12) / 2;
    else if (name == "bnb-int8") bound = row / 127 / 2;
    else if (name == "fp8-e4m3") bound = fp8(matrix / 448, 3, 0x1p-9);
    else if (name == "fp8-e4m3-channel") bound = fp8(row / 448, 3, 0x1p-9);
    else if (name == "fp8-e5m2") bound = fp8(matrix / 57344, 2, 0x1p-16);
    else if (name == "fp8-e5m2-channel") bound = fp8(row / 57344, 2, 0x1p-16);
    else if (name == "w4a16") bound = group32 / 7.5 / 2 + group32 * 0x1p-11;                              // a scale rounded down to F16 cuts the largest
    else if (name == "w4a16-asym") bound = 2 * group32 / 15 + group32 * 0x1p-10;                          // half a step, and half of one by the zero point
    else if (name == "w8a16" || name == "w8a8") bound = row / 127.5 / 2 + row * 0x1p-11;
    else if (name == "ternary") bound = std::max(magnitude / 2, std::fabs(x) - magnitude);
    else if (name == "sparse24-w4" || name == "sparse24-w8")
      bound = decoded[i] == 0 ? std::fabs(x) : group32 / (name == "sparse24-w4" ? 7.5 : 127.5) / 2 + group32 * 0x1p-11;
    else if (name != "lossless-bf16") FAIL("no bound for this format");
    if (name.ends_with("-dq")) bound += matrix * 0.9 / 64 / 2;                                            // the widest gap among the 8-bit scales
    most = std::max(most, error - bound * (1 + 1e-5));
    sum += error;
  }
  CHECK(most <= 1e-9);
  if (name != "lossless-bf16") CHECK(sum > 0);
}

TEST_CASE("every format of folders is read back, no value further away than half a step", "[quantizers][folders]") {
  const Folder scratch;
  test::RandomModel shape;
  shape.format = "BF16";
  REQUIRE(test::write_random_model(scratch / "in.gguf", shape).has_value());
  const auto before = open_model_file(scratch / "in.gguf").value();
  const std::string tensor = "blk.1.ffn_down.weight";
  const auto original = values_of(*before, tensor);
  for (const LinearQuantizer& quantizer : all_linear_quantizers()) {
    CAPTURE(quantizer.name);
    const fs::path out = scratch / std::string(quantizer.name);
    const QuantizeReport report = quantize(scratch / "in.gguf", out, with_format(quantizer.name));
    const auto after = open_model_file(out);
    if (!after) FAIL(after.error().detail);
    const auto decoded = values_of(**after, tensor);
    double error = 0;
    for (std::size_t i = 0; i < decoded.size(); ++i) error += (static_cast<double>(decoded[i]) - original[i]) * (static_cast<double>(decoded[i]) - original[i]);
    error = std::sqrt(error / static_cast<double>(decoded.size()));
    check_errors(quantizer, original, decoded, (*after)->find_tensor(tensor)->columns());
    for (const QuantizedTensor& one : report.tensors) {
      if (one.name == tensor) CHECK(one.rmse == Approx(error).epsilon(1e-6));
      if (one.name == tensor) CHECK(one.format_name() == quantizer.name);
      if (one.name == "blk.0.attn_norm.weight") CHECK(one.format_name() == "F32");
    }
    CHECK(values_of(**after, "token_embd.weight") == values_of(*before, "token_embd.weight"));
    const auto stored = SafetensorsFile::open(out / "model.safetensors").value();
    CHECK(stored->metadata().contains("quantfleet.format") == quantizer.only_here);
  }
}

TEST_CASE("every expert of a mixture is quantized by itself, by its own importance; the router stays", "[quantizers][folders]") {
  const Folder scratch;
  const fs::path golden = test::source_dir() / "tests/golden/huggingface", in = scratch / "in";
  fs::create_directories(in);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) fs::copy_file(golden / file, in / file);
  for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(golden / "mixtral" / file, in / file);
  const auto before = open_model_file(in).value();
  const std::string name = "blk.1.ffn_up_exps.weight";
  const std::vector<float> original = values_of(*before, name);
  const std::size_t per_expert = original.size() / 4;
  for (const char* format : {"w8a16", "w8a8", "fp8-e4m3", "hqq-8"}) {
    CAPTURE(format);
    quantize(in, scratch / format, with_format(format));
    const auto after = open_model_file(scratch / format).value();
    CHECK(after->find_tensor(name)->shape == before->find_tensor(name)->shape);
    const std::vector<float> values = values_of(*after, name);
    double error = 0, square = 0, swapped = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      error += std::pow(double(values[i]) - original[i], 2);
      square += std::pow(double(original[i]), 2);
      swapped += std::pow(double(values[i]) - original[(i + per_expert) % original.size()], 2);
    }
    CHECK(error < 2e-3 * square);
    CHECK(swapped > square);  // experts are not mistaken for each other
    CHECK(values_of(*after, "blk.1.ffn_gate_inp.weight") == values_of(*before, "blk.1.ffn_gate_inp.weight"));
    const auto config = nlohmann::json::parse(contents(scratch / format / "config.json"))["quantization_config"];
    const bool patterns = config["quant_method"] == "compressed-tensors";
    CHECK(config[patterns ? "ignore" : "modules_to_not_convert"].dump().find(patterns ? "re:.*gate$" : "\"gate\"") != std::string::npos);
  }
  // 2:4: columns that matter to one expert only.
  ImportanceMatrix matrix;
  matrix.entries[name].mean_square.assign(4 * 32, 1.0f);
  for (std::size_t k = 0; k < 32; k += 4) matrix.entries[name].mean_square[2 * 32 + k] = 1e6f;
  REQUIRE(write_importance_matrix(scratch / "imatrix.dat", matrix).has_value());
  QuantizeOptions options = with_format("sparse24-w8");
  options.importance_matrix = scratch / "imatrix.dat";
  quantize(in, scratch / "sparse", options);
  const std::vector<float> sparse = values_of(*open_model_file(scratch / "sparse").value(), name);
  for (std::size_t expert = 0; expert < 4; ++expert) {
    int kept = 0;
    for (std::size_t i = 0; i < per_expert; i += 4) kept += sparse[expert * per_expert + i] != 0;
    if (expert == 2) CHECK(kept > 0.97 * double(per_expert / 4));
    else CHECK(kept < 0.7 * double(per_expert / 4));
  }
}

TEST_CASE("a lossless folder gives every bit of a BF16 model back, and is smaller", "[quantizers][folders]") {
  const Folder scratch;
  test::RandomModel shape;
  shape.format = "BF16";
  REQUIRE(test::write_random_model(scratch / "in.gguf", shape).has_value());
  const QuantizeReport report = quantize(scratch / "in.gguf", scratch / "out", with_format("lossless-bf16"));
  const auto before = open_model_file(scratch / "in.gguf").value(), after = open_model_file(scratch / "out").value();
  for (const GgufTensor& tensor : before->tensors()) {
    CAPTURE(tensor.name);
    const GgufTensor* other = after->find_tensor(tensor.name);
    REQUIRE(other);
    CHECK(other->format == tensor.format);
    std::vector<std::byte> a, b;
    const auto x = before->rows(tensor, 0, tensor.rows(), a), y = after->rows(*other, 0, other->rows(), b);
    CHECK(std::equal(x.begin(), x.end(), y.begin(), y.end()));
  }
  CHECK(report.bits_per_weight < 0.75 * 16);
  shape.format = "F32";
  REQUIRE(test::write_random_model(scratch / "f32.gguf", shape).has_value());
  CHECK_THAT(quantize_checkpoint(scratch / "f32.gguf", scratch / "no", with_format("lossless-bf16")).error().detail, Catch::Contains("which is no BF16"));
  CHECK(!fs::exists(scratch / "no"));
}

TEST_CASE("every BF16 number survives the entropy coder", "[quantizers][folders]") {
  std::vector<std::uint16_t> values;
  for (int i = 0; i < 65536; ++i) values.push_back(static_cast<std::uint16_t>(i * 40503u));
  values.resize(65536 + 256, 0x3f80);  // and a row of one exponent
  const auto arrays = huggingface::pack_lossless(257, 256, values);
  const Module module(arrays);
  const auto weight = module.read(huggingface::kLossless, huggingface::Json::object());
  std::vector<std::uint16_t> row(256);
  for (std::int64_t n = 0; n < 257; ++n) {
    weight->store(n, reinterpret_cast<std::byte*>(row.data()));
    REQUIRE(std::equal(row.begin(), row.end(), values.begin() + n * 256));
  }
}

TEST_CASE("what the engine packs are the decoder's values, bit for bit, and small", "[quantizers][folders]") {
  std::uint32_t state = 1;
  const auto next = [&] { return state = state * 1664525 + 1013904223, state >> 8; };
  std::vector<float> values;
  for (int i = 0; i < 64 * 256; ++i) values.push_back(bfloat16_to_float(float_to_bfloat16(static_cast<float>(next()) * 0x1p-24f - 0.5f)));
  const LinearInput input{"m", 64, 256, values, {}};
  const auto check = [](const huggingface::LinearWeight& weight, double most_bits) {
    const BlockFormat& format = *weight.format();
    const std::int64_t columns = weight.columns();
    std::vector<float> decoded(static_cast<std::size_t>(columns)), again(decoded.size());
    std::vector<std::byte> row(static_cast<std::size_t>(format.row_bytes(columns)));
    for (std::int64_t n = 0; n < weight.rows(); ++n) {
      weight.decode(n, decoded.data());
      weight.store(n, row.data());
      format.decode(row.data(), columns / format.values_per_block, again.data());
      REQUIRE(std::memcmp(decoded.data(), again.data(), 4 * decoded.size()) == 0);
    }
    const std::size_t packed = WeightMatrix::packed_bytes(**find_kernels("scalar"), format, weight.rows(), columns);
    CHECK(8 * static_cast<double>(packed) <= most_bits * static_cast<double>(weight.rows() * columns));
  };
  ThreadPool pool(1);
  const std::map<std::string_view, double> bits = {{"bnb-nf4", 4.5}, {"bnb-nf4-dq", 4.5}, {"bnb-fp4", 4.5}, {"bnb-fp4-dq", 4.5}, {"bnb-int8", 8.26}, {"hqq-8", 9}, {"hqq-4", 5}, {"hqq-3", 4}, {"hqq-2", 3},
                                                   {"hqq-1", 2}, {"fp8-e4m3", 8.13}, {"fp8-e4m3-channel", 8.13}, {"fp8-e5m2", 8.13}, {"fp8-e5m2-channel", 8.13}, {"w4a16", 4.5}, {"w4a16-asym", 5},
                                                   {"w8a16", 8.13}, {"w8a8", 8.26}, {"ternary", 8.26}, {"sparse24-w4", 4.51}, {"sparse24-w8", 8.51}, {"lossless-bf16", 16}};
  for (const LinearQuantizer& quantizer : all_linear_quantizers()) {
    CAPTURE(quantizer.name);
    const std::int64_t group_size = quantizer.name.starts_with("bnb") ? 64 : 32;
    const auto arrays = quantizer.quantize(input, group_size, pool).value();
    check(*Module(arrays).read(*quantizer.reader, quantizer.config(group_size)), bits.at(quantizer.name));
  }
  for (const int width : {2, 3, 4, 8}) {
    CAPTURE(width);
    huggingface::GroupedCodes codes{width, 64, 256, 32, {}, {}, {}, {}};
    for (int i = 0; i < 64 * 256; ++i) codes.codes.push_back(static_cast<std::uint8_t>(next() & ((1u << width) - 1)));
    for (int i = 0; i < 64 * 8; ++i) codes.scales.push_back(half_to_float(float_to_half(static_cast<float>(next()) * 0x1p-28f))), codes.zeros.push_back(static_cast<std::uint8_t>(next() & ((1u << width) - 1)));
    if (width == 4) check(*Module(huggingface::pack_awq("m", codes).value()).read(huggingface::kAwq, {{"bits", 4}, {"group_size", 32}}), 5);
    for (const bool act_order : {false, true}) {
      for (int k = 0; act_order && k < 256; ++k) codes.g_idx.push_back(k * 5 % 8);
      check(*Module(huggingface::pack_gptq("m", codes, true).value()).read(huggingface::kGptq, {{"bits", width}, {"group_size", 32}, {"checkpoint_format", "gptq_v2"}}), width + 1);
    }
  }
}

TEST_CASE("two of every four inputs stay: the largest, or with an importance matrix the most important", "[quantizers][folders]") {
  const std::vector<float> row = {1, -3, 2, 0.5f, 4, 4, 4, 4};
  std::vector<float> importance = {100, 0, 0, 100, 1, 1, 1, 1};
  ThreadPool pool(1);
  LinearInput input{"m", 1, 8, row, {}};
  const LinearQuantizer& quantizer = *find_linear_quantizer("sparse24-w8");
  const auto places = [&] { return static_cast<int>(quantizer.quantize(input, 8, pool).value()[1].bytes[0]); };
  CHECK(places() == ((1 + 4 * 2) | (0 + 4 * 1) << 4));
  input.importance = importance;
  CHECK(places() == ((0 + 4 * 3) | (0 + 4 * 1) << 4));
}

TEST_CASE("folders have the same bytes for every number of threads", "[quantizers][folders]") {
  const Folder scratch;
  test::RandomModel shape;
  shape.format = "BF16";
  REQUIRE(test::write_random_model(scratch / "in.gguf", shape).has_value());
  for (const char* format : {"bnb-nf4-dq", "hqq-4", "w4a16", "w8a8", "ternary", "sparse24-w4", "lossless-bf16"}) {
    CAPTURE(format);
    std::string first;
    for (const int threads : {1, 3}) {
      const fs::path out = scratch / (format + std::to_string(threads));
      quantize(scratch / "in.gguf", out, with_format(format, threads));
      const std::string bytes = contents(out / "model.safetensors") + contents(out / "config.json") + contents(out / "tokenizer.json");
      if (first.empty()) first = bytes;
      CHECK(bytes == first);
    }
  }
}

TEST_CASE("bad input to a folder format is one sentence that names the tensor, and leaves nothing", "[quantizers][folders]") {
  const Folder scratch;
  test::RandomModel shape;
  REQUIRE(test::write_random_model(scratch / "in.gguf", shape).has_value());
  const std::size_t before = scratch.count_files();
  const auto error = [&](QuantizeOptions options, const std::string& in = "in.gguf") {
    const auto report = quantize_checkpoint(scratch / in, scratch / "out", options);
    CHECK(!report);
    CHECK(!fs::exists(scratch / "out"));
    return report ? std::string() : report.error().detail;
  };
  auto options = with_format("w4a16");
  options.group_size = 48;
  CHECK_THAT(error(options), Catch::Contains("model.layers.0.self_attn.q_proj: 64 inputs do not divide into groups of 48"));
  options = with_format("hqq-4");
  options.group_size = 100000;
  CHECK_THAT(error(options), Catch::Contains("do not divide into groups of 100000"));
  options = with_format("w8a8");
  options.group_size = 64;
  CHECK_THAT(error(options), Catch::Contains("w8a8 has no groups"));
  options = with_format("bnb-nf4");
  options.importance_matrix = scratch / "in.gguf";
  CHECK_THAT(error(options), Catch::Contains("bnb-nf4 does not weigh columns"));
  CHECK_THAT(error(with_format("nf5")), Catch::Contains("no format of folders is called nf5; known are bnb-nf4"));
  options = with_format("w8a8");
  options.progress = [](std::uint64_t, std::uint64_t) { return false; };
  CHECK_THAT(error(options), Catch::Contains("interrupted at tensor"));

  for (const auto& [name, columns, sentence] : {std::tuple("blk.7.attn_q.weight", 64, "is of another model: it names tensor blk.7.attn_q.weight"),
                                                std::tuple("blk.1.attn_q.weight", 32, "has 32 values for tensor blk.1.attn_q.weight")}) {
    ImportanceMatrix other;
    other.entries[name] = {std::vector<float>(static_cast<std::size_t>(columns), 1.0f), 1};
    REQUIRE(write_importance_matrix(scratch / "in.imatrix", other).has_value());
    options = with_format("sparse24-w4");
    options.importance_matrix = scratch / "in.imatrix";
    CHECK_THAT(error(options), Catch::Contains(sentence));
    fs::remove(scratch / "in.imatrix");
  }

  std::string bytes = contents(scratch / "in.gguf");  // the last values of the file belong to the output matrix
  const auto file = GgufFile::open(scratch / "in.gguf").value();
  const GgufTensor* found = file->find_tensor("blk.1.ffn_up.weight");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::string needle(reinterpret_cast<const char*>(found->bytes.data()), 64);
  const std::size_t place = bytes.find(needle);
  REQUIRE(place != std::string::npos);
  // Rows repeat after 128, matrices do not.
  std::memcpy(bytes.data() + place + 4 * 65, &nan, 4);
  std::ofstream(scratch / "nan.gguf", std::ios::binary) << bytes;
  for (const LinearQuantizer& quantizer : all_linear_quantizers()) {
    CAPTURE(quantizer.name);
    if (quantizer.whole_model) continue;  // lossless-bf16 refuses F32 before it comes to this tensor
    CHECK_THAT(error(with_format(quantizer.name), "nan.gguf"), Catch::Contains("row 1, column 1") && Catch::Contains("where a finite weight is needed"));
  }
  CHECK(scratch.count_files() == before + 1);
}

TEST_CASE("an array that is missing from a quantized module is named, or its module; what a format can do without is listed here", "[quantizers][folders]") {
  std::vector<float> values(32 * 64);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = bfloat16_to_float(float_to_bfloat16(std::sin(static_cast<float>(i))));
  const LinearInput input{"m", 32, 64, values, {}};
  ThreadPool pool(1);
  const std::set<std::string> optional = {"bnb-int8 weight_format", "hqq view_as_float"};
  const std::set<std::string> notes = {"nbits", "unpack_view_dtype", "quant_scale", "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict", "stores_quant_config", "channel_wise", "optimize", "round_zero"};
  for (const LinearQuantizer& quantizer : all_linear_quantizers()) {
    const std::string name(quantizer.name);
    const std::int64_t group_size = name.starts_with("bnb") ? 64 : 32;
    const auto config = quantizer.config(group_size);
    const auto arrays = quantizer.quantize(input, group_size, pool).value();
    for (const StoredArray& missing : arrays) {
      CAPTURE(name, missing.suffix);
      if (name.starts_with("hqq") && notes.contains(missing.suffix)) continue;
      if (optional.contains(name + " " + missing.suffix) || optional.contains(name.substr(0, 3) + " " + missing.suffix)) continue;
      if (name == "w4a16-asym" && missing.suffix == "weight_zero_point") continue;  // symmetric then
      Module module(arrays);
      module.arrays.arrays.erase(missing.suffix);
      huggingface::JsonReader reader(config, "config");
      const auto weight = quantizer.reader->read(module.arrays, reader);
      if (weight) CHECK(*weight == nullptr);  // not a quantized module any more: what is left of it is refused by the folder's reader
      else CHECK_THAT(weight.error().detail, Catch::StartsWith("m"));
    }
  }
}

TEST_CASE("FP8 codes are the nearest, ties to even, and saturate", "[quantizers][folders]") {
  CHECK(to_e4m3(0) == 0);
  CHECK(to_e4m3(-0.0f) == 0x80);
  CHECK(to_e4m3(1) == 0x38);
  CHECK(to_e4m3(1.0625f) == 0x38);   // between 1 and 1.125: even
  CHECK(to_e4m3(1.1875f) == 0x3a);   // between 1.125 and 1.25: even
  CHECK(to_e4m3(448) == 0x7e);
  CHECK(to_e4m3(1e9f) == 0x7e);
  CHECK(to_e4m3(0x1p-9f) == 1);
  CHECK(to_e4m3(0x1p-10f) == 0);     // half of the smallest: even
  CHECK(to_e4m3(0x1.8p-10f) == 1);
  CHECK(to_e4m3(0x1.fp-7f) == 8);    // carries into the normal numbers
  CHECK(to_e5m2(57344) == 0x7b);
  CHECK(to_e5m2(-1e9f) == 0xfb);
  CHECK(to_e5m2(0x1p-16f) == 1);
  CHECK(to_e5m2(std::numeric_limits<float>::infinity()) == 0x7b);
  CHECK(to_e4m3(std::numeric_limits<float>::denorm_min()) == 0);
  for (const auto& [to_code, mantissa, bias, largest] : {std::tuple(&to_e4m3, 3, 7, 0x7e), std::tuple(&to_e5m2, 2, 15, 0x7b)}) {
    const auto number = [mantissa = mantissa, bias = bias](int code) {
      const int exponent = std::max(code >> mantissa, 1), units = code & ((1 << mantissa) - 1);
      return std::ldexp(static_cast<float>(code >> mantissa ? units + (1 << mantissa) : units), exponent - bias - mantissa);
    };
    for (int code = 0; code < largest; ++code) {  // each number, and what lies around the middle to the next
      CAPTURE(mantissa, code);
      const float here = number(code), middle = (here + number(code + 1)) / 2;
      CHECK(to_code(here) == code);
      CHECK(to_code(-here) == (code | 0x80));
      CHECK(to_code(std::nextafter(middle, 0.0f)) == code);
      CHECK(to_code(middle) == code + code % 2);
      CHECK(to_code(std::nextafter(middle, 1e9f)) == code + 1);
    }
  }
}

}  // namespace
}  // namespace quantfleet
