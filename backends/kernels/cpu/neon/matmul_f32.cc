// Dequantized weight times F32 activation. A piece of a panel becomes floats [k][16] in the first-level cache; each output
// is one fma chain over ascending k. With few tokens, two panels run side by side to hide the chain's latency.
#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/panels.h"
#include "backends/kernels/cpu/neon/vector_math.h"
#include "backends/kernels/cpu/float_panels.h"

namespace quantfleet::neon {
namespace {

constexpr int kPanelsAtOnce = panel_formats::kTilePanels;

template <class P>
struct Quantized {
  static std::int64_t panel_size(std::int64_t columns) { return panel_formats::panel_size<P>(columns); }
  // Four rows of a chunk.
  QF_INLINE void quarter_chunk(const unsigned char* codes, const unsigned char* block, int quarter, int place, float* target) {
    int8x16_t quad[8];
    unpack_values<P>(codes + 16 * quarter, quad);
    const float32x4_t d = load_d<P>(block, quarter);
    float32x4_t m = vdupq_n_f32(0);
    if constexpr (P::kMinSign != 0) m = load_m(block, quarter);
    float32x4_t scale = d, minimum = m;
    for (int g = 0; g < 8; ++g) {
      if (P::kScales && g % (P::kSubBlock / 4) == 0) {
        const int j = (place + 4 * g) / P::kSubBlock;
        scale = vmulq_f32(d, vcvtq_f32_s32(sub_scale<P>(block, j, quarter)));
        if constexpr (P::kScales && P::kMinSign != 0)
          minimum = vmulq_f32(m, vcvtq_f32_s32(sub_minimum<P>(block, j, quarter)));
      }
      int8x16_t values = quad[g];
      if constexpr (!is_signed<P>()) values = vsubq_s8(values, vdupq_n_s8(P::kOffset));
      const int32x4_t words = vreinterpretq_s32_s8(values);
      const int32x4_t columns[4] = {vshrq_n_s32(vshlq_n_s32(words, 24), 24), vshrq_n_s32(vshlq_n_s32(words, 16), 24),
                                    vshrq_n_s32(vshlq_n_s32(words, 8), 24), vshrq_n_s32(words, 24)};
      for (int i = 0; i < 4; ++i, target += 16) {
        float32x4_t value = vmulq_f32(scale, vcvtq_f32_s32(columns[i]));
        if constexpr (P::kMinSign > 0) value = vaddq_f32(value, minimum);
        if constexpr (P::kMinSign < 0) value = vsubq_f32(value, minimum);
        vst1q_f32(target + 4 * quarter, value);
      }
    }
  }
  static const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    for (std::int64_t k = begin; k < begin + count; k += 32)
      for (int quarter = 0; quarter < 4; ++quarter)
        quarter_chunk(chunk_at<P>(panel, k), block_at<P>(panel, k), quarter, static_cast<int>(k % P::kBlock), tile + (k - begin) * 16);
    return tile;
  }
};

struct Half {
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  static const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t i = 0; i < 4 * count; ++i) vst1q_f32(tile + 4 * i, load_halves(p + 8 * i));
    return tile;
  }
};

struct Bfloat {
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  static const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t i = 0; i < 4 * count; ++i)
      vst1q_f32(tile + 4 * i, vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p + 8 * i)), 16)));
    return tile;
  }
};

struct Float {
  static std::int64_t panel_size(std::int64_t columns) { return columns * 64; }
  static const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t, float*) {
    return reinterpret_cast<const float*>(panel) + begin * 16;  // already a tile
  }
};

// sums[t][p] += sum over k of tile[p][k] * x[t][k];  sums [kTokens][kPanels][16].
template <int kTokens, int kPanels>
[[gnu::noinline]] void multiply(const float* const (&tile)[kPanels], const float* x, std::int64_t x_stride, std::int64_t count,
                                float* sums) {
  Sixteen acc[kTokens][kPanels];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) acc[t][p] = load16(sums + (t * kPanels + p) * 16);
  for (std::int64_t k = 0; k < count; ++k) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      const Sixteen w = load16(tile[p] + 16 * k);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) acc[t][p] = fma16(acc[t][p], w, x[t * x_stride + k]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) store16(sums + (t * kPanels + p) * 16, acc[t][p]);
}

template <class Source, int kPanels>
[[gnu::noinline]] void some_panels(const MatmulTask& task, std::int64_t panel) {
  panel_formats::tile_panels<Source, kPanels>(task, panel, [&]<int kTokens>(const float* const (&tile)[kPanels], const float* x, std::int64_t count, float* sums) {
    multiply<kTokens, kPanels>(tile, x, task.x_stride, count, sums);
  });
}

template <class Source>
void all_panels(const MatmulTask& task) {
  std::int64_t panel = task.panel_begin;
  if (task.token_end - task.token_begin < 4)
    for (; panel + kPanelsAtOnce <= task.panel_end; panel += kPanelsAtOnce) some_panels<Source, kPanelsAtOnce>(task, panel);
  for (; panel < task.panel_end; ++panel) some_panels<Source, 1>(task, panel);
}

}  // namespace

void matmul_f32(const MatmulTask& task) {
  if (for_panel(task.ggml_type, [&task](auto panel) { all_panels<Quantized<decltype(panel)>>(task); })) return;
  switch (task.ggml_type) {
    case 0: return all_panels<Float>(task);
    case 1: return all_panels<Half>(task);
    case 30: return all_panels<Bfloat>(task);
    default: return;
  }
}

}  // namespace quantfleet::neon
