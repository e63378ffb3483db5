// FP8 checkpoints (Micikevicius et al. 2022): E4M3 or E5M2 weights times `weight_scale_inv`, one per tile (DeepSeek), or
// `weight_scale`, one per matrix or row. Spec: docs/formats/huggingface.md
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"weight_scale_inv", "weight_scale", "input_scale"};

class Fp8Weight final : public LinearWeight {
 public:
  Fp8Weight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    const std::int64_t begin = row * columns(), scale_row = row / tile_rows * tiles_across;
    floats_at(*weight, begin, {values, static_cast<std::size_t>(columns())});
    for (std::int64_t tile = 0, k = 0; k < columns(); ++tile) {
      const float scale = float_at(*scales, scale_row + tile);
      for (const std::int64_t end = std::min(columns(), k + tile_columns); k < end; ++k) values[k] *= scale;
    }
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* row_scales, float*) const override {
    std::memcpy(codes, weight->bytes.data() + row * columns(), static_cast<std::size_t>(columns()));
    for (std::int64_t g = 0; g < tiles_across; ++g) row_scales[g] = float_at(*scales, row / tile_rows * tiles_across + g);
  }

 public:
  std::int64_t tile_rows = 1, tile_columns = 1, tiles_across = 1;
  const SafetensorsArray *weight = nullptr, *scales = nullptr;
};

Result<std::string> describe(JsonReader&) { return std::string("FP8"); }

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader& config) {
  const SafetensorsArray* stored = module.find("weight");
  if (!stored || !stored->dtype.starts_with("F8_")) return std::unique_ptr<LinearWeight>();
  const auto codes = module.get("weight", "F8_E4M3 F8_E5M2", {-1, -1});
  if (!codes) return codes.error();
  const std::int64_t rows = (*codes)->shape[0], columns = (*codes)->shape[1];
  if (rows == 0 || columns == 0) return module.bad(Code::kBadShape, fmt::format("{}.weight is empty", module.name));
  if (Status finite = check_finite(**codes); !finite) return finite.error();
  auto weight = std::make_unique<Fp8Weight>(rows, columns);
  weight->weight = *codes;
  if (module.find("weight_scale_inv")) {
    const Json* size = config.find("weight_block_size");
    const auto is_size = [](const Json& one) { return one.is_number_unsigned() && one.get<std::uint64_t>() >= 1 && one.get<std::uint64_t>() <= 1 << 20; };
    if (!size || !size->is_array() || size->size() != 2 || !is_size((*size)[0]) || !is_size((*size)[1])) {
      config.fail(Code::kBadValue, "weight_block_size is not two sizes");
      return *config.error();
    }
    weight->tile_rows = (*size)[0].get<std::int64_t>();
    weight->tile_columns = (*size)[1].get<std::int64_t>();
    weight->tiles_across = (columns + weight->tile_columns - 1) / weight->tile_columns;
    const auto scales = module.get("weight_scale_inv", kFloatDtypes, {(rows + weight->tile_rows - 1) / weight->tile_rows, weight->tiles_across});
    if (!scales) return scales.error();
    weight->scales = *scales;
  } else {
    const SafetensorsArray* scales = module.find("weight_scale");
    if (!scales) return module.bad(Code::kNotFound, fmt::format("array {}.weight_scale (or weight_scale_inv) is missing", module.name));
    const std::int64_t count = scales->count_values();
    if (count != 1 && count != rows) return module.bad(Code::kBadShape, fmt::format("{}.weight_scale has {} values; one or {} are possible", module.name, count, rows));
    if (scales->dtype != "F32" && scales->dtype != "F16" && scales->dtype != "BF16") return module.bad(Code::kBadValue, fmt::format("{}.weight_scale is of {}", module.name, scales->dtype));
    weight->scales = scales;
    weight->tile_rows = count == 1 ? rows : 1;
    weight->tile_columns = columns;
  }
  if (Status finite = check_finite(*weight->scales); !finite) return finite.error();
  GroupedRows kept;
  kept.numbers = (*codes)->dtype == "F8_E4M3" ? CodeNumbers::kE4m3 : CodeNumbers::kE5m2;
  kept.bits = 8;
  kept.group_size = weight->tile_columns;
  kept.groups = weight->tiles_across;
  weight->keep_codes(std::move(kept));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

const LinearFormat kFp8 = {"fp8", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
