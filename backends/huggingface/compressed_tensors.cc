// compressed-tensors checkpoints (vLLM, llm-compressor): packed integers under group scales (W4A16 and kin), int8 and FP8 rows
// (W8A8, FP8), and NVFP4. Where the configuration says that activations are int8 (per token, or one calibrated scale), symmetric int8
// rows go to the engine as such (backends/formats/row_int8.h); all other activations stay F32. Spec: docs/formats/huggingface.md
#include "backends/huggingface/linear_format.h"

#include "backends/formats/row_int8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"weight_packed", "weight_scale",  "weight_shape", "weight_zero_point",  "weight_g_idx",
                                          "weight_global_scale", "input_scale", "input_zero_point", "input_global_scale"};
constexpr float kE2m1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

// The weights' settings of the one group of modules.
struct Settings {
  std::string format;
  int bits = 8;
  bool is_float = false;
  bool int8_activations = false, dynamic = true;  // per token, or one calibrated scale
};

Settings read_settings(JsonReader& config) {
  Settings settings;
  settings.format = config.text("format", "");
  const Json* groups = config.find("config_groups");
  if (!groups || !groups->is_object() || groups->size() != 1) {
    config.fail(Code::kUnsupported, "config_groups does not have exactly one group");
    return settings;
  }
  const Json& group = groups->begin().value();
  const auto weights = group.is_object() ? group.find("weights") : group.end();
  if (!group.is_object() || weights == group.end() || !weights->is_object()) {
    config.fail(Code::kBadValue, "config_groups has a group without weights");
    return settings;
  }
  JsonReader reader(*weights, config.place() + ": weights");
  settings.bits = static_cast<int>(reader.integer("num_bits", 2, 8));
  settings.is_float = reader.text("type", "int") == "float";
  if (const auto inputs = group.find("input_activations"); inputs != group.end() && inputs->is_object()) {
    JsonReader activations(*inputs, config.place() + ": input_activations");
    const std::string strategy = activations.text("strategy", "tensor");
    settings.dynamic = activations.find("dynamic") && activations.find("dynamic")->is_string() ? false : activations.flag("dynamic", false);
    settings.int8_activations = activations.integer("num_bits", 1, 16, 16) == 8 && activations.text("type", "int") == "int" && activations.flag("symmetric", true) &&
                                strategy == (settings.dynamic ? "token" : "tensor");
    if (activations.error()) config.fail(activations.error()->code, activations.error()->detail);
  }
  if (const std::string own = text_of(group, "format"); !own.empty()) settings.format = own;
  constexpr std::string_view kKnown[] = {"", "dense", "pack-quantized", "int-quantized", "naive-quantized", "float-quantized", "nvfp4-pack-quantized"};
  if (std::find(std::begin(kKnown), std::end(kKnown), settings.format) == std::end(kKnown))
    config.fail(Code::kUnsupported, fmt::format("format is '{}'; this program reads pack-quantized, int-quantized, naive-quantized, float-quantized and nvfp4-pack-quantized", settings.format));
  if (reader.error()) config.fail(reader.error()->code, reader.error()->detail);
  return settings;
}

// Row n, column k under the scale of its group: value (code - zero) scale.
class GroupedWeight : public LinearWeight {
 public:
  GroupedWeight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}

  float scale_of(std::int64_t row, std::int64_t k) const { return scales[static_cast<std::size_t>(row * groups + group_of(k))]; }
  std::int64_t group_of(std::int64_t k) const { return g_idx.empty() ? k / group_size : g_idx[static_cast<std::size_t>(k)]; }

  // What all layouts' codes share.
  GroupedRows kept_rows(const ModuleArrays& module) const {
    GroupedRows kept;
    kept.group_size = group_size;
    kept.groups = groups;
    kept.group_of.assign(g_idx.begin(), g_idx.end());
    if (module.find("weight_scale")->dtype == "F16") kept.kept = GroupNumbers::kHalves;
    return kept;
  }
  void row_scales(std::int64_t row, float* target) const { std::copy_n(scales.data() + row * groups, groups, target); }

  std::int64_t groups = 1, group_size = 1;
  std::vector<std::int32_t> g_idx;  // empty: groups of neighbours
  std::vector<float> scales;        // [N, G]
};

class PackedWeight final : public GroupedWeight {
 public:
  using GroupedWeight::GroupedWeight;
  void decode(std::int64_t row, float* values) const override {
    const std::byte* words = packed->bytes.data() + 4 * row * row_words;
    for (std::int64_t k = 0; k < columns(); ++k) {
      const int code = static_cast<int>(bits_at(words, 1, k * bits, bits)) - (1 << (bits - 1));
      const int zero = zeros.empty() ? 0 : zeros[static_cast<std::size_t>(row * groups + group_of(k))];
      values[k] = static_cast<float>(code - zero) * scale_of(row, k);
    }
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* row_scale, float* row_zeros) const override {
    for (std::int64_t k = 0; k < columns(); ++k) codes[k] = static_cast<std::uint8_t>(bits_at(packed->bytes.data() + 4 * row * row_words, 1, k * bits, bits));
    row_scales(row, row_scale);
    if (!zeros.empty()) std::copy_n(zeros.data() + row * groups, groups, row_zeros);
  }

