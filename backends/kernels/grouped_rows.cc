#include "backends/kernels/grouped_rows.h"

#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/cpu/tasks.h"
#include "backends/kernels/decoded_panels.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

namespace quantfleet {
namespace {

// Where the parts of a panel begin.
struct Parts {
  std::int64_t scales, zeros, size;
  explicit Parts(const GroupedRows& rows) {
    const std::int64_t numbers = rows.groups * kPanelRows * (rows.halves ? 2 : 4);
    scales = (rows.columns + 7) / 8 * 16 * rows.bits;
    zeros = scales + numbers;
    size = (zeros + (rows.zeros ? numbers : 0) + 63) / 64 * 64;
  }
};

void put_code(unsigned char* codes, int bits, std::int64_t k, int row, unsigned code) {
  unsigned char* chunk = codes + k / 8 * 16 * bits;
  const auto column = static_cast<unsigned>(k % 8);
  const auto put = [&](std::size_t at, unsigned value) { chunk[at] = static_cast<unsigned char>(chunk[at] | value); };
  const auto r = static_cast<std::size_t>(row);
  if (bits == 8) return put(16 * column + r, code);
  if (bits & 4) put(16 * (column % 4) + r, (code & 15) << (4 * (column / 4))), code >>= 4, chunk += 64;
  if (bits & 2) put(16 * (column / 4) + r, (code & 3) << (2 * (column % 4))), code >>= 2, chunk += 32;
  if (bits & 1) put(r, (code & 1) << column);
}

}  // namespace

std::size_t grouped_rows_bytes(const GroupedRows& format, std::int64_t rows) {
  return static_cast<std::size_t>((rows + kPanelRows - 1) / kPanelRows * Parts(format).size);
}

std::int64_t pack_grouped_rows(const GroupedRowsFormat& format, std::span<const std::byte> bytes, std::int64_t rows, AlignedBuffer& data, ThreadPool& pool) {
  const GroupedRows& layout = format.rows;
  const Parts parts(layout);
  auto* memory = reinterpret_cast<unsigned char*>(data.reserve(grouped_rows_bytes(layout, rows)));
  const std::int64_t groups = layout.groups;
  std::atomic<std::int64_t> bad{rows};
  pool.parallel_for((rows + kPanelRows - 1) / kPanelRows, 1, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<float> numbers(static_cast<std::size_t>(groups));
    for (std::int64_t panel = begin; panel < end; ++panel) {
      unsigned char* target = memory + panel * parts.size;
      std::memset(target, 0, static_cast<std::size_t>(parts.size));
      for (std::int64_t row = panel * kPanelRows; row < std::min(rows, (panel + 1) * kPanelRows); ++row) {
        const auto lane = static_cast<int>(row % kPanelRows);
        const std::byte* source = bytes.data() + row * format.block.bytes_per_block + 8;
        for (unsigned char* place = target + parts.scales; place <= target + parts.zeros; place += parts.zeros - parts.scales) {
          if (place == target + parts.zeros && !layout.zeros) break;
          std::memcpy(numbers.data(), source, 4 * numbers.size());
          source += 4 * groups;
          for (std::int64_t g = 0; g < groups; ++g) {
            const float number = numbers[static_cast<std::size_t>(g)];
            const float limit = place == target + parts.scales ? 1e30f : 1e8f;  // no value can overflow
            if (!(std::fabs(number) <= limit)) {
              std::int64_t seen = bad.load();
              while (row < seen && !bad.compare_exchange_weak(seen, row)) {}
            }
            if (layout.halves) {
              const std::uint16_t half = float_to_half(number);
              std::memcpy(place + 2 * (g * kPanelRows + lane), &half, 2);
            } else {
              std::memcpy(place + 4 * (g * kPanelRows + lane), &number, 4);
            }
          }
        }
        for (std::int64_t k = 0; k < layout.columns; ++k) put_code(target, layout.bits, k, lane, static_cast<unsigned>(source[k]));
      }
    }
  });
  return bad < rows ? bad.load() : -1;
}

void matmul_grouped_rows(const KernelFamily& family, const GroupedRowsFormat& format, const AlignedBuffer& data, std::int64_t rows, const float* x, std::int64_t tokens,
                         std::int64_t x_stride, float* y, std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch) {
  const GroupedRows& layout = format.rows;
  const Parts parts(layout);
  const auto* memory = reinterpret_cast<const unsigned char*>(data.data());
  const auto decode = row_kernels(family).decode_grouped;
  GroupedTask all;
  all.halves = layout.halves;
  all.bits = layout.bits;
  all.numbers = static_cast<int>(layout.numbers);
  all.offset = layout.offset;
  all.number = format.number.data();
  all.group_size = layout.group_size;
  all.group_of = layout.group_of.empty() ? nullptr : layout.group_of.data();
  matmul_decoded(family, rows, layout.columns, x, tokens, x_stride, y, y_stride, pool, scratch, [&](std::int64_t panel, std::int64_t begin, std::int64_t end, float* tile) {
    GroupedTask task = all;
    task.codes = memory + panel * parts.size;
    task.scales = task.codes + parts.scales;
    task.zeros = layout.zeros ? task.codes + parts.zeros : nullptr;
    task.begin = begin;
    task.end = end;
    task.tile = tile;
    decode(task);
  });
}

}  // namespace quantfleet
