// EXL2 checkpoints (ExLlamaV2): groups of inputs with 2 to 8 bits each, most important inputs first, under 4-bit scales that
// are squared. Scales are half products, as the format defines them. Spec: docs/formats/huggingface.md
#include "backends/huggingface/linear_format.h"

#include "backends/formats/half_float.h"

#include <fmt/format.h>

#include <vector>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"q_weight", "q_scale", "q_scale_max", "q_groups", "q_invperm", "q_perm"};

class Exl2Weight final : public LinearWeight {
 public:
  struct Group {
    int bits = 4;
    std::int64_t first_word = 0, first_row = 0, count_rows = 0;  // rows: inputs in the order of the file
  };
  Exl2Weight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    for (std::int64_t k = 0; k < columns(); ++k) {
      const std::int64_t place = inverse[static_cast<std::size_t>(k)];
      const auto g = static_cast<std::size_t>(group_of_row[static_cast<std::size_t>(place)]);
      const Group& group = groups[g];
      const std::byte* words = q_weight->bytes.data() + 4 * (group.first_word * stored_rows + row);
      const int code = static_cast<int>(bits_at(words, stored_rows, (place - group.first_row) * group.bits, group.bits)) - (1 << (group.bits - 1));
      values[k] = static_cast<float>(code) * scales[g * static_cast<std::size_t>(rows()) + static_cast<std::size_t>(row)];
    }
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* row_codes, float* row_scales, float*) const override {
    for (std::int64_t k = 0; k < columns(); ++k) {
      const std::int64_t place = inverse[static_cast<std::size_t>(k)];
      const Group& group = groups[static_cast<std::size_t>(group_of_row[static_cast<std::size_t>(place)])];
      const std::byte* words = q_weight->bytes.data() + 4 * (group.first_word * stored_rows + row);
      row_codes[k] = static_cast<std::uint8_t>(bits_at(words, stored_rows, (place - group.first_row) * group.bits, group.bits));
    }
    for (std::size_t g = 0; g < groups.size(); ++g) row_scales[g] = scales[g * static_cast<std::size_t>(rows()) + static_cast<std::size_t>(row)];
  }

 public:

  const SafetensorsArray* q_weight = nullptr;
  std::int64_t stored_rows = 0;            // outputs with padding
  std::vector<Group> groups;
  std::vector<std::int32_t> group_of_row;  // [K]
  std::vector<std::int32_t> inverse;       // [K]: where input k is stored
  std::vector<float> scales;               // [G, N]
};

Result<std::string> describe(JsonReader& config) {
  const double bits = config.number("bits", 0, 16, 0);
  if (config.error()) return *config.error();
  return fmt::format("EXL2-{:.2f}bpw", bits);
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader&) {
  if (!module.find("q_weight")) return std::unique_ptr<LinearWeight>();
  const auto codes = module.get("q_weight", "I32 U32", {-1, -1});
  if (!codes) return codes.error();
  const auto max = module.get("q_scale_max", "F16", {-1});
  if (!max) return max.error();
  const std::int64_t words = (*codes)->shape[0], rows = (*codes)->shape[1], groups = (*max)->shape[0];
  if (words == 0 || rows == 0 || rows % 8 != 0 || groups == 0)
    return module.bad(Code::kBadShape, fmt::format("{}.q_weight of shape [{}, {}] with {} groups", module.name, words, rows, groups));
  const auto scale = module.get("q_scale", "I32 U32", {groups, rows / 8});
  if (!scale) return scale.error();
  const auto list = module.get("q_groups", "I16", {2 * groups});
  if (!list) return list.error();
  const SafetensorsArray* inverse = module.find("q_invperm");
  if (!inverse) return module.bad(Code::kNotFound, fmt::format("array {}.q_invperm is missing", module.name));
  if (inverse->dtype != "I32" && inverse->dtype != "I16") return module.bad(Code::kBadValue, fmt::format("{}.q_invperm is of {}; expected I32 or I16", module.name, inverse->dtype));
  if (Status finite = check_finite(**max); !finite) return finite.error();
  const std::int64_t columns = inverse->count_values();
  const auto short_at = [](const SafetensorsArray& array, std::int64_t i) {
    std::uint16_t value;
    __builtin_memcpy(&value, array.bytes.data() + 2 * i, 2);
    return static_cast<std::int64_t>(value);
  };

  auto weight = std::make_unique<Exl2Weight>(rows, columns);
  weight->q_weight = *codes;
  weight->stored_rows = rows;
  std::int64_t row = 0;
  for (std::int64_t g = 0; g < groups; ++g) {
    Exl2Weight::Group group;
    group.bits = static_cast<int>(short_at(**list, 2 * g));
    group.first_word = short_at(**list, 2 * g + 1);
    const std::int64_t end = g + 1 < groups ? short_at(**list, 2 * g + 3) : words;
    if (group.bits < 2 || group.bits > 8 || group.bits == 7 || group.first_word > end || end > words)
      return module.bad(Code::kBadValue, fmt::format("{}.q_groups: group {} has {} bits and begins at word {}", module.name, g, group.bits, group.first_word));
    group.first_row = row;
    group.count_rows = g + 1 < groups ? (end - group.first_word) * 32 / group.bits : columns - row;
    if (group.count_rows < 0 || group.count_rows * group.bits > (end - group.first_word) * 32)
      return module.bad(Code::kBadShape, fmt::format("{}.q_groups: the groups do not hold {} inputs", module.name, columns));
    row += group.count_rows;
    for (std::int64_t i = 0; i < group.count_rows; ++i) weight->group_of_row.push_back(static_cast<std::int32_t>(g));
    weight->groups.push_back(group);
    if (row > columns) return module.bad(Code::kBadShape, fmt::format("{}.q_groups: the groups hold more than {} inputs", module.name, columns));
  }
  std::vector<bool> seen(static_cast<std::size_t>(columns));
  for (std::int64_t k = 0; k < columns; ++k) {
    const std::int64_t place = inverse->dtype == "I16" ? short_at(*inverse, k) : static_cast<std::int32_t>(word_at(*inverse, k));
    if (place < 0 || place >= columns || seen[static_cast<std::size_t>(place)])
      return module.bad(Code::kBadValue, fmt::format("{}.q_invperm[{}] is {}; a permutation of {} inputs is needed", module.name, k, place, columns));
    seen[static_cast<std::size_t>(place)] = true;
    weight->inverse.push_back(static_cast<std::int32_t>(place));
  }
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t n = 0; n < rows; ++n)
      weight->scales.push_back(exl2_scale(word_at(**scale, g * rows / 8 + n / 8) >> (4 * (n % 8)) & 15, float_at(**max, g)));
  GroupedRows kept;
  kept.groups = groups;
  kept.group_size = columns;
  kept.kept = GroupNumbers::kHalves;
  for (const std::int32_t place : weight->inverse) {
    const std::int32_t group = weight->group_of_row[static_cast<std::size_t>(place)];
    kept.group_of.push_back(static_cast<std::uint16_t>(group));
    kept.bits_of.push_back(static_cast<std::uint8_t>(weight->groups[static_cast<std::size_t>(group)].bits));
  }
  weight->keep_codes(std::move(kept));
  return std::unique_ptr<LinearWeight>(std::move(weight));
}

}  // namespace

