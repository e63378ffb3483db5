// Weight matrices and the loops around a family's product kernels: which thread computes which outputs. Nothing here
// touches the order of a sum.
#include "backends/formats/grouped_blocks.h"
#include "backends/kernels/cpu/integer_formats.h"
#include "backends/kernels/cpu/panel_layout.h"
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/decoded_panels.h"
#include "backends/kernels/grouped_rows.h"
#include "backends/kernels/kernels.h"
#include "backends/kernels/row_int8.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <limits>

namespace quantfleet {
namespace {

constexpr std::int64_t kLargestSide = std::int64_t(1) << 31;

void decode_f32(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  std::memcpy(values, blocks, static_cast<std::size_t>(count_blocks) * sizeof(float));
}
constexpr BlockFormat kFloats = {"F32", 0, 1, 4, 0, decode_f32};

bool is_finite(float value) { return value - value == 0; }

// The first column whose value is not finite, or -1. Integers under finite scales are finite, so scales are enough.
std::int64_t first_non_finite(const BlockFormat& format, const IntegerFormat* integers, const std::byte* row,
                              std::int64_t columns) {
  if (integers) {
    CodeBlock block{};
    const auto* bytes = reinterpret_cast<const unsigned char*>(row);
    for (std::int64_t k = 0; k < columns; k += integers->block, bytes += integers->bytes) {
      integers->read(bytes, block);
      if (!is_finite(block.d) || (integers->min_sign != 0 && !is_finite(block.m))) return k;
    }
    return -1;
  }
  float values[1024];
  const std::int64_t at_once = std::max(1, 256 / format.values_per_block);
  for (std::int64_t k = 0; k < columns;) {
    const std::int64_t count_blocks = std::min(at_once, (columns - k) / format.values_per_block);
    format.decode(row, count_blocks, values);
    const std::int64_t count = count_blocks * format.values_per_block;
    for (std::int64_t i = 0; i < count; ++i)
      if (!is_finite(values[i])) return k + i;
    row += count_blocks * format.bytes_per_block;
    k += count;
  }
  return -1;
}

// How a matrix of this format is kept and multiplied as codes under group scales; nullptr: otherwise.
const GroupedRowsFormat* kept_in_groups(const BlockFormat& format, std::int64_t columns) {
  const GroupedRowsFormat* grouped = as_grouped_rows(format);
  return grouped ? grouped : grouped_rows_of(format, columns);
}

}  // namespace

int values_per_block(const BlockFormat& format) { return format.values_per_block; }
int bytes_per_block(const BlockFormat& format) { return format.bytes_per_block; }
void decode_blocks(const BlockFormat& format, const unsigned char* blocks, std::int64_t count_blocks, float* values) {
  format.decode(reinterpret_cast<const std::byte*>(blocks), count_blocks, values);
}

bool has_int8_activations(const BlockFormat& format) {
  return format.activation_block > 0 && (find_integer_format(format.ggml_type) != nullptr || as_row_int8(format) != nullptr);
}

std::size_t WeightMatrix::packed_bytes(const KernelFamily& family, const BlockFormat& format, std::int64_t rows, std::int64_t columns) {
  if (as_row_int8(format)) return row_int8_bytes(rows, columns);
  if (const GroupedRowsFormat* grouped = kept_in_groups(format, columns)) return grouped_rows_bytes(*grouped, rows);
  const PanelLayout* layout = family.uses_panels ? find_panel_layout(format.ggml_type) : nullptr;
  return static_cast<std::size_t>(layout ? (rows + kPanelRows - 1) / kPanelRows * panel_bytes(*layout, columns) : rows * format.row_bytes(columns));
}

struct MatmulDriver {
  static Result<WeightMatrix> pack(const KernelFamily& family, const BlockFormat& format, const std::byte* bytes,
                                   std::int64_t rows, std::int64_t columns, ThreadPool& pool) {
    const std::int64_t row_bytes = format.row_bytes(columns);
    WeightMatrix w;
    w.family_ = &family;
    w.format_ = &format;
    w.rows_ = rows;
    w.columns_ = columns;
    w.has_int8_ = has_int8_activations(format);
    if (as_row_int8(format)) {
      const std::int64_t bad = pack_row_int8({bytes, static_cast<std::size_t>(rows * row_bytes)}, rows, columns, w.data_, pool);
      if (bad >= 0) return Error{Code::kNonFinite, fmt::format("the scale of row {} is NaN or infinite; finite weights are needed", bad)};
      return w;
    }
    w.grouped_ = kept_in_groups(format, columns);
    if (const GroupedRowsFormat* grouped = w.grouped_) {
      const bool as_such = &grouped->block == &format;
      const std::int64_t bad = pack_grouped_rows(*grouped, [&](std::int64_t row, std::byte* memory) {
        const std::byte* source = bytes + row * row_bytes;
        if (as_such) return source;
        to_grouped_row(format, *grouped, source, memory);
        return static_cast<const std::byte*>(memory);
      }, rows, w.data_, pool);
      if (bad >= 0) return Error{Code::kNonFinite, fmt::format("a scale or zero point of row {} is NaN, infinite or too large; finite weights are needed", bad)};
      return w;
    }
    const PanelLayout* layout = family.uses_panels ? find_panel_layout(format.ggml_type) : nullptr;
    w.panels_ = layout != nullptr;
    const std::int64_t count_panels = (rows + kPanelRows - 1) / kPanelRows;
    const std::int64_t panel_size = layout ? panel_bytes(*layout, columns) : 0;
    w.data_.reserve_in_slab(WeightMatrix::packed_bytes(family, format, rows, columns));
    const IntegerFormat* integers = find_integer_format(format.ggml_type);
    std::atomic<std::int64_t> bad_row{rows};
    pool.parallel_for(count_panels, 1, [&](std::int64_t panel, std::int64_t, int) {
      const std::int64_t row_begin = panel * kPanelRows, row_end = std::min(rows, row_begin + kPanelRows);
      for (std::int64_t row = row_begin; row < row_end; ++row) {
        if (first_non_finite(format, integers, bytes + row * row_bytes, columns) >= 0) {
          std::int64_t seen = bad_row.load();
          while (row < seen && !bad_row.compare_exchange_weak(seen, row)) {}
          return;
        }
      }
      if (layout) {
        pack_panel(*layout, reinterpret_cast<const unsigned char*>(bytes), row_bytes, rows, columns, panel,
                   reinterpret_cast<unsigned char*>(w.data_.data()) + panel * panel_size);
      } else {
        std::memcpy(w.data_.data() + row_begin * row_bytes, bytes + row_begin * row_bytes,
                    static_cast<std::size_t>((row_end - row_begin) * row_bytes));
      }
    });
    if (const std::int64_t row = bad_row.load(); row < rows) {
      const std::int64_t column = first_non_finite(format, integers, bytes + row * row_bytes, columns);
      return Error{Code::kNonFinite, fmt::format("row {}, column {} of a {} tensor is NaN or infinite; finite weights are needed",
                                                 row, column, format.name)};
    }
    return w;
  }

