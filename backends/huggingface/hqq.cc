// HQQ checkpoints (Badri & Shaji 2023): codes of 1, 2, 3, 4 or 8 bits of the flattened weight, cut into groups that are rows
// (axis 1) or columns (axis 0) of a matrix, packed along its rows at equal distances; one scale and one zero point, both
// fractions, per group. Spec: docs/formats/huggingface.md
#include "backends/huggingface/linear_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"W_q", "scale", "zero", "nbits", "group_size", "shape", "axis", "packing", "unpack_view_dtype", "view_as_float",
                                          "quant_scale", "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict", "stores_quant_config",
                                          "channel_wise", "optimize", "round_zero"};

// How codes lie in a word: part p of a word belongs to row r + p * step, step = count of packed rows.
struct Packing {
  std::string_view name;
  int bits, parts, word_bytes, top_shift;  // shift of part 0; part p: bits * p less
  int shift(int part) const { return top_shift - bits * part; }
};
constexpr Packing kPackings[] = {{"8bit_u8", 8, 1, 1, 0}, {"4bit_u8", 4, 2, 1, 4}, {"3bit_32", 3, 10, 4, 27}, {"2bit_u8", 2, 4, 1, 6}, {"1bit_u8", 1, 8, 1, 7}};

class HqqWeight final : public LinearWeight {
 public:
  HqqWeight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    float group_zero = 0, group_scale = 0;
    for (std::int64_t k = 0, latest = -1; k < columns(); ++k) {
      const std::int64_t i = row * columns() + k, group = axis == 1 ? i / width : i % width;
      if (group != latest) group_zero = float_at(*zero, group), group_scale = float_at(*scale, group), latest = group;
      values[k] = (static_cast<float>(code_at(i)) - group_zero) * group_scale;
    }
  }
  std::uint32_t code_at(std::int64_t i) const {  // of the flattened weight
    const std::int64_t r = i / width, c = i % width;
    std::uint32_t word = 0;
    std::memcpy(&word, packed + (r % step * width + c) * packing->word_bytes, static_cast<std::size_t>(packing->word_bytes));
    return word >> packing->shift(static_cast<int>(r / step)) & ((1u << packing->bits) - 1);
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* scales, float* zeros) const override {
    for (std::int64_t k = 0; k < columns(); ++k) codes[k] = static_cast<std::uint8_t>(code_at(row * columns() + k));
    for (std::int64_t g = 0; g < columns() / width; ++g) {
      scales[g] = float_at(*scale, row * (columns() / width) + g);
      zeros[g] = float_at(*zero, row * (columns() / width) + g);
    }
  }

 public:

  const Packing* packing = nullptr;
  std::int64_t axis = 1, width = 1, step = 1;  // width of the matrix that was packed; packed rows
  const std::byte* packed = nullptr;
  const SafetensorsArray *scale = nullptr, *zero = nullptr;  // one per group
};

// A number stored as an array of one value.
Result<std::int64_t> stored_number(const ModuleArrays& module, std::string_view suffix) {
  const SafetensorsArray* array = module.find(suffix);
  if (!array) return module.bad(Code::kNotFound, fmt::format("array {}.{} is missing", module.name, suffix));
  if (array->count_values() == 1 && array->dtype == "I32") return static_cast<std::int32_t>(word_at(*array, 0));
  if (array->count_values() == 1 && array->dtype == "U8") return static_cast<std::int64_t>(array->bytes[0]);
  std::int64_t value = 0;
  if (array->count_values() == 1 && array->dtype == "I64") return std::memcpy(&value, array->bytes.data(), 8), value;
  return module.bad(Code::kBadValue, fmt::format("array {}.{} is not one integer", module.name, suffix));
}

