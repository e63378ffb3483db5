// Dequantized weight times F32 activation. A piece of a panel becomes floats [k][16] in the first-level cache; each output
// is one fma chain over ascending k. With few tokens, two panels run side by side to hide the chain's latency.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/panels.h"

namespace quantfleet::avx2 {
namespace {

constexpr int kPieceColumns = 256;
constexpr int kPanelsAtOnce = 2;

template <class P>
struct Quantized {
  static std::int64_t panel_size(std::int64_t columns) {
    return (columns / P::kBlock * (P::kCodeBytes + P::kScaleBytes) + 63) / 64 * 64;
  }
  QF_INLINE void half_chunk(const unsigned char* codes, const unsigned char* scales, int half, int place, float* target) {
    __m256i quad[8];
    unpack_values<P>(codes + 32 * half, quad);
    const __m256 d = load_d<P>(scales + 16 * half);
    __m256 m = _mm256_setzero_ps();
    if constexpr (P::kMinSign != 0) m = load_halves(scales + 32 + 16 * half);
    __m256 scale = d, minimum = m;
    for (int g = 0; g < 8; ++g) {
      if (P::kScales && g % (P::kSubBlock / 4) == 0) {
        const int j = (place + 4 * g) / P::kSubBlock;
        scale = _mm256_mul_ps(d, _mm256_cvtepi32_ps(sub_scale<P>(scales, j, half)));
        if constexpr (P::kScales && P::kMinSign != 0)
          minimum = _mm256_mul_ps(m, _mm256_cvtepi32_ps(sub_minimum<P>(scales, j, half)));
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i, target += 16) {
        __m256i code = _mm256_and_si256(_mm256_srli_epi32(quad[g], 8 * i), _mm256_set1_epi32(255));
        if constexpr (P::kOffset != 0) code = _mm256_sub_epi32(code, _mm256_set1_epi32(P::kOffset));
        __m256 value = _mm256_mul_ps(scale, _mm256_cvtepi32_ps(code));
        if constexpr (P::kMinSign > 0) value = _mm256_add_ps(value, minimum);
        if constexpr (P::kMinSign < 0) value = _mm256_sub_ps(value, minimum);
        _mm256_store_ps(target + 8 * half, value);
      }
    }
  }
  static const float* decode(const unsigned char* panel, std::int64_t columns, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* codes = panel + begin / 32 * P::kChunkBytes;
    const unsigned char* all_scales = panel + columns / P::kBlock * P::kCodeBytes;
    for (std::int64_t k = begin; k < begin + count; k += 32, codes += P::kChunkBytes)
      for (int half = 0; half < 2; ++half)
        half_chunk(codes, all_scales + k / P::kBlock * P::kScaleBytes, half, static_cast<int>(k % P::kBlock), tile + (k - begin) * 16);
    return tile;
  }
};

struct Half {
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  static const float* decode(const unsigned char* panel, std::int64_t, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t i = 0; i < 2 * count; ++i) _mm256_store_ps(tile + 8 * i, load_halves(p + 16 * i));
    return tile;
  }
};

struct Bfloat {
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  static const float* decode(const unsigned char* panel, std::int64_t, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t i = 0; i < 2 * count; ++i) {
      const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i)));
      _mm256_store_si256(reinterpret_cast<__m256i*>(tile + 8 * i), _mm256_slli_epi32(wide, 16));
    }
    return tile;
  }
};

struct Float {
  static std::int64_t panel_size(std::int64_t columns) { return columns * 64; }
  static const float* decode(const unsigned char* panel, std::int64_t, std::int64_t begin, std::int64_t, float*) {
    return reinterpret_cast<const float*>(panel) + begin * 16;  // already a tile
  }
};

// sums[t][p] += sum over k of tile[p][k] * x[t][k];  sums [kTokens][kPanels][16].
template <int kTokens, int kPanels>
[[gnu::noinline]] void multiply(const float* const (&tile)[kPanels], const float* x, std::int64_t x_stride, std::int64_t count,
                                float* sums) {
  constexpr int kVectors = 2 * kPanels;
  __m256 acc[kTokens][kVectors];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) acc[t][v] = _mm256_load_ps(sums + (t * kVectors + v) * 8);
  for (std::int64_t k = 0; k < count; ++k) {
    __m256 w[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) w[v] = _mm256_load_ps(tile[v / 2] + 16 * k + 8 * (v % 2));
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m256 value = _mm256_set1_ps(x[t * x_stride + k]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) acc[t][v] = _mm256_fmadd_ps(w[v], value, acc[t][v]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) _mm256_store_ps(sums + (t * kVectors + v) * 8, acc[t][v]);
}

template <class Source, int kPanels>
[[gnu::noinline]] void some_panels(const MatmulTask& task, std::int64_t panel) {
  auto* sums = reinterpret_cast<float*>(task.scratch);  // [tokens][kPanels][16]
  const std::int64_t tokens = task.token_end - task.token_begin;
  float* tiles = sums + kTaskTokens * 16 * kPanelsAtOnce;
  for (std::int64_t i = 0; i < tokens * kPanels * 16; ++i) sums[i] = 0;
  for (int p = 0; p < kPanels && task.accumulate; ++p)
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < 16 && (panel + p) * kPanelRows + i < task.rows; ++i)
        sums[(t * kPanels + p) * 16 + i] = task.y[(task.token_begin + t) * task.y_stride + (panel + p) * kPanelRows + i];
  const std::int64_t size = Source::panel_size(task.columns);
  for (std::int64_t k = 0; k < task.columns; k += kPieceColumns) {
    const std::int64_t count = task.columns - k < kPieceColumns ? task.columns - k : kPieceColumns;
    const float* tile[kPanels];
    for (int p = 0; p < kPanels; ++p)
      tile[p] = Source::decode(task.weights + (panel + p) * size, task.columns, k, count, tiles + p * 16 * kPieceColumns);
    const float* x = task.x + task.token_begin * task.x_stride + k;
    std::int64_t t = 0;
    if constexpr (kPanels == 1)
      for (; t + 4 <= tokens; t += 4) multiply<4, kPanels>(tile, x + t * task.x_stride, task.x_stride, count, sums + t * 16 * kPanels);
    for (; t < tokens; ++t) multiply<1, kPanels>(tile, x + t * task.x_stride, task.x_stride, count, sums + t * 16 * kPanels);
  }
  for (int p = 0; p < kPanels; ++p) {
    const std::int64_t row = (panel + p) * kPanelRows;
    const std::int64_t count = task.rows - row < 16 ? task.rows - row : 16;
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t i = 0; i < count; ++i)
        task.y[(task.token_begin + t) * task.y_stride + row + i] = sums[(t * kPanels + p) * 16 + i];
  }
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

}  // namespace quantfleet::avx2