  static void matmul(const WeightMatrix& w, const float* x, std::int64_t tokens, std::int64_t x_stride, ActivationKind kind,
                     float* y, std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch) {
    if (tokens <= 0) return;
    const KernelFamily& family = *w.family_;
    if (const RowInt8Format* format = as_row_int8(*w.format_))
      return matmul_row_int8(family, *format, w.data_, w.rows_, x, tokens, x_stride, kind, y, y_stride, pool, scratch);
    if (w.grouped_)
      return matmul_grouped_rows(family, *w.grouped_, w.data_, w.rows_, x, tokens, x_stride, y, y_stride, pool, scratch);
    MatmulTask all;
    all.weights = reinterpret_cast<const unsigned char*>(w.data_.data());
    all.panels = w.panels_;
    all.ggml_type = w.format_->ggml_type;
    all.rows = w.rows_;
    all.columns = w.columns_;
    all.row_bytes = w.format_->row_bytes(w.columns_);
    all.format = w.format_;
    all.integers = find_integer_format(w.format_->ggml_type);
    all.x = x;
    all.x_stride = x_stride;
    all.y = y;
    all.y_stride = y_stride;
    // Formats without a panel layout stay rows. With F32 activations each panel of them is decoded where it is needed.
    const bool own = w.panels_ || !family.uses_panels, decoded = !own && kind == ActivationKind::kF32;
    const std::int64_t decoded_bytes = decoded ? (w.columns_ * (kPanelRows + 1) * static_cast<std::int64_t>(sizeof(float)) + 63) / 64 * 64 : 0;
    const std::int64_t scratch_bytes = kMatmulScratchBytes + decoded_bytes;
    auto* tiles = reinterpret_cast<unsigned char*>(scratch.tiles.reserve(static_cast<std::size_t>(pool.threads() * scratch_bytes)));
    if (kind == ActivationKind::kInt8) quantize(family, all, tokens, pool, scratch);
    else if ((w.panels_ || decoded) && family.float_groups && tokens > kGroupTokens) group_floats(all, tokens, pool, scratch);
    const auto multiply = kind == ActivationKind::kF32 ? family.matmul_f32 : own ? family.matmul_int8 : scalar::matmul_int8;

    // Enough pieces to keep every thread busy: panels first, then groups of tokens.
    const std::int64_t panels = (w.rows_ + kPanelRows - 1) / kPanelRows;
    std::int64_t tokens_each = kTaskTokens;
    while (tokens_each > 32 && panels * ((tokens + tokens_each - 1) / tokens_each) < 4 * pool.threads()) tokens_each /= 2;
    const std::int64_t groups = (tokens + tokens_each - 1) / tokens_each;
    // Neighbouring panels of one group follow each other in memory; kernels for F32 take four of them at once. Short ranges: threads end
    // together. One token, int8: a panel takes a microsecond, and what surrounds a range counts.
    std::int64_t grain = panels;
    if (pool.threads() > 1 && tokens == 1 && kind == ActivationKind::kInt8) grain = std::clamp<std::int64_t>(panels / (8 * pool.threads()), 1, 8);
    else if (pool.threads() > 1) grain = std::clamp<std::int64_t>(panels * groups / pool.threads(), 1, 4);
    pool.parallel_for(panels * groups, grain, [&](std::int64_t begin, std::int64_t end, int thread) {
      MatmulTask task = all;
      task.scratch = tiles + thread * scratch_bytes;
      while (begin < end) {
        const std::int64_t group = begin / panels;
        task.panel_begin = begin % panels;
        task.panel_end = std::min(panels, task.panel_begin + (end - begin));
        task.token_begin = group * tokens_each;
        task.token_end = std::min(tokens, task.token_begin + tokens_each);
        if (decoded) multiply_decoded(task, family, reinterpret_cast<float*>(task.scratch + kMatmulScratchBytes));
        else multiply(task);
        begin += task.panel_end - task.panel_begin;
      }
    });
  }

