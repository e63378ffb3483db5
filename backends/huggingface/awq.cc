// AWQ checkpoints (Lin et al. 2023), version "gemm": 4-bit codes packed along the outputs in an interleaved order, zero points
// likewise, one scale per group of inputs and output. Spec: docs/formats/huggingface.md
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"qweight", "qzeros", "scales"};
constexpr int kFieldOfColumn[8] = {0, 4, 1, 5, 2, 6, 3, 7};  // of eight outputs in a word

int field(const SafetensorsArray& array, std::int64_t row, std::int64_t words, std::int64_t column) {
  return static_cast<int>(word_at(array, row * words + column / 8) >> (4 * kFieldOfColumn[column % 8]) & 15);
}

class AwqWeight final : public LinearWeight {
 public:
  AwqWeight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    const std::int64_t words = rows() / 8;
    float scale = 0;
    int zero = 0;
    for (std::int64_t k = 0; k < columns(); ++k) {
      if (k % group_size == 0) {
        scale = float_at(*scales, k / group_size * rows() + row);
        zero = field(*qzeros, k / group_size, words, row);
      }
      values[k] = scale * static_cast<float>(field(*qweight, k, words, row) - zero);
    }
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* row_scales, float* row_zeros) const override {
    for (std::int64_t k = 0; k < columns(); ++k) codes[k] = static_cast<std::uint8_t>(field(*qweight, k, rows() / 8, row));
    for (std::int64_t g = 0; g < columns() / group_size; ++g) {
      row_scales[g] = float_at(*scales, g * rows() + row);
      row_zeros[g] = static_cast<float>(field(*qzeros, g, rows() / 8, row));
    }
  }

 public:
  std::int64_t group_size = 128;
  const SafetensorsArray *qweight = nullptr, *qzeros = nullptr, *scales = nullptr;  // [K, N / 8], [G, N / 8], [G, N]
};

std::int64_t read_group_size(JsonReader& config) {
  const auto bits = config.integer("bits", 1, 16, config.integer("w_bit", 1, 16, 4));
  if (bits != 4) config.fail(Code::kUnsupported, fmt::format("AWQ of {} bits; this program reads 4", bits));
  std::string version = config.text("version", "gemm");
  for (char& c : version) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  if (version != "gemm") config.fail(Code::kUnsupported, fmt::format("AWQ version '{}'; this program reads gemm", version));
  if (!config.flag("zero_point", true)) config.fail(Code::kUnsupported, "AWQ without zero points");
  const auto size = config.integer("group_size", -1, 1 << 20, config.integer("q_group_size", -1, 1 << 20, 128));
  if (size == 0) config.fail(Code::kBadValue, "group_size is 0; it is -1 or the number of inputs that share a scale");
  return size;
}

Result<std::string> describe(JsonReader& config) {
  const std::int64_t size = read_group_size(config);
  if (config.error()) return *config.error();
  return "AWQ-4bit" + (size > 0 ? fmt::format("-{}g", size) : std::string());
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader& config) {
  const std::int64_t size = read_group_size(config);
  if (config.error()) return *config.error();
  if (!module.find("qweight")) return std::unique_ptr<LinearWeight>();
  const auto qweight = module.get("qweight", "I32 U32", {-1, -1});
  if (!qweight) return qweight.error();
  const std::int64_t columns = (*qweight)->shape[0], words = (*qweight)->shape[1];
  if (columns == 0 || words == 0) return module.bad(Code::kBadShape, fmt::format("{}.qweight is empty", module.name));
  const std::int64_t group_size = size < 0 ? columns : size;
  if (columns % group_size != 0)
    return module.bad(Code::kBadShape, fmt::format("{} inputs do not divide into groups of {}", columns, group_size));
  const auto qzeros = module.get("qzeros", "I32 U32", {columns / group_size, words});
  if (!qzeros) return qzeros.error();
  const auto scales = module.get("scales", kFloatDtypes, {columns / group_size, 8 * words});
  if (!scales) return scales.error();
  if (Status finite = check_finite(**scales); !finite) return finite.error();
  auto weight = std::make_unique<AwqWeight>(8 * words, columns);
  weight->group_size = group_size;
  weight->qweight = *qweight;
  weight->qzeros = *qzeros;
  weight->scales = *scales;
  GroupedRows kept;
  kept.bits = 4;
  kept.group_size = group_size;
  kept.groups = columns / group_size;
  kept.zeros = true;
  if ((*scales)->dtype == "F16") kept.kept = GroupNumbers::kHalves;
  weight->keep_codes(std::move(kept));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

Result<std::vector<StoredArray>> pack_awq(const std::string& module, const GroupedCodes& codes) {
  const std::int64_t N = codes.rows, K = codes.columns, G = codes.groups(), words = N / 8;
  if (codes.bits != 4) return Error{Code::kUnsupported, fmt::format("{}: AWQ of {} bits; it has 4", module, codes.bits)};
  if (N % 8 != 0 || K % codes.group_size != 0 || !codes.g_idx.empty())
    return Error{Code::kBadShape, fmt::format("{}: {} outputs and {} inputs in groups of {} do not fit AWQ, which packs 8 outputs a word", module, N, K, codes.group_size)};
  std::vector<std::uint32_t> qweight(static_cast<std::size_t>(K * words)), qzeros(static_cast<std::size_t>(G * words));
  std::vector<float> scales(static_cast<std::size_t>(G * N));
  for (std::int64_t n = 0; n < N; ++n) {
    const int shift = 4 * kFieldOfColumn[n % 8];
    for (std::int64_t k = 0; k < K; ++k)
      qweight[static_cast<std::size_t>(k * words + n / 8)] |= std::uint32_t(codes.codes[static_cast<std::size_t>(n * K + k)]) << shift;
    for (std::int64_t g = 0; g < G; ++g) {
      const auto at = static_cast<std::size_t>(n * G + g);
      qzeros[static_cast<std::size_t>(g * words + n / 8)] |= std::uint32_t(codes.zeros[at]) << shift;
      scales[static_cast<std::size_t>(g * N + n)] = codes.scales[at];
    }
  }
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("qweight", "I32", {K, words}, qweight));
  arrays.push_back(stored_array("qzeros", "I32", {G, words}, qzeros));
  arrays.push_back(stored_halves("scales", {G, N}, scales));
  return arrays;
}

const LinearFormat kAwq = {"awq", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
