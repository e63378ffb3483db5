// Dequantized weight times F32 activation; each output is one fma chain over ascending k. Many tokens: a piece of a panel becomes
// floats [k][16] in the first-level cache, and groups of eight tokens stream past it, which hides the chain's latency. Few: four
// panels run side by side; quantized ones become such pieces, plain ones go from memory to registers.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/panels.h"

namespace quantfleet::avx512 {
namespace {

constexpr int kFewColumns = 64;  // of a piece when tokens are few; or a block
constexpr int kPanelsAtOnce = 4;

// Floats of columns [begin, begin + count) of a panel into tile [count][16]; begin and count are whole blocks or chunks.
template <class P>
struct Quantized {
  static constexpr int kStep = P::kBlock;
  static std::int64_t panel_size(std::int64_t columns) { return panel_formats::panel_size<P>(columns); }
  // Of a panel's block, and of the sub-block that is read.
  struct Scales {
    __m512 d, m, scale, minimum;
  };
  QF_INLINE void read(const unsigned char* panel, std::int64_t k, __m512i (&quad)[8], Scales& of) {
    const unsigned char* block = block_at<P>(panel, k);
    of.scale = of.d = load_d<P>(block);
    if constexpr (P::kMinSign != 0) of.minimum = of.m = load_m(block);
    unpack_values<P>(chunk_at<P>(panel, k), quad);
  }
  // Calls body(i, value) for the values of columns k + 4 g + i; first for g = 0, as scales change.
  template <class Body>
  QF_INLINE void values(__m512i quad, const unsigned char* block, std::int64_t k, int g, Scales& of, Body body) {
    if (P::kScales && g % (P::kSubBlock / 4) == 0) {
      const int j = static_cast<int>(k % P::kBlock + 4 * g) / P::kSubBlock;
      of.scale = _mm512_mul_ps(of.d, _mm512_cvtepi32_ps(sub_scale<P>(block, j)));
      if constexpr (P::kScales && P::kMinSign != 0) of.minimum = _mm512_mul_ps(of.m, _mm512_cvtepi32_ps(sub_minimum<P>(block, j)));
    }
    const __m512i upper = _mm512_srli_epi32(quad, 16);
    const __m512 numbers[4] = {number_at<0>(quad, P::kOffset), number_at<8>(quad, P::kOffset), number_at<0>(upper, P::kOffset), number_at<8>(upper, P::kOffset)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      __m512 value = _mm512_mul_ps(of.scale, numbers[i]);
      if constexpr (P::kMinSign > 0) value = _mm512_add_ps(value, of.minimum);
      if constexpr (P::kMinSign < 0) value = _mm512_sub_ps(value, of.minimum);
      body(i, value);
    }
  }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    float* target = tile;
    for (std::int64_t k = begin; k < begin + count; k += 32) {
      __m512i quad[8];
      Scales of;
      read(panel, k, quad, of);
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g, target += 64)
        values(quad[g], block_at<P>(panel, k), k, g, of, [target](int i, __m512 value) __attribute__((always_inline)) { _mm512_store_ps(target + 16 * i, value); });
    }
    return tile;
  }
  // 32 columns of panels, `size` bytes apart, into their chains. A chain waits for each of its sums, so they take turns.
  template <int kPanels>
  QF_INLINE void chain(const unsigned char* panels, std::int64_t size, std::int64_t k, const float* x, __m512 (&acc)[kPanels]) {
    __m512i quad[kPanels][8];
    Scales of[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) read(panels + p * size, k, quad[p], of[p]);
    for (int g = 0; g < 8; ++g)
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p)
        values(quad[p][g], block_at<P>(panels + p * size, k), k, g, of[p],
               [&](int i, __m512 value) __attribute__((always_inline)) { acc[p] = _mm512_fmadd_ps(value, _mm512_set1_ps(x[4 * g + i]), acc[p]); });
  }
};

