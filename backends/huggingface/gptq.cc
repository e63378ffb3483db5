// GPTQ checkpoints (Frantar et al. 2022) as AutoGPTQ and GPTQModel write them: codes of 2, 3, 4 or 8 bits packed along the
// inputs, zero points along the outputs, one scale per group of inputs and output. Spec: docs/formats/huggingface.md
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

#include <vector>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"qweight", "qzeros", "scales", "g_idx"};

class GptqWeight final : public LinearWeight {
 public:
  GptqWeight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    const std::byte* codes = qweight->bytes.data() + 4 * row;
    const std::int64_t outputs = rows();
    for (std::int64_t k = 0; k < columns(); ++k) {
      const std::int64_t at = group[static_cast<std::size_t>(k)] * outputs + row;
      const int code = static_cast<int>(bits_at(codes, outputs, k * bits, bits));
      values[k] = scales[static_cast<std::size_t>(at)] * static_cast<float>(code - zeros[static_cast<std::size_t>(at)]);
    }
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* row_scales, float* row_zeros) const override {
    for (std::int64_t k = 0; k < columns(); ++k) codes[k] = static_cast<std::uint8_t>(bits_at(qweight->bytes.data() + 4 * row, rows(), k * bits, bits));
    for (std::size_t g = 0; g < scales.size() / static_cast<std::size_t>(rows()); ++g) {
      row_scales[g] = scales[g * static_cast<std::size_t>(rows()) + static_cast<std::size_t>(row)];
      row_zeros[g] = zeros[g * static_cast<std::size_t>(rows()) + static_cast<std::size_t>(row)];
    }
  }

 public:
  int bits = 4;
  const SafetensorsArray* qweight = nullptr;  // [K bits / 32, N]
  std::vector<std::int32_t> group;            // [K]
  std::vector<float> scales;                  // [G, N]
  std::vector<std::int16_t> zeros;            // [G, N]
};

struct Settings {
  int bits = 4;
  std::int64_t group_size = -1;
  bool v2 = false;
};

Settings read_settings(JsonReader& config) {
  Settings settings;
  settings.bits = static_cast<int>(config.integer("bits", 2, 8));
  settings.group_size = config.integer("group_size", -1, 1 << 20, -1);
  const std::string format = config.text("checkpoint_format", config.text("format", "gptq"));
  settings.v2 = format == "gptq_v2";
  if (format != "gptq" && format != "gptq_v2")
    config.fail(Code::kUnsupported, fmt::format("checkpoint_format is '{}'; this program reads gptq and gptq_v2", format));
  if (settings.bits != 2 && settings.bits != 3 && settings.bits != 4 && settings.bits != 8)
    config.fail(Code::kUnsupported, fmt::format("bits is {}; GPTQ has 2, 3, 4 and 8", settings.bits));
  if (settings.group_size == 0) config.fail(Code::kBadValue, "group_size is 0; it is -1 or the number of inputs that share a scale");
  if (const Json* dynamic = config.find("dynamic"); dynamic && !dynamic->empty())
    config.fail(Code::kUnsupported, "dynamic gives modules their own bits, which this program does not read");
  return settings;
}