Result<std::string> describe(JsonReader& config) {
  // Two spellings: of transformers (quant_config.weight_quant_params) and flat.
  const Json* inner = config.find("quant_config");
  if (inner && inner->is_object() && inner->contains("weight_quant_params")) inner = &(*inner)["weight_quant_params"];
  const Json empty = Json::object();
  JsonReader parameters(inner && inner->is_object() ? *inner : empty, config.place() + ": quant_config");
  const auto bits = parameters.integer("nbits", 1, 8, 4), group = parameters.integer("group_size", 1, 1 << 24, 64);
  if (parameters.error()) return *parameters.error();
  return fmt::format("HQQ-{}bit-{}g", bits, group);
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader&) {
  if (!module.find("W_q")) return std::unique_ptr<LinearWeight>();
  const auto shape = module.get("shape", "I64", {2});
  if (!shape) return shape.error();
  std::int64_t size[2] = {};
  std::memcpy(size, (*shape)->bytes.data(), 16);
  for (const std::int64_t one : size)
    if (one < 1 || one > 1 << 28) return module.bad(Code::kBadShape, fmt::format("{}.shape is {} by {}", module.name, size[0], size[1]));
  const auto group_size = stored_number(module, "group_size"), axis = stored_number(module, "axis");
  if (!group_size) return group_size.error();
  if (!axis) return axis.error();
  if (*axis != 0 && *axis != 1) return module.bad(Code::kBadValue, fmt::format("{}.axis is {}; 0 or 1 is possible", module.name, *axis));
  if (module.find("view_as_float")) {
    const auto viewed = stored_number(module, "view_as_float");
    if (!viewed) return viewed.error();
    if (*viewed != 0) return module.bad(Code::kUnsupported, fmt::format("{}.W_q is viewed as floats; this program reads integers", module.name));
  }
  const SafetensorsArray* name = module.find("packing");
  if (!name) return module.bad(Code::kNotFound, fmt::format("array {}.packing is missing", module.name));
  const std::string_view given(reinterpret_cast<const char*>(name->bytes.data()), name->bytes.size());
  const auto packing = std::find_if(std::begin(kPackings), std::end(kPackings), [&](const Packing& one) { return one.name == given && name->dtype == "U8"; });
  if (packing == std::end(kPackings))
    return module.bad(Code::kUnsupported, fmt::format("{}.packing is none of 8bit_u8, 4bit_u8, 3bit_32, 2bit_u8, 1bit_u8", module.name));
  const std::int64_t count = size[0] * size[1];
  if (*group_size < 1 || count % *group_size != 0)
    return module.bad(Code::kBadShape, fmt::format("{} values do not divide into groups of {}", count, *group_size));
  const std::int64_t groups = count / *group_size;
  auto weight = std::make_unique<HqqWeight>(size[0], size[1]);
  weight->packing = packing;
  weight->axis = *axis;
  weight->width = *axis == 1 ? *group_size : groups;
  const std::int64_t high = *axis == 1 ? groups : *group_size;
  if (packing->name != "3bit_32" && high % packing->parts != 0)
    return module.bad(Code::kBadShape, fmt::format("{} rows of codes do not divide into {} parts of a byte", high, packing->parts));
  weight->step = (high + packing->parts - 1) / packing->parts;
  const auto codes = module.get("W_q", packing->word_bytes == 4 ? "I32" : "U8", {weight->step, weight->width});
  if (!codes) return codes.error();
  weight->packed = (*codes)->bytes.data();
  for (const auto& [suffix, place] : {std::pair("scale", &weight->scale), std::pair("zero", &weight->zero)}) {
    const SafetensorsArray* array = module.find(suffix);
    if (!array) return module.bad(Code::kNotFound, fmt::format("array {}.{} is missing", module.name, suffix));
    if (array->count_values() != groups || (array->dtype != "F32" && array->dtype != "F16" && array->dtype != "BF16"))
      return module.bad(Code::kBadShape, fmt::format("{}.{} is not {} floats", module.name, suffix, groups));
    if (Status finite = check_finite(*array); !finite) return finite.error();
    *place = array;
  }
  if (*axis == 1 && size[1] % *group_size == 0) {
    GroupedRows kept;
    kept.bits = packing->bits;
    kept.group_size = *group_size;
    kept.groups = size[1] / *group_size;
    kept.zeros = true;
    if (weight->scale->dtype == "F16" && weight->zero->dtype == "F16") kept.kept = GroupNumbers::kHalves;
    weight->keep_codes(std::move(kept));
  }
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

Result<std::vector<StoredArray>> pack_hqq(const std::string& module, const HqqCodes& codes) {
  const auto packing = std::find_if(std::begin(kPackings), std::end(kPackings), [&](const Packing& one) { return one.bits == codes.bits; });
  const std::int64_t count = codes.rows * codes.columns;
  if (packing == std::end(kPackings)) return Error{Code::kUnsupported, fmt::format("{}: HQQ of {} bits; 1, 2, 3, 4 and 8 are possible", module, codes.bits)};
  if (count % codes.group_size != 0) return Error{Code::kBadShape, fmt::format("{}: {} values do not divide into groups of {}", module, count, codes.group_size)};
  const std::int64_t groups = count / codes.group_size, width = codes.group_size, step = (groups + packing->parts - 1) / packing->parts;
  if (packing->word_bytes == 1 && groups % packing->parts != 0)
    return Error{Code::kBadShape, fmt::format("{}: {} groups do not divide into {} parts of a byte", module, groups, packing->parts)};
  std::vector<std::uint32_t> words(static_cast<std::size_t>(step * width));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t r = i / width;
    words[static_cast<std::size_t>(r % step * width + i % width)] |= std::uint32_t(codes.codes[static_cast<std::size_t>(i)]) << packing->shift(static_cast<int>(r / step));
  }
  std::vector<StoredArray> arrays;
  if (packing->word_bytes == 4) arrays.push_back(stored_array("W_q", "I32", {step, width}, words));
  else arrays.push_back(stored_array("W_q", "U8", {step, width}, std::vector<std::uint8_t>(words.begin(), words.end())));
  arrays.push_back(stored_halves("scale", {groups, 1}, codes.scales));
  arrays.push_back(stored_halves("zero", {groups, 1}, codes.zeros));
  arrays.push_back(stored_array("shape", "I64", {2}, std::vector<std::int64_t>{codes.rows, codes.columns}));
  const auto number = [&](const char* suffix, std::int32_t value) { arrays.push_back(stored_array(suffix, "I32", {}, std::vector<std::int32_t>{value})); };
  const auto flag = [&](const char* suffix, bool value) { arrays.push_back(stored_array(suffix, "U8", {}, std::vector<std::uint8_t>{value})); };
  const auto text = [&](const char* suffix, std::string_view value) {
    arrays.push_back(stored_array(suffix, "U8", {static_cast<std::int64_t>(value.size())}, std::vector<char>(value.begin(), value.end())));
  };
  number("nbits", codes.bits);
  number("group_size", static_cast<std::int32_t>(codes.group_size));
  number("axis", 1);
  text("packing", packing->name);
  text("unpack_view_dtype", packing->word_bytes == 4 ? "torch.int32" : "torch.uint8");
  text("compute_dtype", "torch.float16");
  for (const char* suffix : {"view_as_float", "quant_scale", "quant_zero", "offload_meta"}) flag(suffix, false);
  for (const char* suffix : {"encoded_state_dict", "stores_quant_config", "channel_wise", "optimize"}) flag(suffix, true);
  flag("round_zero", codes.bits == 4);
  return arrays;
}

const LinearFormat kHqq = {"hqq", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
