#include "backends/kernels/row_int8.h"

#include "backends/kernels/cpu/row_kernels.h"
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/cpu/tasks.h"
#include "backends/kernels/decoded_panels.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

namespace quantfleet {
namespace {

static_assert(kPieceColumns % kRowInt8Pad == 0);
constexpr std::int64_t kRowsAtOnce = 16;
constexpr std::int64_t kTokensAtOnce = 64;

std::int64_t padded(std::int64_t count, std::int64_t to) { return (count + to - 1) / to * to; }

// Where the parts of the packed matrix begin.
struct Parts {
  std::int64_t stride, sums, codes, size;
  Parts(std::int64_t rows, std::int64_t columns) : stride(padded(columns, kRowInt8Pad)), sums(padded(4 * rows, 64)), codes(2 * sums), size(codes + rows * stride) {}
};

}  // namespace

std::size_t row_int8_bytes(std::int64_t rows, std::int64_t columns) { return static_cast<std::size_t>(Parts(rows, columns).size); }

std::int64_t pack_row_int8(std::span<const std::byte> bytes, std::int64_t rows, std::int64_t columns, AlignedBuffer& data, ThreadPool& pool) {
  const Parts parts(rows, columns);
  std::byte* memory = data.reserve_in_slab(static_cast<std::size_t>(parts.size));
  auto* scales = reinterpret_cast<float*>(memory);
  auto* sums = reinterpret_cast<std::int32_t*>(memory + parts.sums);
  std::atomic<std::int64_t> bad{rows};
  pool.parallel_for(rows, kRowsAtOnce, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::byte* source = bytes.data() + row * (kRowInt8HeaderBytes + columns);
      std::memcpy(&scales[row], source + 4, 4);
      if (!std::isfinite(scales[row])) {
        std::int64_t seen = bad.load();
        while (row < seen && !bad.compare_exchange_weak(seen, row)) {}
      }
      auto* codes = reinterpret_cast<std::int8_t*>(memory + parts.codes + row * parts.stride);
      std::memcpy(codes, source + kRowInt8HeaderBytes, static_cast<std::size_t>(columns));
      std::memset(codes + columns, 0, static_cast<std::size_t>(parts.stride - columns));
      std::int32_t sum = 0;
      for (std::int64_t k = 0; k < columns; ++k) sum += codes[k];
      sums[row] = sum;
    }
  });
  return bad < rows ? bad.load() : -1;
}

void quantize_row(const float* x, std::int64_t columns, const RowInt8Format& format, std::int8_t* codes, float& scale, std::int32_t* outliers, std::int32_t& count_outliers) {
  constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23
  const float threshold = format.outlier_threshold > 0 ? format.outlier_threshold : std::numeric_limits<float>::infinity();
  float amax = 0;
  bool finite = true;
  count_outliers = 0;
  for (std::int64_t k = 0; k < columns; ++k) {
    const float magnitude = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x[k]) & 0x7fffffffu);
    finite = finite && std::bit_cast<std::uint32_t>(magnitude) < 0x7f800000u;
    if (magnitude >= threshold) outliers[count_outliers++] = static_cast<std::int32_t>(k);
    else amax = magnitude > amax ? magnitude : amax;
  }
  std::memset(codes, 0, static_cast<std::size_t>(padded(columns, kRowInt8Pad)));
  if (!finite) {
    scale = std::numeric_limits<float>::quiet_NaN();
    count_outliers = 0;
    return;
  }
  if (format.input_scale > 0) {
    scale = format.input_scale;
    for (std::int64_t k = 0; k < columns; ++k) {
      const float value = std::clamp(x[k] / scale, -128.0f, 127.0f);
      codes[k] = static_cast<std::int8_t>(static_cast<int>((value + kRoundMagic) - kRoundMagic));
    }
  } else {
    const float inverse = 127.0f / amax;
    if (amax == 0 || inverse > std::numeric_limits<float>::max()) {
      scale = 0;
    } else {
      scale = amax / 127.0f;
      for (std::int64_t k = 0; k < columns; ++k) {
        const bool outlier = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x[k]) & 0x7fffffffu) >= threshold;
        codes[k] = outlier ? std::int8_t{0} : static_cast<std::int8_t>(static_cast<int>((x[k] * inverse + kRoundMagic) - kRoundMagic));
      }
    }
  }
  if (format.input_scale > 0)
    for (std::int32_t i = 0; i < count_outliers; ++i) codes[outliers[i]] = 0;
}

