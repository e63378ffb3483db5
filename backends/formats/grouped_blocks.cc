#include "backends/formats/grouped_blocks.h"

#include "backends/formats/block_layouts.h"
#include "backends/formats/catalog.h"
#include "backends/formats/fp4_values.h"
#include "backends/formats/half_float.h"

#include <cstring>

namespace quantfleet {
namespace {

void read_nvfp4(const std::byte* bytes, std::uint8_t* codes, float* scales) {
  BlockNVFP4 block;
  std::memcpy(&block, bytes, sizeof block);
  for (int s = 0; s < 4; ++s) {
    scales[s] = ue4m3_to_float(block.d[s]);
    for (int j = 0; j < 8; ++j) {
      codes[16 * s + j] = block.qs[8 * s + j] & 15;
      codes[16 * s + 8 + j] = block.qs[8 * s + j] >> 4;
    }
  }
}

void read_q1_0(const std::byte* bytes, std::uint8_t* codes, float* scales) {
  BlockQ1_0 block;
  std::memcpy(&block, bytes, sizeof block);
  *scales = half_to_float(block.d);
  for (int j = 0; j < 128; ++j) codes[j] = (block.qs[j / 8] >> (j % 8)) & 1;
}

void read_q2_0(const std::byte* bytes, std::uint8_t* codes, float* scales) {
  BlockQ2_0 block;
  std::memcpy(&block, bytes, sizeof block);
  *scales = half_to_float(block.d);
  for (int j = 0; j < 64; ++j) codes[j] = (block.qs[j / 4] >> (2 * (j % 4))) & 3;
}

struct Form {
  const BlockFormat* format;
  int group_size, bits;
  CodeNumbers numbers;
  int offset;
  GroupNumbers kept;
  void (*read)(const std::byte* block, std::uint8_t* codes, float* scales);
};

constexpr Form kForms[] = {{&kNVFP4, 16, 4, CodeNumbers::kTable, 0, GroupNumbers::kE4m3, read_nvfp4},
                           {&kQ1_0, 128, 1, CodeNumbers::kTable, 0, GroupNumbers::kHalves, read_q1_0},
                           {&kQ2_0, 64, 2, CodeNumbers::kIntegers, 1, GroupNumbers::kHalves, read_q2_0}};

const Form* form_of(const BlockFormat& format) {
  for (const Form& form : kForms)
    if (form.format == &format) return &form;
  return nullptr;
}

}  // namespace

const GroupedRowsFormat* grouped_rows_of(const BlockFormat& format, std::int64_t columns) {
  const Form* form = form_of(format);
  if (!form || columns > kGroupedRowsMaxColumns) return nullptr;
  GroupedRows rows;
  rows.numbers = form->numbers;
  rows.bits = form->bits;
  rows.offset = form->offset;
  rows.columns = columns;
  rows.group_size = form->group_size;
  rows.groups = columns / form->group_size;
  rows.kept = form->kept;
  if (form->format == &kNVFP4)
    for (std::size_t code = 0; code < 16; ++code) rows.table[code] = 0.5f * static_cast<float>(kFp4Values[code]);
  else
    rows.table = {-1, 1};
  return as_grouped_rows(*grouped_rows_format(rows));
}

void to_grouped_row(const BlockFormat& format, const GroupedRowsFormat& grouped, const std::byte* row, std::byte* block) {
  const Form& form = *form_of(format);
  const GroupedRowsFormat* address = &grouped;
  const std::int64_t groups_each = format.values_per_block / form.group_size;
  std::memcpy(block, &address, sizeof address);
  std::byte* scales = block + 8;
  auto* codes = reinterpret_cast<std::uint8_t*>(scales + 4 * grouped.rows.groups);
  for (std::int64_t k = 0; k < grouped.rows.columns; k += format.values_per_block, row += format.bytes_per_block, scales += 4 * groups_each) {
    float numbers[4];
    form.read(row, codes + k, numbers);
    std::memcpy(scales, numbers, static_cast<std::size_t>(4 * groups_each));
  }
}

}  // namespace quantfleet