struct Half {
  static constexpr int kStep = 1, kBytes = 32;
  QF_INLINE __m512 load(const unsigned char* p) { return load_halves(p); }
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t k = 0; k < count; ++k, p += 32) _mm512_store_ps(tile + 16 * k, load_halves(p));
    return tile;
  }
};

struct Bfloat {
  static constexpr int kStep = 1, kBytes = 32;
  QF_INLINE __m512 load(const unsigned char* p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
  }
  static std::int64_t panel_size(std::int64_t columns) { return (columns * 32 + 63) / 64 * 64; }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * 32;
    for (std::int64_t k = 0; k < count; ++k, p += 32) _mm512_store_ps(tile + 16 * k, load(p));
    return tile;
  }
};

struct Float {
  static constexpr int kStep = 1, kBytes = 64;
  QF_INLINE __m512 load(const unsigned char* p) { return _mm512_loadu_ps(p); }
  static std::int64_t panel_size(std::int64_t columns) { return columns * 64; }
  QF_INLINE const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t, float*) {
    return reinterpret_cast<const float*>(panel) + begin * 16;  // already a tile
  }
};

QF_INLINE __mmask16 rows_of(const MatmulTask& task, std::int64_t row) {
  return task.rows - row >= 16 ? 0xffff : static_cast<__mmask16>((1u << (task.rows - row)) - 1);
}

QF_INLINE __m512 sums_before(const MatmulTask& task, std::int64_t token, std::int64_t panel) {
  return task.accumulate ? _mm512_maskz_loadu_ps(rows_of(task, panel * kPanelRows), task.y + token * task.y_stride + panel * kPanelRows) : _mm512_setzero_ps();
}

// ---- more than eight tokens ---------------------------------------------------------------------------------------------------

// Sums after a piece's `count` columns of one panel, for the first kTokens of a group.  before [kGroupTokens][16]; null: zeros
template <int kTokens>
[[gnu::noinline]] void multiply_group(const float* tile, const FloatTokenGroup& x, std::int64_t count, const float* before, float* after,
                                      std::int64_t stride, std::int64_t tokens, __mmask16 rows) {
  __m512 acc[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) acc[t] = before ? _mm512_load_ps(before + 16 * t) : _mm512_setzero_ps();
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < count; ++k) {
    const __m512 w = _mm512_load_ps(tile + 16 * k);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) acc[t] = _mm512_fmadd_ps(w, _mm512_set1_ps(x.x[k][t]), acc[t]);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
    if (t < tokens) _mm512_mask_storeu_ps(after + t * stride, rows, acc[t]);
}

// Panels [panel, panel + panels), at most kPanelsAtOnce, which read the same piece of the activations while it is near.
template <class Source>
[[gnu::noinline]] void panels_of_groups(const MatmulTask& task, std::int64_t panel, int panels) {
  auto* tiles = reinterpret_cast<float*>(task.scratch);
  float* sums = tiles + 256 * 16;  // [groups][panels][kGroupTokens][16]
  const std::int64_t first = task.token_begin / kGroupTokens, groups = (task.token_end + kGroupTokens - 1) / kGroupTokens - first;
  const std::int64_t size = Source::panel_size(task.columns);
  constexpr std::int64_t kDecoded = Source::kStep > kFloatGroupColumns ? Source::kStep : kFloatGroupColumns;
  for (std::int64_t begin = 0; begin < task.columns; begin += kDecoded) {
    const std::int64_t decoded = task.columns - begin < kDecoded ? task.columns - begin : kDecoded;
    for (int p = 0; p < panels; ++p) {
      const float* tile = Source::decode(task.weights + (panel + p) * size, begin, decoded, tiles);
      const std::int64_t row = (panel + p) * kPanelRows;
      const __mmask16 rows = rows_of(task, row);
      for (std::int64_t k = begin; k < begin + decoded; k += kFloatGroupColumns) {
        const std::int64_t count = begin + decoded - k < kFloatGroupColumns ? begin + decoded - k : kFloatGroupColumns;
        const FloatTokenGroup* piece = task.float_groups + k / kFloatGroupColumns * task.count_groups + first;
        const bool last = k + count == task.columns;
        for (std::int64_t group = 0; group < groups; ++group) {
          const std::int64_t token = (first + group) * kGroupTokens;
          const std::int64_t tokens = task.token_end - token < kGroupTokens ? task.token_end - token : kGroupTokens;
          float* between = sums + (group * panels + p) * kGroupTokens * 16;
          float* after = last ? task.y + token * task.y_stride + row : between;
          const std::int64_t stride = last ? task.y_stride : 16, stored = last ? tokens : kGroupTokens;
          if (k == 0 && task.accumulate)
            for (std::int64_t t = 0; t < tokens; ++t) _mm512_store_ps(between + 16 * t, _mm512_maskz_loadu_ps(rows, task.y + (token + t) * task.y_stride + row));
          const float* before = k > 0 || task.accumulate ? between : nullptr;
          const __mmask16 lanes = last ? rows : static_cast<__mmask16>(0xffff);
          const float* place = tile + (k - begin) * 16;
          if (tokens <= kGroupTokens / 2) multiply_group<kGroupTokens / 2>(place, piece[group], count, before, after, stride, stored, lanes);
          else multiply_group<kGroupTokens>(place, piece[group], count, before, after, stride, stored, lanes);
        }
      }
    }
  }
}