 public:
  int bits = 4;
  std::int64_t row_words = 0;
  const SafetensorsArray* packed = nullptr;
  std::vector<std::int16_t> zeros;  // [N, G], or empty: symmetric
};

class ByteWeight final : public GroupedWeight {
 public:
  using GroupedWeight::GroupedWeight;
  void decode(std::int64_t row, float* values) const override {
    const std::int64_t begin = row * columns();
    const bool integers = weight->dtype == "I8";
    const int zero = zero_points ? static_cast<std::int8_t>(zero_points->bytes[static_cast<std::size_t>(zero_points->count_values() == 1 ? 0 : row)]) : 0;
    if (!integers) floats_at(*weight, begin, {values, static_cast<std::size_t>(columns())});
    for (std::int64_t k = 0; k < columns(); ++k) {
      if (integers) values[k] = static_cast<float>(static_cast<std::int8_t>(weight->bytes[static_cast<std::size_t>(begin + k)]) - zero);
      values[k] *= scale_of(row, k);
    }
  }
  const BlockFormat* format() const override { return int8_activations ? row_int8_format(columns(), input_scale, 0) : LinearWeight::format(); }
  void store(std::int64_t row, std::byte* blocks) const override {
    if (!int8_activations) return LinearWeight::store(row, blocks);
    store_row_int8(reinterpret_cast<const std::int8_t*>(weight->bytes.data()) + row * columns(), columns(), scale_of(row, 0), blocks);
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* row_scale, float* row_zeros) const override {
    std::memcpy(codes, weight->bytes.data() + row * columns(), static_cast<std::size_t>(columns()));
    if (weight->dtype == "I8")
      for (std::int64_t k = 0; k < columns(); ++k) codes[k] ^= 0x80;  // plus 128
    row_scales(row, row_scale);
    if (zero_points) std::fill_n(row_zeros, groups, static_cast<float>(static_cast<std::int8_t>(zero_points->bytes[static_cast<std::size_t>(zero_points->count_values() == 1 ? 0 : row)])));
  }

 public:
  bool int8_activations = false;
  float input_scale = 0;
  const SafetensorsArray *weight = nullptr, *zero_points = nullptr;
};

class Nvfp4Weight final : public GroupedWeight {
 public:
  using GroupedWeight::GroupedWeight;
  // Scales as bytes, where the file's divisor may stay outside of them.
  void keep(float divisor) {
    GroupedRows kept;
    kept.numbers = CodeNumbers::kTable;
    for (std::size_t code = 0; code < 16; ++code) kept.table[code] = code & 8 ? -kE2m1[code & 7] : kE2m1[code & 7];
    kept.group_size = group_size;
    kept.groups = groups;
    kept.kept = GroupNumbers::kE4m3;
    kept.divisor = divisor;
    keep_codes(std::move(kept));
  }
  void decode(std::int64_t row, float* values) const override {
    const std::byte* bytes = packed->bytes.data() + row * columns() / 2;
    for (std::int64_t k = 0; k < columns(); ++k) {
      const auto code = static_cast<unsigned>(bytes[k / 2]) >> (4 * (k % 2)) & 15;
      const float value = kE2m1[code & 7];
      values[k] = (code & 8 ? -value : value) * scale_of(row, k);
    }
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* row_scale, float*) const override {
    const std::byte* bytes = packed->bytes.data() + row * columns() / 2;
    for (std::int64_t k = 0; k < columns(); ++k) codes[k] = static_cast<std::uint8_t>(static_cast<unsigned>(bytes[k / 2]) >> (4 * (k % 2)) & 15);
    for (std::int64_t g = 0; g < groups; ++g) row_scale[g] = float_at(*stored_scales, row * groups + g);
  }

 public:
  const SafetensorsArray *packed = nullptr, *stored_scales = nullptr;
};

