#include "backends/kernels/grouped_rows.h"

#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/cpu/tasks.h"
#include "backends/kernels/decoded_panels.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

namespace quantfleet {
namespace {

constexpr std::int64_t kWidenedGroups = 1 << 12;  // more of them are not worth floats of their own

bool fp8(CodeNumbers numbers) { return numbers == CodeNumbers::kE4m3 || numbers == CodeNumbers::kE5m2; }

std::int64_t bytes_of(GroupNumbers kept) { return kept == GroupNumbers::kFloats ? 4 : kept == GroupNumbers::kHalves ? 2 : 1; }

// Where the parts of a panel begin.
struct Parts {
  std::int64_t scales, zeros, size;
  explicit Parts(const GroupedRowsFormat& format) {
    const GroupedRows& rows = format.rows;
    const std::int64_t numbers = rows.groups * kPanelRows * bytes_of(rows.kept);
    scales = rows.bits_of.empty() ? (rows.columns + 7) / 8 * 16 * rows.bits : 64 * format.widths.words;
    zeros = scales + numbers;
    size = (zeros + (rows.zeros ? numbers : 0) + 63) / 64 * 64;
  }
};

// The strings of a chunk, as grouped_task.h has them.
void put_string(unsigned char* chunk, int bits, std::int64_t row, std::uint64_t string) {
  const auto put = [&](auto part) {
    std::memcpy(chunk + static_cast<std::int64_t>(sizeof part) * row, &part, sizeof part);
    chunk += sizeof part * kPanelRows;
    string >>= 8 * sizeof part;
  };
  for (int fours = bits / 4; fours > 0; --fours) put(static_cast<std::uint32_t>(string));
  if (bits & 2) put(static_cast<std::uint16_t>(string));
  if (bits & 1) put(static_cast<std::uint8_t>(string));
}

void put_row(unsigned char* target, const GroupedRowsFormat& format, std::int64_t row, const std::byte* codes) {
  const GroupedRows& layout = format.rows;
  for (std::size_t k = 0; k < format.widths.columns.size(); ++k) {
    const MixedColumn& column = format.widths.columns[k];
    unsigned char* place = target + 4 * (kPanelRows * column.word + row);
    std::uint32_t word;
    std::memcpy(&word, place, sizeof word);
    word |= static_cast<std::uint32_t>(codes[k]) << column.shift;
    std::memcpy(place, &word, sizeof word);
  }
  if (!format.widths.columns.empty()) return;
  for (std::int64_t k = 0; k < layout.columns; k += 8) {
    std::uint64_t string = 0;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(8, layout.columns - k); ++i) string |= static_cast<std::uint64_t>(codes[k + i]) << (layout.bits * i);
    put_string(target + k / 8 * 16 * layout.bits, layout.bits, row, string);
  }
}

// The code of an E4M3 number, -1: it is none.
int e4m3_code(float number) {
  const auto bits = std::bit_cast<std::uint32_t>(number * 0x1p-120f);  // exact: the exponent where E4M3 has it
  const std::uint32_t code = bits >> 20 & 127;
  return (bits & 0x7fffffff) == code << 20 && code != 127 ? static_cast<int>(code | (bits >> 24 & 128)) : -1;
}

}  // namespace

std::size_t grouped_rows_bytes(const GroupedRowsFormat& format, std::int64_t rows) {
  return static_cast<std::size_t>((rows + kPanelRows - 1) / kPanelRows * Parts(format).size);
}