 private:
  // Rows of any format as panels of floats, one at a time: what the format decodes to is what the product is defined on.
  //   memory: columns * (kPanelRows + 1) floats
  static void multiply_decoded(const MatmulTask& task, const KernelFamily& family, float* memory) {
    float* row_values = memory + task.columns * kPanelRows;
    MatmulTask one = task;
    one.weights = reinterpret_cast<const unsigned char*>(memory);
    one.panels = true;
    one.ggml_type = kFloats.ggml_type;
    one.format = &kFloats;
    one.panel_begin = 0;
    one.panel_end = 1;
    for (std::int64_t panel = task.panel_begin; panel < task.panel_end; ++panel) {
      const std::int64_t first = panel * kPanelRows;
      one.rows = std::min<std::int64_t>(kPanelRows, task.rows - first);
      one.y = task.y + first;
      if (one.rows < kPanelRows) std::memset(memory, 0, static_cast<std::size_t>(task.columns * kPanelRows) * sizeof(float));
      for (std::int64_t r = 0; r < one.rows; ++r) {
        decode_blocks(*task.format, task.weights + (first + r) * task.row_bytes, task.columns / task.format->values_per_block, row_values);
        for (std::int64_t k = 0; k < task.columns; ++k) memory[k * kPanelRows + r] = row_values[k];
      }
      family.matmul_f32(one);
    }
  }