// weight_scale in one of its shapes: [1] or [] for all, [N] or [N, 1] by row, [N, G] by group.
Status read_scales(const ModuleArrays& module, GroupedWeight& weight) {
  const SafetensorsArray* scale = module.find("weight_scale");
  if (!scale) return module.bad(Code::kNotFound, fmt::format("array {}.weight_scale is missing", module.name));
  const std::int64_t rows = weight.rows(), columns = weight.columns(), count = scale->count_values();
  if (count != 1 && (scale->shape.empty() || scale->shape[0] != rows || count % rows != 0 || scale->shape.size() > 2))
    return module.bad(Code::kBadShape, fmt::format("{}.weight_scale has {} values; one, {} rows, or {} rows of groups are possible", module.name, count, rows, rows));
  if (scale->dtype != "F32" && scale->dtype != "F16" && scale->dtype != "BF16" && scale->dtype != "F8_E4M3")
    return module.bad(Code::kBadValue, fmt::format("{}.weight_scale is of {}", module.name, scale->dtype));
  if (Status finite = check_finite(*scale); !finite) return finite.error();
  weight.groups = count == 1 ? 1 : count / rows;
  if (weight.groups == 0 || columns % weight.groups != 0)
    return module.bad(Code::kBadShape, fmt::format("{} inputs do not divide into {} groups", columns, weight.groups));
  weight.group_size = columns / weight.groups;
  weight.scales.resize(static_cast<std::size_t>(rows * weight.groups));
  for (std::size_t i = 0; i < weight.scales.size(); ++i) weight.scales[i] = float_at(*scale, count == 1 ? 0 : static_cast<std::int64_t>(i));
  if (module.find("weight_g_idx")) {
    const auto g_idx = module.get("weight_g_idx", "I32", {columns});
    if (!g_idx) return g_idx.error();
    for (std::int64_t k = 0; k < columns; ++k) {
      const std::uint32_t group = word_at(**g_idx, k);
      if (group >= weight.groups) return module.bad(Code::kBadValue, fmt::format("{}.weight_g_idx[{}] is {}; there are {} groups", module.name, k, static_cast<std::int32_t>(group), weight.groups));
      weight.g_idx.push_back(static_cast<std::int32_t>(group));
    }
  }
  return {};
}