void matmul_row_int8(const KernelFamily& family, const RowInt8Format& format, const AlignedBuffer& data, std::int64_t rows, const float* x, std::int64_t tokens,
                     std::int64_t x_stride, ActivationKind kind, float* y, std::int64_t y_stride, ThreadPool& pool, MatmulScratch& scratch) {
  const std::int64_t columns = format.block.values_per_block;
  const Parts parts(rows, columns);
  if (kind == ActivationKind::kF32) {
    const auto* scales = reinterpret_cast<const float*>(data.data());
    const auto* all_codes = reinterpret_cast<const std::int8_t*>(data.data() + parts.codes);
    const auto decode = row_kernels(family).decode_int8;
    return matmul_decoded(family, rows, columns, x, tokens, x_stride, y, y_stride, pool, scratch, [&](std::int64_t panel, std::int64_t begin, std::int64_t end, float* tile) {
      const std::int64_t row = panel * kPanelRows;
      decode({.weights = all_codes + row * parts.stride + begin, .stride = parts.stride, .scales = scales + row,
              .rows = static_cast<int>(std::min<std::int64_t>(kPanelRows, rows - row)), .columns = end - begin, .tile = tile});
    });
  }
  // Tokens in portions, so that the lists of outliers stay small.
  const std::int64_t at_once = std::min(tokens, kTokensAtOnce);
  const std::int64_t codes_bytes = at_once * parts.stride, list_bytes = padded(4 * at_once * columns, 64), each_bytes = padded(4 * at_once, 64);
  std::byte* memory = scratch.activations.reserve(static_cast<std::size_t>(codes_bytes + list_bytes + 2 * each_bytes));
  auto* codes = reinterpret_cast<std::int8_t*>(memory);
  auto* outliers = reinterpret_cast<std::int32_t*>(memory + codes_bytes);
  auto* counts = reinterpret_cast<std::int32_t*>(memory + codes_bytes + list_bytes);
  auto* scales = reinterpret_cast<float*>(memory + codes_bytes + list_bytes + each_bytes);
  RowInt8Task all;
  all.weights = reinterpret_cast<const std::int8_t*>(data.data() + parts.codes);
  all.weight_scales = reinterpret_cast<const float*>(data.data());
  all.weight_sums = reinterpret_cast<const std::int32_t*>(data.data() + parts.sums);
  all.columns = columns;
  all.stride = parts.stride;
  all.codes = codes;
  all.scales = scales;
  all.outliers = outliers;
  all.outlier_counts = counts;
  all.x_stride = x_stride;
  all.y_stride = y_stride;
  const auto multiply = row_kernels(family).matmul_int8;
  for (std::int64_t first = 0; first < tokens; first += at_once) {
    const std::int64_t count = std::min(at_once, tokens - first);
    all.x = x + first * x_stride;
    all.y = y + first * y_stride;
    all.token_end = count;
    pool.parallel_for(count, 4, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t t = begin; t < end; ++t)
        quantize_row(all.x + t * x_stride, columns, format, codes + t * parts.stride, scales[t], outliers + t * columns, counts[t]);
    });
    pool.parallel_for(rows, kRowsAtOnce, [&](std::int64_t begin, std::int64_t end, int) {
      RowInt8Task task = all;
      task.row_begin = begin;
      task.row_end = end;
      multiply(task);
    });
  }
}

}  // namespace quantfleet