std::int64_t pack_grouped_rows(const GroupedRowsFormat& format, const GroupedRowAt& row_at, std::int64_t rows, AlignedBuffer& data, ThreadPool& pool) {
  const GroupedRows& layout = format.rows;
  const Parts parts(format);
  auto* memory = reinterpret_cast<unsigned char*>(data.reserve_in_slab(grouped_rows_bytes(format, rows)));
  const std::int64_t groups = layout.groups;
  std::atomic<std::int64_t> bad{rows};
  pool.parallel_for((rows + kPanelRows - 1) / kPanelRows, 1, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> numbers(static_cast<std::size_t>(groups));
    std::vector<std::byte> memory_of_row(static_cast<std::size_t>(format.block.bytes_per_block));
    for (std::int64_t panel = begin; panel < end; ++panel) {
      unsigned char* target = memory + panel * parts.size;
      std::memset(target, 0, static_cast<std::size_t>(parts.size));
      for (std::int64_t row = panel * kPanelRows; row < std::min(rows, (panel + 1) * kPanelRows); ++row) {
        const auto lane = static_cast<int>(row % kPanelRows);
        const std::byte* source = row_at(row, memory_of_row.data()) + 8;
        for (unsigned char* place = target + parts.scales; place <= target + parts.zeros; place += parts.zeros - parts.scales) {
          if (place == target + parts.zeros && !layout.zeros) break;
          std::memcpy(numbers.data(), source, 4 * numbers.size());
          source += 4 * groups;
          for (std::int64_t g = 0; g < groups; ++g) {
            const float number = numbers[static_cast<std::size_t>(g)];
            const float limit = place == target + parts.scales ? 1e30f : 1e8f;  // no value can overflow
            const int code = layout.kept == GroupNumbers::kE4m3 ? e4m3_code(number) : 0;
            if (!(std::fabs(number / layout.divisor) <= limit) || code < 0) {
              std::int64_t seen = bad.load();
              while (row < seen && !bad.compare_exchange_weak(seen, row)) {}
            }
            if (layout.kept == GroupNumbers::kHalves) {
              const std::uint16_t half = float_to_half(number);
              std::memcpy(place + 2 * (g * kPanelRows + lane), &half, 2);
            } else if (layout.kept == GroupNumbers::kE4m3) {
              place[g * kPanelRows + lane] = static_cast<unsigned char>(code);
            } else {
              std::memcpy(place + 4 * (g * kPanelRows + lane), &number, 4);
            }
          }
        }
        put_row(target, format, lane, source);
      }
    }
  });
  return bad < rows ? bad.load() : -1;
}

void matmul_grouped_rows(const KernelFamily& family, const GroupedRowsFormat& format, const AlignedBuffer& data, std::int64_t rows, const float* x, std::int64_t tokens,
                         std::int64_t x_stride, float* y, std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch) {
  const GroupedRows& layout = format.rows;
  const Parts parts(format);
  const auto* memory = reinterpret_cast<const unsigned char*>(data.data());
  GroupedTask all;
  all.kept = static_cast<int>(layout.kept);
  all.divisor = layout.divisor;
  all.bits = layout.bits;
  all.numbers = static_cast<int>(layout.numbers);
  all.offset = layout.offset;
  all.number = format.number.data();
  all.group_size = layout.group_size;
  all.groups = layout.groups;
  all.group_of = layout.group_of.empty() ? nullptr : layout.group_of.data();
  all.mixed = format.widths.columns.empty() ? nullptr : format.widths.columns.data();
  const RowKernels& kernels = row_kernels(family);
  const auto multiply = kernels.multiply_grouped;
  const auto decode = kernels.decode_grouped;
  const auto task_at = [&](std::int64_t panel) {
    GroupedTask task = all;
    task.codes = memory + panel * parts.size;
    task.scales = task.codes + parts.scales;
    task.zeros = layout.zeros ? task.codes + parts.zeros : nullptr;
    return task;
  };
  const bool any_group = all.group_of != nullptr;
  const bool fits = any_group ? layout.numbers == CodeNumbers::kIntegers && layout.groups <= kWidenedGroups && !(all.mixed && layout.zeros)
                              : layout.group_size % 8 == 0 && !(layout.zeros && fp8(layout.numbers));
  if (multiply && tokens == 1 && layout.columns % 8 == 0 && fits) {
    all.end = layout.columns;
    all.x = x;
    all.panel_bytes = parts.size;
    const std::int64_t panels = (rows + kPanelRows - 1) / kPanelRows;
    const std::int64_t grain = std::clamp<std::int64_t>(panels / pool.threads(), 1, 4);
    const std::int64_t tile_bytes = any_group ? kWidenedNumbers * layout.groups * kPanelRows * 4 : 0;
    std::byte* tiles = any_group ? scratch.tiles.reserve(static_cast<std::size_t>(pool.threads() * tile_bytes)) : nullptr;
    pool.parallel_for(panels, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
      GroupedTask task = task_at(begin);
      if (any_group) task.tile = reinterpret_cast<float*>(tiles + thread * tile_bytes);
      task.panels = static_cast<int>(end - begin);
      task.rows = std::min(rows - begin * kPanelRows, (end - begin) * kPanelRows);
      task.y = y + begin * kPanelRows;
      multiply(task);
    });
    return;
  }
  matmul_decoded(family, rows, layout.columns, x, tokens, x_stride, y, y_stride, pool, scratch, [&](std::int64_t panel, std::int64_t begin, std::int64_t end, float* tile) {
    GroupedTask task = task_at(panel);
    task.begin = begin;
    task.end = end;
    task.tile = tile;
    decode(task);
  });
}

}  // namespace quantfleet