Result<std::unique_ptr<LinearWeight>> read_packed(const ModuleArrays& module, const Settings& settings) {
  const auto shape = module.get("weight_shape", "I64 I32", {2});
  if (!shape) return shape.error();
  std::int64_t size[2] = {};
  for (int i = 0; i < 2; ++i) {
    if ((*shape)->dtype == "I32") size[i] = static_cast<std::int32_t>(word_at(**shape, i));
    else __builtin_memcpy(&size[i], (*shape)->bytes.data() + 8 * i, 8);
    if (size[i] < 1 || size[i] > 1 << 28) return module.bad(Code::kBadShape, fmt::format("{}.weight_shape[{}] is {}", module.name, i, size[i]));
  }
  const int bits = settings.bits;
  auto weight = std::make_unique<PackedWeight>(size[0], size[1]);
  weight->bits = bits;
  weight->row_words = (size[1] * bits + 31) / 32;
  const auto packed = module.get("weight_packed", "I32 U32", {size[0], weight->row_words});
  if (!packed) return packed.error();
  weight->packed = *packed;
  if (Status status = read_scales(module, *weight); !status) return status.error();
  if (module.find("weight_zero_point")) {
    const std::int64_t words = (size[0] * bits + 31) / 32;
    const auto zeros = module.get("weight_zero_point", "I32 U32", {words, weight->groups});
    if (!zeros) return zeros.error();
    weight->zeros.resize(weight->scales.size());
    for (std::int64_t g = 0; g < weight->groups; ++g)
      for (std::int64_t n = 0; n < size[0]; ++n)
        weight->zeros[static_cast<std::size_t>(n * weight->groups + g)] =
            static_cast<std::int16_t>(static_cast<int>(bits_at((*zeros)->bytes.data() + 4 * g, weight->groups, n * bits, bits)) - (1 << (bits - 1)));
  }
  GroupedRows kept = weight->kept_rows(module);
  kept.bits = bits;
  kept.offset = 1 << (bits - 1);
  kept.zeros = !weight->zeros.empty();
  weight->keep_codes(std::move(kept));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

Result<std::unique_ptr<LinearWeight>> read_bytes(const ModuleArrays& module, const Settings& settings) {
  const auto codes = module.get("weight", "I8 F8_E4M3", {-1, -1});
  if (!codes) return codes.error();
  auto weight = std::make_unique<ByteWeight>((*codes)->shape[0], (*codes)->shape[1]);
  weight->weight = *codes;
  if (weight->rows() == 0 || weight->columns() == 0) return module.bad(Code::kBadShape, fmt::format("{}.weight is empty", module.name));
  if ((*codes)->dtype != "I8")
    if (Status finite = check_finite(**codes); !finite) return finite.error();
  if (Status status = read_scales(module, *weight); !status) return status.error();
  if (const SafetensorsArray* zeros = module.find("weight_zero_point")) {
    if (zeros->dtype != "I8" || (zeros->count_values() != 1 && zeros->count_values() != weight->rows()))
      return module.bad(Code::kBadShape, fmt::format("{}.weight_zero_point is not one I8, or one per row", module.name));
    weight->zero_points = zeros;
  }
  weight->int8_activations = settings.int8_activations && (*codes)->dtype == "I8" && !weight->zero_points && weight->groups == 1 && weight->columns() <= kRowInt8MaxColumns;
  if (weight->int8_activations && !settings.dynamic) {
    const SafetensorsArray* scale = module.find("input_scale");
    if (!scale) return module.bad(Code::kNotFound, fmt::format("array {}.input_scale is missing, and input_activations are not dynamic", module.name));
    weight->input_scale = scale->count_values() == 1 ? float_at(*scale, 0) : 0;
    if (!(weight->input_scale > 0) || !std::isfinite(weight->input_scale)) return module.bad(Code::kBadValue, fmt::format("{}.input_scale is not one positive number", module.name));
  }
  GroupedRows kept = weight->kept_rows(module);
  kept.numbers = (*codes)->dtype == "I8" ? CodeNumbers::kIntegers : CodeNumbers::kE4m3;
  kept.bits = 8;
  kept.offset = 128;
  kept.zeros = weight->zero_points != nullptr;
  weight->keep_codes(std::move(kept));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

Result<std::unique_ptr<LinearWeight>> read_nvfp4(const ModuleArrays& module) {
  const auto packed = module.get("weight_packed", "U8", {-1, -1});
  if (!packed) return packed.error();
  auto weight = std::make_unique<Nvfp4Weight>((*packed)->shape[0], 2 * (*packed)->shape[1]);
  if (weight->rows() == 0 || weight->columns() % 16 != 0 || weight->columns() == 0)
    return module.bad(Code::kBadShape, fmt::format("{} inputs do not divide into groups of 16", weight->columns()));
  weight->packed = *packed;
  const auto scale = module.get("weight_scale", "F8_E4M3", {weight->rows(), weight->columns() / 16});
  if (!scale) return scale.error();
  const auto global = module.get("weight_global_scale", "F32", {1});
  if (!global) return global.error();
  if (Status status = read_scales(module, *weight); !status) return status.error();
  const float divisor = float_at(**global, 0);
  if (!(divisor > 0) || !std::isfinite(divisor)) return module.bad(Code::kBadValue, fmt::format("{}.weight_global_scale is {}", module.name, divisor));
  for (float& value : weight->scales) value /= divisor;
  weight->stored_scales = *scale;
  weight->keep(divisor);
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

Result<std::string> describe(JsonReader& config) {
  const Settings settings = read_settings(config);
  if (config.error()) return *config.error();
  if (settings.format == "nvfp4-pack-quantized") return std::string("CT-nvfp4");
  return settings.is_float ? std::string("CT-fp8") : fmt::format("CT-w{}", settings.bits);
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader& config) {
  const Settings settings = read_settings(config);
  if (config.error()) return *config.error();
  if (module.find("weight_packed"))
    return settings.format == "nvfp4-pack-quantized" ? read_nvfp4(module)
           : settings.is_float                       ? Result<std::unique_ptr<LinearWeight>>(module.bad(Code::kUnsupported, fmt::format("format '{}' is not known", settings.format)))
                                                     : read_packed(module, settings);
  if (module.find("weight_scale")) return read_bytes(module, settings);
  return std::unique_ptr<LinearWeight>();
}

}  // namespace

Result<std::vector<StoredArray>> pack_compressed(const std::string& module, const GroupedCodes& codes, bool symmetric) {
  const int bits = codes.bits;
  const std::int64_t N = codes.rows, K = codes.columns, G = codes.groups(), row_words = (K * bits + 31) / 32;
  if (K % codes.group_size != 0) return Error{Code::kBadShape, fmt::format("{}: {} inputs do not divide into groups of {}", module, K, codes.group_size)};
  std::vector<std::uint32_t> packed(static_cast<std::size_t>(N * row_words));
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t k = 0; k < K; ++k) put_bits(packed.data() + n * row_words, 1, k * bits, bits, codes.codes[static_cast<std::size_t>(n * K + k)]);
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight_packed", "I32", {N, row_words}, packed));
  arrays.push_back(stored_halves("weight_scale", {N, G}, codes.scales));
  arrays.push_back(stored_array("weight_shape", "I64", {2}, std::vector<std::int64_t>{N, K}));
  if (symmetric) return arrays;
  std::vector<std::uint32_t> zeros(static_cast<std::size_t>((N * bits + 31) / 32 * G));
  for (std::int64_t g = 0; g < G; ++g)
    for (std::int64_t n = 0; n < N; ++n) put_bits(zeros.data() + g, G, n * bits, bits, codes.zeros[static_cast<std::size_t>(n * G + g)]);
  arrays.push_back(stored_array("weight_zero_point", "I32", {(N * bits + 31) / 32, G}, zeros));
  return arrays;
}

const LinearFormat kCompressedTensors = {"compressed-tensors", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
