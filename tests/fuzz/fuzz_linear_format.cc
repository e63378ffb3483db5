// Any arrays as the module of a quantized checkpoint, through every linear format's reader: a weight or one sentence that names the
// module or the settings; every row of what is accepted decodes, and its stored form decodes to the same values.
//   u8 format, of all_linear_formats | u16 length, quantization_config as JSON | u8 arrays, each:
//     u8 name, of the format's suffixes, "weight", "bias" | u8 dtype, of kDtypes | u8 dimensions (mod 4), u16 each | bytes; behind the end: zeros
// Seeds: tests/tools/linear_format_seeds.py
#include "backends/huggingface/linear_format.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr const char* kDtypes[] = {"F32", "F16", "BF16", "I32", "U8", "I8", "F8_E4M3", "F8_E5M2", "I64", "I16", "U32", "U16"};
constexpr std::int64_t kBytesMax = 1 << 20;  // of all arrays

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : next_(data), left_(size) {}
  std::size_t number(int bytes) {
    std::size_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= static_cast<std::size_t>(left_ > 0 ? *next_ : 0) << (8 * i), skip(1);
    return value;
  }
  std::vector<std::byte> bytes(std::size_t count) {
    std::vector<std::byte> bytes(count);
    const std::size_t given = std::min(count, left_);
    if (given > 0) std::memcpy(bytes.data(), next_, given);
    skip(given);
    return bytes;
  }

 private:
  void skip(std::size_t count) { count = std::min(count, left_), next_ += count, left_ -= count; }
  const std::uint8_t* next_;
  std::size_t left_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  using namespace quantfleet::huggingface;
  Input input(data, size);
  const auto formats = all_linear_formats();
  const LinearFormat& format = *formats[input.number(1) % formats.size()];
  const std::vector<std::byte> text = input.bytes(std::min<std::size_t>(input.number(2), size));
  Json json;
  if (!parse_json({reinterpret_cast<const char*>(text.data()), text.size()}, "quantization_config", json)) return 0;
  JsonReader described(json, "quantization_config"), config(json, "quantization_config");

  std::vector<std::string> suffixes(format.suffixes.begin(), format.suffixes.end());
  suffixes.insert(suffixes.end(), {"weight", "bias"});
  std::map<std::string, std::vector<std::byte>> contents;
  std::map<std::string, SafetensorsArray> arrays;
  std::int64_t left = kBytesMax;
  for (std::size_t count = input.number(1) % 24; count > 0; --count) {
    const std::string& suffix = suffixes[input.number(1) % suffixes.size()];
    SafetensorsArray array{"m." + suffix, kDtypes[input.number(1) % std::size(kDtypes)], {}, {}};
    std::int64_t values = 1;
    for (std::size_t dimensions = input.number(1) % 4; dimensions > 0; --dimensions) {
      array.shape.push_back(static_cast<std::int64_t>(input.number(2)));
      values = std::min(values * array.shape.back(), kBytesMax + 1);
    }
    const std::int64_t bytes = values * safetensors_bits(array.dtype) / 8;
    if (bytes > left) return 0;
    left -= bytes;
    contents[suffix] = input.bytes(static_cast<std::size_t>(bytes));
    array.bytes = contents[suffix];
    arrays[suffix] = array;
  }
  ModuleArrays module;
  module.name = "m";
  for (const auto& [suffix, array] : arrays) module.arrays.emplace(suffix, &array);

  if (const auto name = format.describe(described); name ? name->empty() : name.error().detail.empty()) __builtin_trap();
  const auto weight = format.read(module, config);
  if (!weight) {
    const std::string& sentence = weight.error().detail;
    if (sentence.find("m.") == std::string::npos && sentence.find("m:") == std::string::npos && sentence.find("quantization_config") == std::string::npos) __builtin_trap();
    return 0;
  }
  if (!*weight) return 0;
  const LinearWeight& linear = **weight;
  if (linear.rows() < 1 || linear.columns() < 1) __builtin_trap();
  const auto columns = static_cast<std::size_t>(linear.columns());
  const BlockFormat& stored = *linear.format();
  std::vector<float> values(columns), again(columns);
  std::vector<std::byte> blocks(static_cast<std::size_t>(stored.row_bytes(linear.columns())));
  std::int64_t budget = 1 << 22;  // values: a few bytes may stand for much
  for (std::int64_t row = 0; row < linear.rows() && budget > 0; ++row, budget -= linear.columns()) {
    linear.decode(row, values.data());
    linear.store(row, blocks.data());
    stored.decode(blocks.data(), linear.columns() / stored.values_per_block, again.data());
    for (std::size_t k = 0; k < columns; ++k)
      if (values[k] != again[k] && !(std::isnan(values[k]) && std::isnan(again[k]))) __builtin_trap();
  }
  return 0;
}
