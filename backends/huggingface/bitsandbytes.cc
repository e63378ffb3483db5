// bitsandbytes checkpoints (Dettmers et al. 2022, 2023): 4-bit codes of the NF4 or FP4 table under one scale per block of
// consecutive values, scales themselves in 8 bits where nested; or LLM.int8 rows under one scale each (outlier columns are kept
// apart only while running, so the stored weight is all int8). Spec: docs/formats/huggingface.md
#include "backends/huggingface/linear_format.h"

#include "backends/formats/row_int8.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace quantfleet::huggingface {
namespace {

constexpr std::string_view kSuffixes[] = {"weight.absmax",
                                          "weight.quant_map",
                                          "weight.quant_state.bitsandbytes__nf4",
                                          "weight.quant_state.bitsandbytes__fp4",
                                          "weight.nested_absmax",
                                          "weight.nested_quant_map",
                                          "SCB",
                                          "weight_format"};

class Table4Weight final : public LinearWeight {
 public:
  Table4Weight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    const std::int64_t begin = row * columns(), end = begin + columns();
    for (std::int64_t b = begin / block; b * block < end; ++b) {
      const float scale = absmax[static_cast<std::size_t>(b)];
      for (std::int64_t i = std::max(begin, b * block); i < std::min(end, (b + 1) * block); ++i) {
        const auto byte = static_cast<unsigned>(packed[i / 2]);
        values[i - begin] = table[i % 2 == 0 ? byte >> 4 : byte & 15] * scale;
      }
    }
  }

 protected:
  void codes(std::int64_t row, std::uint8_t* codes, float* scales, float*) const override {
    for (std::int64_t k = 0; k < columns(); ++k) {
      const std::int64_t i = row * columns() + k;
      const auto byte = static_cast<unsigned>(packed[i / 2]);
      codes[k] = static_cast<std::uint8_t>(i % 2 == 0 ? byte >> 4 : byte & 15);
    }
    for (std::int64_t g = 0; g < columns() / block; ++g) scales[g] = absmax[static_cast<std::size_t>(row * (columns() / block) + g)];
  }

 public:
  // Blocks that end with the rows belong to rows.
  void keep() {
    if (columns() % block != 0) return;
    GroupedRows kept;
    kept.numbers = CodeNumbers::kTable;
    kept.bits = 4;
    kept.table = table;
    kept.group_size = block;
    kept.groups = columns() / block;
    keep_codes(std::move(kept));
  }

  std::int64_t block = 64;
  const std::byte* packed = nullptr;  // two a byte, the first in the high half
  std::array<float, 16> table{};
  std::vector<float> absmax;         // one per block
};

class Int8Weight final : public LinearWeight {
 public:
  Int8Weight(std::int64_t rows, std::int64_t columns) : LinearWeight(rows, columns) {}
  void decode(std::int64_t row, float* values) const override {
    const auto* codes = reinterpret_cast<const std::int8_t*>(weight->bytes.data()) + row * columns();
    const float scale = float_at(*row_absmax, row) / 127.0f;
    for (std::int64_t k = 0; k < columns(); ++k) values[k] = static_cast<float>(codes[k]) * scale;
  }

  const BlockFormat* format() const override { return columns() <= kRowInt8MaxColumns ? row_int8_format(columns(), 0, threshold) : LinearWeight::format(); }
  void store(std::int64_t row, std::byte* blocks) const override {
    if (columns() > kRowInt8MaxColumns) return LinearWeight::store(row, blocks);
    store_row_int8(reinterpret_cast<const std::int8_t*>(weight->bytes.data()) + row * columns(), columns(), float_at(*row_absmax, row) / 127.0f, blocks);
  }

  float threshold = 6;  // activations from here on are multiplied as floats
  const SafetensorsArray *weight = nullptr, *row_absmax = nullptr;
};

Result<std::unique_ptr<LinearWeight>> read_int8(const ModuleArrays& module, JsonReader& config) {
  const auto threshold = static_cast<float>(config.number("llm_int8_threshold", 0, 1e30, 6.0));
  if (config.error()) return *config.error();
  const auto weight = module.get("weight", "I8", {-1, -1});
  if (!weight) return weight.error();
  const auto absmax = module.get("SCB", "F32", {(*weight)->shape[0]});
  if (!absmax) return absmax.error();
  if (const SafetensorsArray* format = module.find("weight_format"))
    for (const std::byte value : format->bytes)
      if (value != std::byte{0}) return module.bad(Code::kUnsupported, fmt::format("{}.weight_format is {}; this program reads 0, rows", module.name, static_cast<int>(value)));
  if (Status finite = check_finite(**absmax); !finite) return finite.error();
  auto result = std::make_unique<Int8Weight>((*weight)->shape[0], (*weight)->shape[1]);
  result->threshold = threshold;
  result->weight = *weight;
  result->row_absmax = *absmax;
  return std::unique_ptr<LinearWeight>(std::move(result));
}