// ---- few tokens ---------------------------------------------------------------------------------------------------------------

// acc[t][p] += sum over k of tile[p][k] * x[t][k].
template <int kTokens, int kPanels>
[[gnu::noinline]] void multiply_few(const float* const (&tile)[kPanels], const float* x, std::int64_t x_stride, std::int64_t count,
                                    float* sums) {  // [kTokens][kPanels][16]
  __m512 acc[kTokens][kPanels];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[t][p] = _mm512_load_ps(sums + 16 * (t * kPanels + p));
#pragma GCC unroll 2
  for (std::int64_t k = 0; k < count; ++k) {
    __m512 w[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) w[p] = _mm512_load_ps(tile[p] + 16 * k);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m512 value = _mm512_set1_ps(x[t * x_stride + k]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) acc[t][p] = _mm512_fmadd_ps(w[p], value, acc[t][p]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) _mm512_store_ps(sums + 16 * (t * kPanels + p), acc[t][p]);
}

template <class Source, int kPanels>
[[gnu::noinline]] void decoded_panels(const MatmulTask& task, std::int64_t panel) {
  auto* sums = reinterpret_cast<float*>(task.scratch);  // [tokens][kPanels][16]
  const std::int64_t tokens = task.token_end - task.token_begin, size = Source::panel_size(task.columns);
  float* tiles = sums + kTaskTokens * 16 * kPanelsAtOnce;
  for (int p = 0; p < kPanels; ++p)
    for (std::int64_t t = 0; t < tokens; ++t)
      _mm512_store_ps(sums + (t * kPanels + p) * 16, sums_before(task, task.token_begin + t, panel + p));
  constexpr int kPiece = Source::kStep > kFewColumns ? Source::kStep : kFewColumns;
  for (std::int64_t k = 0; k < task.columns; k += kPiece) {
    const std::int64_t count = task.columns - k < kPiece ? task.columns - k : kPiece;
    const float* tile[kPanels];
    for (int p = 0; p < kPanels; ++p)
      tile[p] = Source::decode(task.weights + (panel + p) * size, k, count, tiles + p * 16 * kPiece);
    const float* x = task.x + task.token_begin * task.x_stride + k;
    std::int64_t t = 0;
    for (; t + 4 <= tokens; t += 4) multiply_few<4, kPanels>(tile, x + t * task.x_stride, task.x_stride, count, sums + t * 16 * kPanels);
    if (t + 2 <= tokens) multiply_few<2, kPanels>(tile, x + t * task.x_stride, task.x_stride, count, sums + t * 16 * kPanels), t += 2;
    if (t < tokens) multiply_few<1, kPanels>(tile, x + t * task.x_stride, task.x_stride, count, sums + t * 16 * kPanels);
  }
  for (int p = 0; p < kPanels; ++p)
    for (std::int64_t t = 0; t < tokens; ++t)
      _mm512_mask_storeu_ps(task.y + (task.token_begin + t) * task.y_stride + (panel + p) * kPanelRows, rows_of(task, (panel + p) * kPanelRows),
                            _mm512_load_ps(sums + (t * kPanels + p) * 16));
}

// Plain types, from memory: kPanels streams, which the processor's prefetchers follow.
template <class Source, int kTokens, int kPanels>
[[gnu::noinline]] void plain_panels(const MatmulTask& task, std::int64_t panel, std::int64_t token) {
  const std::int64_t size = Source::panel_size(task.columns);
  const unsigned char* w = task.weights + panel * size;
  const float* x = task.x + token * task.x_stride;
  __m512 acc[kTokens][kPanels];
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) acc[t][p] = sums_before(task, token + t, panel + p);
  for (std::int64_t k = 0; k < task.columns; k += 2) {
    const int columns = task.columns - k < 2 ? 1 : 2;
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      if (i >= columns) break;
      __m512 values[kPanels];
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) values[p] = Source::load(w + p * size + (k + i) * Source::kBytes);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
        for (int p = 0; p < kPanels; ++p) acc[t][p] = _mm512_fmadd_ps(values[p], _mm512_set1_ps(x[t * task.x_stride + k + i]), acc[t][p]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p)
      _mm512_mask_storeu_ps(task.y + (token + t) * task.y_stride + (panel + p) * kPanelRows, rows_of(task, (panel + p) * kPanelRows), acc[t][p]);
}

