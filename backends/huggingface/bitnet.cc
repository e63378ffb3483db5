// BitNet b1.58 checkpoints (Ma et al. 2024) as transformers stores them: ternary codes, four outputs a byte a quarter of the
// outputs apart, one scale per matrix. Two conventions: value = code * weight_scale (linear_class autobitlinear) or
// code / weight_scale (bitlinear). Activations are int8 per token. Spec: docs/formats/huggingface.md
#include "backends/formats/row_int8.h"
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

#include <cmath>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"weight_scale"};

class TernaryWeight final : public LinearWeight {
 public:
  TernaryWeight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}

  int code(std::int64_t row, std::int64_t k) const {
    const std::int64_t quarter = rows() / 4;
    return (static_cast<int>(packed->bytes[static_cast<std::size_t>(row % quarter * columns() + k)]) >> (2 * (row / quarter)) & 3) - 1;
  }
  void decode(std::int64_t row, float* values) const override {
    for (std::int64_t k = 0; k < columns(); ++k) values[k] = static_cast<float>(code(row, k)) * scale;
  }
  const BlockFormat* format() const override { return columns() <= kRowInt8MaxColumns ? row_int8_format(columns(), 0, 0) : LinearWeight::format(); }
  void store(std::int64_t row, std::byte* blocks) const override {
    if (columns() > kRowInt8MaxColumns) return LinearWeight::store(row, blocks);
    std::vector<std::int8_t> codes(static_cast<std::size_t>(columns()));
    for (std::int64_t k = 0; k < columns(); ++k) codes[static_cast<std::size_t>(k)] = static_cast<std::int8_t>(code(row, k));
    store_row_int8(codes.data(), columns(), scale, blocks);
  }

  const SafetensorsArray* packed = nullptr;  // [N / 4, K]
  float scale = 1;
};

bool multiplies(JsonReader& config) {
  const std::string name = config.text("linear_class", "bitlinear");
  if (name != "bitlinear" && name != "autobitlinear") config.fail(Code::kUnsupported, fmt::format("linear_class is '{}'; this program reads bitlinear and autobitlinear", name));
  return name == "autobitlinear";
}

Result<std::string> describe(JsonReader& config) {
  multiplies(config);
  if (config.error()) return *config.error();
  return std::string("BitNet-b1.58");
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader& config) {
  const bool multiply = multiplies(config);
  if (config.error()) return *config.error();
  const SafetensorsArray* stored = module.find("weight");
  if (!stored || stored->dtype != "U8") return std::unique_ptr<LinearWeight>();
  const auto packed = module.get("weight", "U8", {-1, -1});
  if (!packed) return packed.error();
  const auto scale = module.get("weight_scale", kFloatDtypes, {1});
  if (!scale) return scale.error();
  if ((*packed)->count_values() == 0) return module.bad(Code::kBadShape, fmt::format("{}.weight is empty", module.name));
  for (const std::byte byte : (*packed)->bytes)
    if ((static_cast<unsigned>(byte) & static_cast<unsigned>(byte) >> 1 & 0x55) != 0) return module.bad(Code::kBadValue, fmt::format("{}.weight has a code of 3; ternary codes are 0, 1 and 2", module.name));
  auto weight = std::make_unique<TernaryWeight>(4 * (*packed)->shape[0], (*packed)->shape[1]);
  weight->packed = *packed;
  const float value = float_at(**scale, 0);
  weight->scale = multiply ? value : 1 / value;
  if (!(value > 0) || !std::isfinite(weight->scale)) return module.bad(Code::kBadValue, fmt::format("{}.weight_scale is {}", module.name, value));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

Result<std::vector<StoredArray>> pack_bitnet(const std::string& module, std::int64_t rows, std::int64_t columns, std::span<const std::int8_t> codes, float scale) {
  if (rows % 4 != 0) return Error{Code::kBadShape, fmt::format("{}: {} outputs; BitNet packs four a byte", module, rows)};
  const std::int64_t quarter = rows / 4;
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(quarter * columns));
  for (std::int64_t n = 0; n < rows; ++n)
    for (std::int64_t k = 0; k < columns; ++k)
      packed[static_cast<std::size_t>(n % quarter * columns + k)] |= static_cast<std::uint8_t>((codes[static_cast<std::size_t>(n * columns + k)] + 1) << (2 * (n / quarter)));
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight", "U8", {quarter, columns}, packed));
  arrays.push_back(stored_array("weight_scale", "F32", {1}, std::vector<float>{scale}));
  return arrays;
}

const LinearFormat kBitnet = {"bitnet", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