Result<std::string> describe(JsonReader& config) {
  const Settings settings = read_settings(config);
  if (config.error()) return *config.error();
  const std::string group = settings.group_size > 0 ? fmt::format("-{}g", settings.group_size) : "";
  return fmt::format("GPTQ-{}bit{}{}", settings.bits, group, config.flag("desc_act", false) ? "-actorder" : "");
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader& config) {
  const Settings settings = read_settings(config);
  if (config.error()) return *config.error();
  if (!module.find("qweight")) return std::unique_ptr<LinearWeight>();
  const int bits = settings.bits;
  const auto qweight = module.get("qweight", "I32 U32", {-1, -1});
  if (!qweight) return qweight.error();
  const std::int64_t words = (*qweight)->shape[0], rows = (*qweight)->shape[1];
  if (words * 32 % bits != 0 || rows * bits % 32 != 0 || words == 0 || rows == 0)
    return module.bad(Code::kBadShape, fmt::format("{}.qweight of shape [{}, {}] does not hold whole codes of {} bits", module.name, words, rows, bits));
  const std::int64_t columns = words * 32 / bits;
  const std::int64_t group_size = settings.group_size < 0 ? columns : settings.group_size;
  const std::int64_t groups = (columns + group_size - 1) / group_size;
  const auto scales = module.get("scales", kFloatDtypes, {groups, rows});
  if (!scales) return scales.error();
  const auto qzeros = module.get("qzeros", "I32 U32", {groups, rows * bits / 32});
  if (!qzeros) return qzeros.error();
  if (Status finite = check_finite(**scales); !finite) return finite.error();

  auto weight = std::make_unique<GptqWeight>(rows, columns);
  weight->bits = bits;
  weight->qweight = *qweight;
  weight->group.resize(static_cast<std::size_t>(columns));
  for (std::int64_t k = 0; k < columns; ++k) weight->group[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(k / group_size);
  if (module.find("g_idx")) {
    const auto g_idx = module.get("g_idx", "I32", {columns});
    if (!g_idx) return g_idx.error();
    bool any = false;
    for (std::int64_t k = 0; k < columns; ++k) any = any || word_at(**g_idx, k) != 0;
    for (std::int64_t k = 0; any && k < columns; ++k) {  // all zero: an old file without act-order
      const std::uint32_t group = word_at(**g_idx, k);
      if (group >= groups)
        return module.bad(Code::kBadValue, fmt::format("{}.g_idx[{}] is {}; there are {} groups", module.name, k, static_cast<std::int32_t>(group), groups));
      weight->group[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(group);
    }
  }
  weight->scales.resize(static_cast<std::size_t>(groups * rows));
  weight->zeros.resize(weight->scales.size());
  const std::int64_t zero_words = rows * bits / 32;
  std::vector<std::uint32_t> row(static_cast<std::size_t>(zero_words));
  for (std::int64_t g = 0; g < groups; ++g) {
    for (std::int64_t i = 0; i < zero_words; ++i) {
      std::uint32_t word = word_at(**qzeros, g * zero_words + i);
      // Version 1 stores the zero point less one, subtracted from the whole word: so it is added to the whole word.
      if (!settings.v2 && bits != 3) word += 0xffffffffu / ((1u << bits) - 1);
      row[static_cast<std::size_t>(i)] = word;
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(row.data());
    for (std::int64_t n = 0; n < rows; ++n) {
      std::uint32_t zero = bits_at(bytes, 1, n * bits, bits);
      if (!settings.v2 && bits == 3) zero = (zero + 1) & 7;
      weight->zeros[static_cast<std::size_t>(g * rows + n)] = static_cast<std::int16_t>(zero);
      weight->scales[static_cast<std::size_t>(g * rows + n)] = float_at(**scales, g * rows + n);
    }
  }
  GroupedRows kept;
  kept.bits = bits;
  kept.group_size = group_size;
  kept.groups = groups;
  kept.zeros = true;
  if ((*scales)->dtype == "F16") kept.kept = GroupNumbers::kHalves;
  bool neighbours = true;
  for (std::int64_t k = 0; k < columns; ++k) neighbours = neighbours && weight->group[static_cast<std::size_t>(k)] == k / group_size;
  if (!neighbours) kept.group_of.assign(weight->group.begin(), weight->group.end());
  weight->keep_codes(std::move(kept));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

Result<std::vector<StoredArray>> pack_gptq(const std::string& module, const GroupedCodes& codes, bool version_2) {
  const int bits = codes.bits;
  const std::int64_t N = codes.rows, K = codes.columns, G = codes.groups();
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8) return Error{Code::kUnsupported, fmt::format("{}: GPTQ of {} bits; 2, 3, 4 and 8 are possible", module, bits)};
  if (K * bits % 32 != 0 || N * bits % 32 != 0)
    return Error{Code::kBadShape, fmt::format("{}: {} outputs and {} inputs of {} bits do not fill whole 32-bit words", module, N, K, bits)};
  std::vector<std::uint32_t> qweight(static_cast<std::size_t>(K * bits / 32 * N)), qzeros(static_cast<std::size_t>(G * (N * bits / 32)));
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t k = 0; k < K; ++k) put_bits(qweight.data() + n, N, k * bits, bits, codes.codes[static_cast<std::size_t>(n * K + k)]);
  std::vector<float> scales(static_cast<std::size_t>(G * N));
  const std::int64_t zero_words = N * bits / 32;
  for (std::int64_t g = 0; g < G; ++g) {
    std::uint32_t* words = qzeros.data() + g * zero_words;
    for (std::int64_t n = 0; n < N; ++n) {
      const auto at = static_cast<std::size_t>(n * G + g);
      scales[static_cast<std::size_t>(g * N + n)] = codes.scales[at];
      const std::uint32_t zero = !version_2 && bits == 3 ? (codes.zeros[at] + 7u) & 7 : codes.zeros[at];
      put_bits(words, 1, n * bits, bits, zero);
    }
    if (!version_2 && bits != 3)
      for (std::int64_t i = 0; i < zero_words; ++i) words[i] -= 0xffffffffu / ((1u << bits) - 1);
  }
  std::vector<std::int32_t> g_idx = codes.g_idx;
  for (std::int64_t k = 0; codes.g_idx.empty() && k < K; ++k) g_idx.push_back(static_cast<std::int32_t>(k / codes.group_size));
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("qweight", "I32", {K * bits / 32, N}, qweight));
  arrays.push_back(stored_array("qzeros", "I32", {G, zero_words}, qzeros));
  arrays.push_back(stored_halves("scales", {G, N}, scales));
  arrays.push_back(stored_array("g_idx", "I32", {K}, g_idx));
  return arrays;
}

const LinearFormat kGptq = {"gptq", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