// One token: values go into the chains as they are decoded.
template <class Source, int kPanels>
[[gnu::noinline]] void one_token(const MatmulTask& task, std::int64_t panel) {
  const std::int64_t size = Source::panel_size(task.columns);
  const unsigned char* weights = task.weights + panel * size;
  const float* x = task.x + task.token_begin * task.x_stride;
  __m512 acc[kPanels];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) acc[p] = sums_before(task, task.token_begin, panel + p);
  for (std::int64_t k = 0; k < task.columns; k += 32) {
    Source::chain(weights, size, k, x + k, acc);
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p)
    _mm512_mask_storeu_ps(task.y + task.token_begin * task.y_stride + (panel + p) * kPanelRows, rows_of(task, (panel + p) * kPanelRows), acc[p]);
}

template <class Source, int kPanels>
QF_INLINE void few_tokens(const MatmulTask& task, std::int64_t panel) {
  if constexpr (Source::kStep == 1) {
    std::int64_t t = task.token_begin;
    for (; t + 4 <= task.token_end; t += 4) plain_panels<Source, 4, kPanels>(task, panel, t);
    if (t + 2 <= task.token_end) plain_panels<Source, 2, kPanels>(task, panel, t), t += 2;
    if (t < task.token_end) plain_panels<Source, 1, kPanels>(task, panel, t);
  } else {
    if (task.token_end - task.token_begin == 1) return one_token<Source, kPanels>(task, panel);
    decoded_panels<Source, kPanels>(task, panel);
  }
}

template <class Source>
[[gnu::always_inline]] static inline void all_panels(const MatmulTask& task) {
  std::int64_t panel = task.panel_begin;
  if (task.float_groups) {
    for (; panel < task.panel_end; panel += kPanelsAtOnce)
      panels_of_groups<Source>(task, panel, static_cast<int>(task.panel_end - panel < kPanelsAtOnce ? task.panel_end - panel : kPanelsAtOnce));
    return;
  }
  for (; panel + kPanelsAtOnce <= task.panel_end; panel += kPanelsAtOnce) few_tokens<Source, kPanelsAtOnce>(task, panel);
  for (; panel < task.panel_end; ++panel) few_tokens<Source, 1>(task, panel);
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
