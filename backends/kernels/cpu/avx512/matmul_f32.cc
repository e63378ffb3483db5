// Dequantized weight times F32 activation. A piece of a panel becomes floats [k][16] in the first-level cache; each output
// is one fma chain over ascending k. Many tokens hide the chain's latency; with few, four panels run side by side.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/panels.h"

namespace quantfleet::avx512 {
namespace {

constexpr int kPrefetchBytes = 6144;
constexpr int kPieceColumns = 256;
constexpr int kPanelsAtOnce = 4;

// Floats of columns [begin, begin + count) of a panel into tile [count][16]; begin and count are whole blocks or chunks.
template <class P>
struct Quantized {
  static constexpr int kStep = P::kBlock;
  static std::int64_t panel_size(std::int64_t columns) {
    return (columns / P::kBlock * (P::kCodeBytes + P::kScaleBytes) + 63) / 64 * 64;
  }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t columns, std::int64_t begin, std::int64_t count,
                             float* tile) {
    const unsigned char* codes = panel + begin / 32 * P::kChunkBytes;
    const unsigned char* all_scales = panel + columns / P::kBlock * P::kCodeBytes;
    float* target = tile;
    for (std::int64_t k = begin; k < begin + count; k += 32, codes += P::kChunkBytes) {
      for (int line = 0; line < P::kChunkBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(codes + kPrefetchBytes + line), _MM_HINT_T0);
      const unsigned char* scales = all_scales + k / P::kBlock * P::kScaleBytes;
      __m512i quad[8];
      unpack_values<P>(codes, quad);
      const __m512 d = load_d<P>(scales);
      __m512 m = _mm512_setzero_ps();
      if constexpr (P::kMinSign != 0) m = load_halves(scales + 32);
      __m512 scale = d, minimum = m;
      for (int g = 0; g < 8; ++g) {
        if (P::kScales && g % (P::kSubBlock / 4) == 0) {
          const int j = static_cast<int>(k % P::kBlock + 4 * g) / P::kSubBlock;
          scale = _mm512_mul_ps(d, _mm512_cvtepi32_ps(sub_scale<P>(scales, j)));
          if constexpr (P::kScales && P::kMinSign != 0) minimum = _mm512_mul_ps(m, _mm512_cvtepi32_ps(sub_minimum<P>(scales, j)));
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i, target += 16) {
          __m512i code = i == 3 ? _mm512_srli_epi32(quad[g], 24)
                                : _mm512_and_si512(_mm512_srli_epi32(quad[g], 8 * static_cast<unsigned>(i)), _mm512_set1_epi32(255));
          if constexpr (P::kOffset != 0) code = _mm512_sub_epi32(code, _mm512_set1_epi32(P::kOffset));
          __m512 value = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(code));
          if constexpr (P::kMinSign > 0) value = _mm512_add_ps(value, minimum);
          if constexpr (P::kMinSign < 0) value = _mm512_sub_ps(value, minimum);
          _mm512_store_ps(target, value);
        }
      }
    }
    return tile;
  }
};

struct Half {
  static constexpr int kStep = 1;
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t k = 0; k < count; ++k, p += 32) {
      if (k % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBytes), _MM_HINT_T0);
      _mm512_store_ps(tile + 16 * k, load_halves(p));
    }
    return tile;
  }
};

struct Bfloat {
  static constexpr int kStep = 1;
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t k = 0; k < count; ++k, p += 32) {
      if (k % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBytes), _MM_HINT_T0);
      const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
      _mm512_store_si512(tile + 16 * k, _mm512_slli_epi32(wide, 16));
    }
    return tile;
  }
};

struct Float {
  static constexpr int kStep = 1;
  static std::int64_t panel_size(std::int64_t columns) { return columns * 64; }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t, std::int64_t begin, std::int64_t, float*) {
    return reinterpret_cast<const float*>(panel) + begin * 16;  // already a tile
  }
};