float exl2_scale(unsigned code, float maximum) {
  const float square = static_cast<float>((code + 1) * (code + 1));
  const float unit = half_to_float(float_to_half(maximum * (1.0f / 256)));
  return half_to_float(float_to_half(square * unit));
}

Result<std::vector<StoredArray>> pack_exl2(const std::string& module, const Exl2Codes& codes) {
  const std::int64_t N = codes.rows, K = codes.columns, G = static_cast<std::int64_t>(codes.groups.size());
  if (N % 32 != 0 || K % 32 != 0) return Error{Code::kBadShape, fmt::format("{}: {} outputs and {} inputs; EXL2 has multiples of 32", module, N, K)};
  std::int64_t words = 0;
  std::vector<std::uint16_t> groups;
  for (const Exl2Codes::Group& group : codes.groups) {
    groups.push_back(static_cast<std::uint16_t>(group.bits));
    groups.push_back(static_cast<std::uint16_t>(words));
    words += group.count / 32 * group.bits;
    if (words > 65535) return Error{Code::kBadShape, fmt::format("{}: {} inputs need more than 65535 words of an output, which EXL2 cannot number", module, K)};
  }
  std::vector<std::uint32_t> packed(static_cast<std::size_t>(words * N)), scales(static_cast<std::size_t>(G * N / 8));
  std::int64_t first = 0, word = 0;
  for (const Exl2Codes::Group& group : codes.groups) {
    for (std::int64_t n = 0; n < N; ++n)
      for (std::int64_t i = 0; i < group.count; ++i)
        put_bits(packed.data() + word * N + n, N, i * group.bits, group.bits, codes.codes[static_cast<std::size_t>(n * K + first + i)]);
    first += group.count;
    word += group.count / 32 * group.bits;
  }
  for (std::size_t i = 0; i < codes.scale_codes.size(); ++i) scales[i / 8] |= static_cast<std::uint32_t>(codes.scale_codes[i]) << (4 * (i % 8));
  std::vector<std::int32_t> order(static_cast<std::size_t>(K));
  for (std::int64_t k = 0; k < K; ++k) order[static_cast<std::size_t>(codes.inverse[static_cast<std::size_t>(k)])] = static_cast<std::int32_t>(k);
  std::vector<StoredArray> arrays;
  arrays.push_back(stored_array("q_weight", "I32", {words, N}, packed));
  arrays.push_back(stored_array("q_scale", "I32", {G, N / 8}, scales));
  arrays.push_back(stored_halves("q_scale_max", {G}, codes.maxima));
  arrays.push_back(stored_array("q_groups", "I16", {2 * G}, groups));
  arrays.push_back(stored_array("q_invperm", "I32", {K}, codes.inverse));
  arrays.push_back(stored_array("q_perm", "I32", {K}, order));
  return arrays;
}

const LinearFormat kExl2 = {"exl2", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
