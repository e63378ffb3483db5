// 2:4 sparse weights with 4 or 8 bits, a layout of this program: of every four inputs two are stored, with their places, under
// one F16 scale per group of inputs. b/2 + 1 bits per weight and the scales. Spec: docs/formats/huggingface.md
//   weight_values  U8 [N, K b / 16]  codes + 2^(b - 1), of b bits from the low end, two of every four inputs in order
//   weight_places  U8 [N, K / 8]     a nibble for every four inputs, low first: first + 4 second, first < second
//   weight_scale   F16 [N, G]
#include "backends/formats/half_float.h"
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

#include <algorithm>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"weight_values", "weight_places", "weight_scale"};

class SparseWeight final : public LinearWeight {
 public:
  SparseWeight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    const std::byte* codes = stored->bytes.data() + row * (columns() * bits / 16);
    const std::byte* places = stored_places->bytes.data() + row * (columns() / 8);
    for (std::int64_t four = 0; four < columns() / 4; ++four) {
      const auto place = static_cast<unsigned>(places[four / 2]) >> (4 * (four % 2)) & 15;
      const float scale = float_at(*scales, row * (columns() / group_size) + 4 * four / group_size);
      std::fill_n(values + 4 * four, 4, 0.0f * scale);
      for (int i = 0; i < 2; ++i) values[4 * four + static_cast<std::int64_t>(place >> (2 * i) & 3)] = static_cast<float>(code_at(codes, 2 * four + i) - middle()) * scale;
    }
  }
  int middle() const { return 1 << (bits - 1); }
  int code_at(const std::byte* codes, std::int64_t at) const { return bits == 8 ? static_cast<int>(codes[at]) : static_cast<int>(codes[at / 2]) >> (4 * (at % 2)) & 15; }

 protected:
  // In memory the inputs that were left out are codes of 0.
  void codes(std::int64_t row, std::uint8_t* codes, float* row_scales, float*) const override {
    const std::byte* kept = stored->bytes.data() + row * (columns() * bits / 16);
    const std::byte* places = stored_places->bytes.data() + row * (columns() / 8);
    std::fill_n(codes, columns(), static_cast<std::uint8_t>(middle()));
    for (std::int64_t four = 0; four < columns() / 4; ++four) {
      const auto place = static_cast<unsigned>(places[four / 2]) >> (4 * (four % 2)) & 15;
      for (int i = 0; i < 2; ++i) codes[4 * four + static_cast<std::int64_t>(place >> (2 * i) & 3)] = static_cast<std::uint8_t>(code_at(kept, 2 * four + i));
    }
    for (std::int64_t g = 0; g < columns() / group_size; ++g) row_scales[g] = float_at(*scales, row * (columns() / group_size) + g);
  }

 public:
  int bits = 4;
  std::int64_t group_size = 4;
  const SafetensorsArray *stored = nullptr, *stored_places = nullptr, *scales = nullptr;
};

int read_bits(JsonReader& config) {
  const auto bits = static_cast<int>(config.integer("bits", 1, 16));
  if (!config.error() && bits != 4 && bits != 8) config.fail(Code::kUnsupported, fmt::format("bits is {}; 2:4 sparse weights have 4 or 8", bits));
  return bits;
}

Result<std::string> describe(JsonReader& config) {
  const int bits = read_bits(config);
  if (config.error()) return *config.error();
  return fmt::format("sparse-2:4-{}bit", bits);
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader& config) {
  const int bits = read_bits(config);
  if (config.error()) return *config.error();
  if (!module.find("weight_values")) return std::unique_ptr<LinearWeight>();
  const auto places = module.get("weight_places", "U8", {-1, -1});
  if (!places) return places.error();
  const std::int64_t rows = (*places)->shape[0], columns = 8 * (*places)->shape[1];
  if (rows == 0 || columns == 0) return module.bad(Code::kBadShape, fmt::format("{}.weight_places is empty", module.name));
  const auto values = module.get("weight_values", "U8", {rows, columns * bits / 16});
  if (!values) return values.error();
  const auto scales = module.get("weight_scale", kFloatDtypes, {rows, -1});
  if (!scales) return scales.error();
  const std::int64_t groups = (*scales)->shape[1];
  if (groups == 0 || columns % groups != 0 || columns / groups % 4 != 0)
    return module.bad(Code::kBadShape, fmt::format("{} inputs do not divide into {} groups of fours", columns, groups));
  if (Status finite = check_finite(**scales); !finite) return finite.error();
  for (const std::byte byte : (*places)->bytes)
    for (const unsigned nibble : {static_cast<unsigned>(byte) & 15, static_cast<unsigned>(byte) >> 4})
      if ((nibble & 3) >= nibble >> 2) return module.bad(Code::kBadValue, fmt::format("{}.weight_places has two places that do not ascend", module.name));
  auto weight = std::make_unique<SparseWeight>(rows, columns);
  weight->bits = bits;
  weight->group_size = columns / groups;
  weight->stored = *values;
  weight->stored_places = *places;
  weight->scales = *scales;
  GroupedRows kept;
  kept.bits = bits;
  kept.offset = weight->middle();
  kept.group_size = columns / groups;
  kept.groups = groups;
  if ((*scales)->dtype == "F16") kept.kept = GroupNumbers::kHalves;
  weight->keep_codes(std::move(kept));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

Result<std::vector<StoredArray>> pack_sparse(const std::string& module, const SparseCodes& codes) {
  const std::int64_t N = codes.rows, K = codes.columns;
  if (K % 8 != 0 || codes.group_size < 4 || K % codes.group_size != 0 || codes.group_size % 4 != 0)
    return Error{Code::kBadShape, fmt::format("{}: {} inputs do not divide into eights and into groups of {}", module, K, codes.group_size)};
  std::vector<std::uint8_t> values(static_cast<std::size_t>(N * K * codes.bits / 16)), places(static_cast<std::size_t>(N * K / 8));
  for (std::size_t i = 0; i < codes.codes.size(); ++i) {
    if (codes.bits == 8) values[i] = static_cast<std::uint8_t>(codes.codes[i] + 128);
    else values[i / 2] |= static_cast<std::uint8_t>((codes.codes[i] + 8) << (4 * (i % 2)));
  }
  for (std::size_t i = 0; i < codes.places.size(); ++i) places[i / 2] |= static_cast<std::uint8_t>(codes.places[i] << (4 * (i % 2)));
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("weight_values", "U8", {N, K * codes.bits / 16}, values));
  arrays.push_back(stored_array("weight_places", "U8", {N, K / 8}, places));
  arrays.push_back(stored_halves("weight_scale", {N, K / codes.group_size}, codes.scales));
  return arrays;
}

const LinearFormat kSparse = {"quantfleet-sparse", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