  static void quantize(const KernelFamily& family, MatmulTask& all, std::int64_t tokens, ThreadPool& pool,
                       MatmulScratch& scratch) {
    assert(all.integers);
    const std::int64_t blocks = all.columns / all.integers->block, subs = all.columns / all.integers->sub_block;
    const PanelLayout* layout = all.panels ? find_panel_layout(all.ggml_type) : nullptr;
    const auto aligned = [](std::int64_t bytes) { return (bytes + 63) / 64 * 64; };
    const std::int64_t codes_bytes = aligned(tokens * all.columns), scales_bytes = aligned(tokens * blocks * 4);
    const std::int64_t sums_bytes = aligned(tokens * subs * 2), corrections_bytes = aligned(tokens * subs * 4);
    // Fewer tokens are faster few by few: grouping them and unpacking weights into memory costs more than unpacking twice.
    const bool grouped = layout && family.grouped_tokens > 0 && tokens >= family.grouped_tokens;
    const std::int64_t count_groups = grouped ? (tokens + kGroupTokens - 1) / kGroupTokens : 0;
    const std::int64_t pieces = (all.columns + kGroupColumns - 1) / kGroupColumns;
    std::byte* memory = scratch.activations.reserve(
        static_cast<std::size_t>(codes_bytes + scales_bytes + sums_bytes + corrections_bytes) +
        static_cast<std::size_t>(count_groups * pieces) * sizeof(TokenGroup));
    auto* codes = reinterpret_cast<std::int8_t*>(memory);
    auto* scales = reinterpret_cast<float*>(memory + codes_bytes);
    auto* sums = reinterpret_cast<std::int16_t*>(memory + codes_bytes + scales_bytes);
    auto* corrections = reinterpret_cast<std::int32_t*>(memory + codes_bytes + scales_bytes + sums_bytes);
    auto* groups = reinterpret_cast<TokenGroup*>(memory + codes_bytes + scales_bytes + sums_bytes + corrections_bytes);
    all.corrections = corrections;
    all.codes = codes;
    all.scales = scales;
    all.sums = sums;
    if (grouped) all.groups = groups;
    all.count_groups = count_groups;
    pool.parallel_for(tokens, kGroupTokens, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t)
        family.quantize_activations(all.x + t * all.x_stride, all.columns, all.integers->block, all.integers->sub_block,
                                    codes + t * all.columns, scales + t * blocks, sums + t * subs);
      if (!layout) return;
      for (std::int64_t i = begin * subs; i < end * subs; ++i) corrections[i] = -layout->offset * sums[i];
      for (std::int64_t piece = 0; grouped && piece < pieces; ++piece)
        group_tokens(all, begin, end, piece * kGroupColumns, groups[piece * count_groups + begin / kGroupTokens]);
    });
  }

  // Quads of codes of four tokens side by side.  codes: of the first token; count: columns, a multiple of 16
  static void turn_quads(const std::int8_t* codes, std::int64_t stride, std::int64_t count, std::int8_t (*target)[kGroupTokens][4], int place) {
    using Quads = std::int32_t __attribute__((vector_size(16)));
    const auto load = [&](std::int64_t token, std::int64_t k) {
      Quads quads;
      std::memcpy(&quads, codes + token * stride + k, sizeof quads);
      return quads;
    };
    for (std::int64_t k = 0; k < count; k += 16, target += 4) {
      const Quads a = load(0, k), b = load(1, k), c = load(2, k), d = load(3, k);
      const Quads ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
      const Quads ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      const Quads turned[4] = {__builtin_shufflevector(ab, cd, 0, 1, 4, 5), __builtin_shufflevector(ab, cd, 2, 3, 6, 7),
                               __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5), __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7)};
      for (int i = 0; i < 4; ++i) std::memcpy(target[i][place], &turned[i], sizeof turned[i]);
    }
  }

  // Tokens [begin, end) beside each other; columns from `column` on.
  static void group_tokens(const MatmulTask& all, std::int64_t begin, std::int64_t end, std::int64_t column, TokenGroup& group) {
    const std::int64_t count = std::min<std::int64_t>(kGroupColumns, all.columns - column);
    const std::int64_t block = all.integers->block, sub_block = all.integers->sub_block;
    if (end - begin < kGroupTokens || count < kGroupColumns) std::memset(&group, 0, sizeof group);
    for (int place = 0; end - begin == kGroupTokens && place < kGroupTokens; place += 4)
      turn_quads(all.codes + (begin + place) * all.columns + column, all.columns, count, group.codes, place);
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t place = t - begin;
      const std::int8_t* codes = all.codes + t * all.columns + column;
      if (end - begin < kGroupTokens)
        for (std::int64_t k = 0; k < count; k += 4) std::memcpy(group.codes[k / 4][place], codes + k, 4);
      const float* scales = all.scales + (t * all.columns + column) / block;
      for (std::int64_t i = 0; i < count / block; ++i) group.scales[i][place] = scales[i];
      const std::int64_t first_sub = (t * all.columns + column) / sub_block;
      std::int32_t total = 0;
      for (std::int64_t j = 0; j < count / sub_block; ++j) {
        group.corrections[j][place] = all.corrections[first_sub + j];
        group.sums[j / 2][place][j % 2] = all.sums[first_sub + j];
        total += all.sums[first_sub + j];
      }
      group.total[place] = total;
    }
  }
};