Result<std::unique_ptr<LinearWeight>> read_4bit(const ModuleArrays& module, const SafetensorsArray& state) {
  Json json;
  if (Status status = parse_json({reinterpret_cast<const char*>(state.bytes.data()), state.bytes.size()}, state.name, json); !status) return status.error();
  JsonReader reader(json, state.name);
  const std::int64_t block = reader.integer("blocksize", 32, 4096);
  const Json* shape = reader.find("shape");
  const auto is_size = [](const Json& size) { return size.is_number_unsigned() && size.get<std::uint64_t>() > 0 && size.get<std::uint64_t>() < 1u << 28; };
  if (!shape || !shape->is_array() || shape->size() != 2 || !is_size((*shape)[0]) || !is_size((*shape)[1]))
    reader.fail(Code::kBadShape, "shape is not two sizes");
  if (reader.error()) return *reader.error();
  const auto rows = (*shape)[0].get<std::int64_t>(), columns = (*shape)[1].get<std::int64_t>();
  const std::int64_t count = rows * columns, blocks = (count + block - 1) / block;
  const SafetensorsArray* codes = module.find("weight");
  if (!codes || static_cast<std::int64_t>(codes->bytes.size()) != (count + 1) / 2)
    return module.bad(Code::kBadShape, fmt::format("{}.weight has {} bytes; {} x {} values of 4 bits take {}", module.name,
                                                   codes ? codes->bytes.size() : 0, rows, columns, (count + 1) / 2));
  auto result = std::make_unique<Table4Weight>(rows, columns);
  result->block = block;
  result->packed = codes->bytes.data();
  const auto table = module.get("weight.quant_map", "F32", {16});
  if (!table) return table.error();
  if (Status finite = check_finite(**table); !finite) return finite.error();
  for (std::size_t i = 0; i < 16; ++i) result->table[i] = float_at(**table, static_cast<std::int64_t>(i));

  result->absmax.resize(static_cast<std::size_t>(blocks));
  if (!module.find("weight.nested_absmax")) {
    const auto absmax = module.get("weight.absmax", "F32", {blocks});
    if (!absmax) return absmax.error();
    if (Status finite = check_finite(**absmax); !finite) return finite.error();
    for (std::int64_t i = 0; i < blocks; ++i) result->absmax[static_cast<std::size_t>(i)] = float_at(**absmax, i);
    result->keep();
    return std::unique_ptr<LinearWeight>(std::move(result));
  }
  const std::int64_t nested_block = reader.integer("nested_blocksize", 1, 1 << 20);
  const double offset = reader.number("nested_offset", -1e30, 1e30);
  if (reader.error()) return *reader.error();
  const auto absmax = module.get("weight.absmax", "U8", {blocks});
  if (!absmax) return absmax.error();
  const auto map = module.get("weight.nested_quant_map", "F32", {256});
  if (!map) return map.error();
  const auto scales = module.get("weight.nested_absmax", "F32", {(blocks + nested_block - 1) / nested_block});
  if (!scales) return scales.error();
  for (const SafetensorsArray* array : {*map, *scales})
    if (Status finite = check_finite(*array); !finite) return finite.error();
  for (std::int64_t i = 0; i < blocks; ++i) {
    const auto code = static_cast<std::int64_t>((*absmax)->bytes[static_cast<std::size_t>(i)]);
    // Product and sum round one after the other, as the reference's do.
    const float product = float_at(**map, code) * float_at(**scales, i / nested_block);
    result->absmax[static_cast<std::size_t>(i)] = product + static_cast<float>(offset);
  }
  result->keep();
  return std::unique_ptr<LinearWeight>(std::move(result));
}

Result<std::string> describe(JsonReader& config) {
  const bool int8 = config.flag("load_in_8bit", false);
  const std::string type = config.text("bnb_4bit_quant_type", "fp4");
  const bool nested = config.flag("bnb_4bit_use_double_quant", false);
  if (config.error()) return *config.error();
  if (int8) return std::string("bnb-int8");
  return fmt::format("bnb-{}{}", type, nested ? "-nested" : "");
}

Result<std::unique_ptr<LinearWeight>> read(const ModuleArrays& module, JsonReader& config) {
  for (const char* name : {"weight.quant_state.bitsandbytes__nf4", "weight.quant_state.bitsandbytes__fp4"})
    if (const SafetensorsArray* state = module.find(name)) return read_4bit(module, *state);
  if (module.find("SCB")) return read_int8(module, config);
  if (module.find("weight.absmax")) return module.bad(Code::kNotFound, fmt::format("{}.weight.quant_state.bitsandbytes__nf4 (or fp4) is missing", module.name));
  return std::unique_ptr<LinearWeight>();
}

}  // namespace

const LinearFormat kBitsandbytes = {"bitsandbytes", describe, read, kSuffixes};

}  // namespace quantfleet::huggingface