// acc[t][p] += sum over k of tile[p][k] * x[t][k].  acc: [kTokens][kPanels][16] floats in memory.
template <int kTokens, int kPanels>
QF_INLINE void multiply(const float* const (&tile)[kPanels], const float* x, std::int64_t x_stride, std::int64_t count,
                        float* const (&sums)[kTokens]) {
  __m512 acc[kTokens][kPanels];
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[t][p] = _mm512_load_ps(sums[t] + 16 * p);
  for (std::int64_t k = 0; k < count; ++k) {
    __m512 w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      w[p] = _mm512_load_ps(tile[p] + 16 * k);
      if constexpr (kPanels > 1) _mm_prefetch(reinterpret_cast<const char*>(tile[p] + 16 * k) + 4096, _MM_HINT_T0);
    }
#pragma GCC unroll 12
    for (int t = 0; t < kTokens; ++t) {
      const __m512 value = _mm512_set1_ps(x[t * x_stride + k]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[t][p] = _mm512_fmadd_ps(w[p], value, acc[t][p]);
    }
  }
#pragma GCC unroll 12
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) _mm512_store_ps(sums[t] + 16 * p, acc[t][p]);
}

template <int kTokens, int kPanels>
[[gnu::noinline]] void multiply_tokens(const float* const (&tile)[kPanels], const float* x, std::int64_t x_stride,
                                       std::int64_t count, float* sums) {
  float* places[kTokens];
  for (int t = 0; t < kTokens; ++t) places[t] = sums + 16 * kPanels * t;
  multiply<kTokens, kPanels>(tile, x, x_stride, count, places);
}

template <int n>
struct Count {
  static constexpr int kCount = n;
};

template <int kPanels>
[[gnu::always_inline]] static inline void multiply_all(const float* const (&tile)[kPanels], const MatmulTask& task,
                                                       std::int64_t k, std::int64_t count, float* sums) {
  const float* x = task.x + k;
  std::int64_t t = task.token_begin;
  const auto some = [&](auto tokens) {
    constexpr int kTokens = decltype(tokens)::kCount;
    multiply_tokens<kTokens, kPanels>(tile, x + t * task.x_stride, task.x_stride, count,
                                      sums + (t - task.token_begin) * 16 * kPanels);
    t += kTokens;
  };
  if constexpr (kPanels == 1) {
    while (t + 12 <= task.token_end) some(Count<12>{});
  }
  while (t + 4 <= task.token_end) some(Count<4>{});
  if (t + 2 <= task.token_end) some(Count<2>{});
  if (t < task.token_end) some(Count<1>{});
}

template <class Source, int kPanels>
[[gnu::noinline]] void some_panels(const MatmulTask& task, std::int64_t panel) {
  auto* sums = reinterpret_cast<float*>(task.scratch);  // [tokens][kPanels][16]
  const std::int64_t tokens = task.token_end - task.token_begin;
  float* tiles = sums + kTaskTokens * 16 * kPanelsAtOnce;
  for (std::int64_t i = 0; i < tokens * kPanels; ++i) _mm512_store_ps(sums + 16 * i, _mm512_setzero_ps());
  const std::int64_t size = Source::panel_size(task.columns);
  constexpr int kPiece = kPanels == 1 ? kPieceColumns : Source::kStep > 64 ? 256 : 64;
  for (std::int64_t k = 0; k < task.columns; k += kPiece) {
    const std::int64_t count = task.columns - k < kPiece ? task.columns - k : kPiece;
    const float* tile[kPanels];
    for (int p = 0; p < kPanels; ++p)
      tile[p] = Source::decode(task.weights + (panel + p) * size, task.columns, k, count, tiles + p * 16 * kPiece);
    multiply_all<kPanels>(tile, task, k, count, sums);
  }
  for (int p = 0; p < kPanels; ++p) {
    const std::int64_t row = (panel + p) * kPanelRows;
    const __mmask16 rows = task.rows - row >= 16 ? 0xffff : static_cast<__mmask16>((1u << (task.rows - row)) - 1);
    for (std::int64_t t = 0; t < tokens; ++t)
      _mm512_mask_storeu_ps(task.y + (task.token_begin + t) * task.y_stride + row, rows,
                            _mm512_load_ps(sums + (t * kPanels + p) * 16));
  }
}

template <class Source>
[[gnu::always_inline]] static inline void all_panels(const MatmulTask& task) {
  std::int64_t panel = task.panel_begin;
  if (task.token_end - task.token_begin < 8)
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

}  // namespace quantfleet::avx512