Result<WeightMatrix> WeightMatrix::pack(const KernelFamily& family, const BlockFormat& format, std::span<const std::byte> bytes,
                                        std::int64_t rows, std::int64_t columns, ThreadPool& pool) {
  if (rows < 1 || columns < 1)
    return Error{Code::kBadShape, fmt::format("a weight matrix of {} rows and {} columns; both must be 1 or more", rows, columns)};
  if (rows > kLargestSide || columns > kLargestSide)
    return Error{Code::kTooLarge, fmt::format("a weight matrix of {} rows and {} columns; at most 2^31 each", rows, columns)};
  const std::int64_t row_bytes = format.row_bytes(columns);
  if (row_bytes == 0)
    return Error{Code::kBadShape, fmt::format("{} columns are not a whole number of {} blocks of {} values", columns, format.name,
                                              format.values_per_block)};
  if (rows > std::numeric_limits<std::int64_t>::max() / row_bytes ||
      bytes.size() != static_cast<std::uint64_t>(rows * row_bytes))
    return Error{Code::kBadShape, fmt::format("{} rows of {} bytes need {} bytes, the tensor has {}", rows, row_bytes,
                                              static_cast<double>(rows) * static_cast<double>(row_bytes), bytes.size())};
  return MatmulDriver::pack(family, format, bytes.data(), rows, columns, pool);
}

Result<WeightMatrix> WeightMatrix::pack_floats(const KernelFamily& family, std::span<const float> values, std::int64_t rows,
                                               std::int64_t columns, ThreadPool& pool) {
  return pack(family, kFloats, std::as_bytes(values), rows, columns, pool);
}

void matmul(const WeightMatrix& w, const float* x, std::int64_t tokens, std::int64_t x_stride, ActivationKind kind, float* y,
            std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch) {
  MatmulDriver::matmul(w, x, tokens, x_stride, kind, y, y_stride, pool, scratch);
}

}  // namespace quantfleet
