#include "backends/kernels/cpu/panel_layout.h"

#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/integer_formats.h"

#include <cstring>

namespace quantfleet {
namespace {

//  GGUF type, bits, offset, block, code bytes, scale bytes, nibble scales
constexpr PanelLayout kLayouts[] = {
    {0, CodeBits::kFloat, 0, 1, 64, 0, false},
    {1, CodeBits::kHalf, 0, 1, 32, 0, false},
    {30, CodeBits::kBfloat, 0, 1, 32, 0, false},
    {2, CodeBits::k4, 8, 32, 256, 32, false},                        // Q4_0
    {3, CodeBits::k4, 0, 32, 256, 64, false},                        // Q4_1
    {6, CodeBits::k5, 16, 32, 320, 32, false},                     // Q5_0
    {7, CodeBits::k5, 0, 32, 320, 64, false},                      // Q5_1
    {8, CodeBits::k8, 128, 32, 512, 32, false},                      // Q8_0
    {10, CodeBits::k2, 0, 256, 8 * 128, 64 + 16 * 16, true},         // Q2_K
    {11, CodeBits::k3, 4, 256, 8 * 192, 32 + 16 * 16, false},      // Q3_K
    {12, CodeBits::k4, 0, 256, 8 * 256, 64 + 2 * 8 * 16, false},     // Q4_K
    {13, CodeBits::k5, 0, 256, 8 * 320, 64 + 2 * 8 * 16, false},   // Q5_K
    {14, CodeBits::k6, 32, 256, 8 * 384, 32 + 16 * 16, false},     // Q6_K
    {16, CodeBits::k3, 128, 256, 8 * 192, 32 + 8 * 16, false, CodeTable::kIq2, 0.125f},    // IQ2_XXS
    {17, CodeBits::k3, 128, 256, 8 * 192, 32 + 16 * 16, false, CodeTable::kIq2, 0.125f},   // IQ2_XS
    {18, CodeBits::k4, 128, 256, 8 * 256, 32 + 8 * 16, false, CodeTable::kIq3Xxs, 0.25f},    // IQ3_XXS
    {19, CodeBits::k3, 128, 256, 8 * 192, 32 + 8 * 16, false, CodeTable::kIq1, 0.125f},    // IQ1_S
    {20, CodeBits::k4, 128, 32, 256, 32, false, CodeTable::kIq4},                            // IQ4_NL
    {21, CodeBits::k4, 128, 256, 8 * 256, 32 + 8 * 16, false, CodeTable::kIq3S},             // IQ3_S
    {22, CodeBits::k3, 128, 256, 8 * 192, 32 + 16 * 16, false, CodeTable::kIq2, 0.125f},   // IQ2_S
    {23, CodeBits::k4, 128, 256, 8 * 256, 32 + 8 * 16, false, CodeTable::kIq4},              // IQ4_XS
    {29, CodeBits::k3, 128, 256, 8 * 192, 32 + 16 * 16, false, CodeTable::kIq1, 0.125f},   // IQ1_M
    {34, CodeBits::k2, 1, 256, 8 * 128, 32 + 8 * 16, false},                                 // TQ1_0
    {35, CodeBits::k2, 1, 256, 8 * 128, 32 + 8 * 16, false},                                 // TQ2_0
    {39, CodeBits::k4, 128, 32, 256, 32, false, CodeTable::kFp4, 0},                         // MXFP4
};

using Quad = unsigned char[64];

// The eight quads of 32 columns, in the layout's bits. Returns the end of what was written.
unsigned char* pack_chunk(CodeBits bits, const Quad (&q)[8], unsigned char* target) {
  const auto put = [&](auto&& byte) {
    for (int b = 0; b < 64; ++b) target[b] = static_cast<unsigned char>(byte(b));
    target += 64;
  };
  switch (bits) {
    case CodeBits::k8:
      std::memcpy(target, q, sizeof q);
      target += sizeof q;
      break;
    case CodeBits::k6:
      for (int j = 0; j < 6; ++j) put([&](int b) { return q[j][b] | (q[6 + j / 3][b] >> 2 * (j % 3)) << 6; });
      break;
    case CodeBits::k5:
      for (int j = 0; j < 5; ++j) {
        const Quad& rest = q[5 + j / 2];
        if (j % 2 == 0) put([&](int b) { return q[j][b] | rest[b] << 5; });
        else put([&](int b) { return q[j][b] | (q[7][b] >> (3 + j / 2) & 1) << 5 | (rest[b] >> 3) << 6; });
      }
      break;
    case CodeBits::k4:
      for (int j = 0; j < 4; ++j) put([&](int b) { return q[j][b] | q[j + 4][b] << 4; });
      break;
    case CodeBits::k3:
      for (int j = 0; j < 2; ++j) put([&](int b) { return q[3 * j][b] | q[3 * j + 1][b] << 3 | q[3 * j + 2][b] << 6; });
      put([&](int b) { return q[6][b] | q[7][b] << 3 | (q[2][b] >> 2) << 6 | (q[5][b] >> 2) << 7; });
      break;
    case CodeBits::k2:
      for (int j = 0; j < 4; j += 2) put([&](int b) { return q[j][b] | q[j + 4][b] << 2 | q[j + 1][b] << 4 | q[j + 5][b] << 6; });
      break;
    default: break;
  }
  return target;
}

void pack_plain(const PanelLayout& layout, const unsigned char* row_data, std::int64_t row_bytes, std::int64_t rows,
                std::int64_t columns, std::int64_t panel, unsigned char* target) {
  const int size = layout.code_bytes / kPanelRows;
  for (int r = 0; r < kPanelRows; ++r) {
    const std::int64_t row = panel * kPanelRows + r;
    for (std::int64_t k = 0; k < columns; ++k) {
      unsigned char* place = target + (k * kPanelRows + r) * size;
      if (row < rows) std::memcpy(place, row_data + row * row_bytes + k * size, static_cast<std::size_t>(size));
      else std::memset(place, 0, static_cast<std::size_t>(size));
    }
  }
}

void put_bfloat(float value, unsigned char* target) {
  std::uint32_t bits;  // exact: a power of two
  std::memcpy(&bits, &value, sizeof bits);
  const auto high = static_cast<std::uint16_t>(bits >> 16);
  std::memcpy(target, &high, sizeof high);
}

void put_half(float value, unsigned char* target) {
  const std::uint16_t bits = float_to_half(value);  // exact: it was a half
  std::memcpy(target, &bits, sizeof bits);
}

}  // namespace

const PanelLayout* find_panel_layout(std::uint32_t ggml_type) {
  for (const PanelLayout& layout : kLayouts)
    if (layout.ggml_type == ggml_type) return &layout;
  return nullptr;
}

std::int64_t panel_bytes(const PanelLayout& layout, std::int64_t columns) {
  const std::int64_t bytes = columns / layout.block * (layout.code_bytes + layout.scale_bytes);
  return (bytes + 63) / 64 * 64;
}

void pack_panel(const PanelLayout& layout, const unsigned char* row_data, std::int64_t row_bytes, std::int64_t rows,
                std::int64_t columns, std::int64_t panel, unsigned char* target) {
  const IntegerFormat* format = find_integer_format(layout.ggml_type);
  if (!format) return pack_plain(layout, row_data, row_bytes, rows, columns, panel, target);
  const std::int64_t count_blocks = columns / layout.block;
  const bool has_scales = format->has_scales, has_minima = has_scales && format->min_sign != 0 && !layout.nibble_scales;
  unsigned char codes[256] = {};  // of value + 128
  if (layout.table == CodeTable::kNone)
    for (int value = -128; value < 128; ++value) codes[value + 128] = static_cast<unsigned char>(value + layout.offset);
  else
    for (int code = layout.bits == CodeBits::k3 ? 7 : 15; code >= 0; --code)
      codes[table_bytes(layout.table).bytes[code]] = static_cast<unsigned char>(code);
  for (std::int64_t block = 0; block < count_blocks; ++block) {
    CodeBlock lanes[kPanelRows] = {};
    for (int r = 0; r < kPanelRows; ++r) {
      const std::int64_t row = panel * kPanelRows + r;
      if (row < rows) format->read(row_data + row * row_bytes + block * format->bytes, lanes[r]);
    }
    for (int r = 0; r < kPanelRows; ++r) {
      if (layout.unit == 0) put_bfloat(lanes[r].d, target + 2 * r);
      else put_half(lanes[r].d / layout.unit, target + 2 * r);  // exact: it was a half times the unit
      if (format->min_sign != 0) put_half(lanes[r].m, target + 32 + 2 * r);
    }
    target += format->min_sign != 0 ? 64 : 32;
    for (int chunk = 0; chunk < layout.block; chunk += 32) {
      Quad quads[8];
      for (int g = 0; g < 8; ++g)
        for (int r = 0; r < kPanelRows; ++r)
          for (int i = 0; i < 4; ++i)
            quads[g][4 * r + i] = static_cast<unsigned char>(codes[lanes[r].codes[chunk + 4 * g + i] + 128]);
      target = pack_chunk(layout.bits, quads, target);
      const int sub_end = (chunk + 32) / format->sub_block;
      for (int j = chunk / format->sub_block; has_scales && j < sub_end; ++j, target += kPanelRows)
        for (int r = 0; r < kPanelRows; ++r)
          target[r] = static_cast<unsigned char>(lanes[r].scales[j] | (layout.nibble_scales ? lanes[r].mins[j] << 4 : 0));
      for (int j = chunk / format->sub_block; has_minima && j < sub_end; ++j, target += kPanelRows)
        for (int r = 0; r < kPanelRows; ++r) target[r] = static_cast<unsigned char>(lanes[r].mins[j]);
    }
  }
}

}  // namespace quantfleet
