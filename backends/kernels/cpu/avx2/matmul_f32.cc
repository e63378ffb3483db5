// Dequantized weight times F32 activation. A piece of a panel becomes floats [k][16] in the first-level cache; each output
// is one fma chain over ascending k. With few tokens, two panels run side by side to hide the chain's latency; with one, values go into
// the chains as they are decoded.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/panels.h"
#include "backends/kernels/cpu/float_panels.h"

namespace quantfleet::avx2 {
namespace {

constexpr int kPanelsAtOnce = panel_formats::kTilePanels;

template <class P>
struct Quantized {
  static constexpr int kStep = 32;  // columns of a chunk
  static std::int64_t panel_size(std::int64_t columns) { return panel_formats::panel_size<P>(columns); }
  // Of eight rows: of their block, and of the sub-block that is read.
  struct Scales {
    __m256 d, m, scale, minimum;
  };
  QF_INLINE void read(const unsigned char* panel, std::int64_t k, int half, __m256i (&quad)[8], Scales& of) {
    const unsigned char* block = block_at<P>(panel, k);
    of.scale = of.d = load_d<P>(block, half);
    if constexpr (P::kMinSign != 0) of.minimum = of.m = load_m(block, half);
    unpack_values<P>(chunk_at<P>(panel, k) + 32 * half, quad);
  }
  // Calls body(i, value) for the values of columns k + 4 g + i; first for g = 0, as scales change.
  template <class Body>
  QF_INLINE void values(const __m256i (&quad)[8], const unsigned char* block, std::int64_t k, int g, int half, Scales& of, Body body) {
    if (P::kScales && g % (P::kSubBlock / 4) == 0) {
      const int j = static_cast<int>(k % P::kBlock + 4 * g) / P::kSubBlock;
      of.scale = _mm256_mul_ps(of.d, _mm256_cvtepi32_ps(sub_scale<P>(block, j, half)));
      if constexpr (P::kScales && P::kMinSign != 0) of.minimum = _mm256_mul_ps(of.m, _mm256_cvtepi32_ps(sub_minimum<P>(block, j, half)));
    }
    const __m256i upper = _mm256_srli_epi32(quad[g], 16);
    const __m256 numbers[4] = {number_at<0>(quad[g], P::kOffset), number_at<8>(quad[g], P::kOffset), number_at<0>(upper, P::kOffset), number_at<8>(upper, P::kOffset)};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      __m256 value = _mm256_mul_ps(of.scale, numbers[i]);
      if constexpr (P::kMinSign > 0) value = _mm256_add_ps(value, of.minimum);
      if constexpr (P::kMinSign < 0) value = _mm256_sub_ps(value, of.minimum);
      body(i, value);
    }
  }
  static const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    for (std::int64_t k = begin; k < begin + count; k += 32)
      for (int half = 0; half < 2; ++half) {
        __m256i quad[8];
        Scales of;
        read(panel, k, half, quad, of);
        float* target = tile + (k - begin) * 16 + 8 * half;
        for (int g = 0; g < 8; ++g, target += 64)
          values(quad, block_at<P>(panel, k), k, g, half, of, [target](int i, __m256 value) __attribute__((always_inline)) { _mm256_store_ps(target + 16 * i, value); });
      }
    return tile;
  }
  // A chunk of kPanels panels into chains of their halves. A chain waits for each of its sums, so they take turns.
  template <int kHalves>
  QF_INLINE void chain(const unsigned char* panels, std::int64_t size, std::int64_t k, const float* x, __m256 (&acc)[kHalves]) {
    __m256i quad[kHalves][8];
    Scales of[kHalves];
#pragma GCC unroll 4
    for (int h = 0; h < kHalves; ++h) read(panels + h / 2 * size, k, h % 2, quad[h], of[h]);
    for (int g = 0; g < 8; ++g)
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h)
        values(quad[h], block_at<P>(panels + h / 2 * size, k), k, g, h % 2, of[h],
               [&](int i, __m256 value) __attribute__((always_inline)) { acc[h] = _mm256_fmadd_ps(value, _mm256_set1_ps(x[4 * g + i]), acc[h]); });
  }
};

// Types whose values lie as they are: a column of sixteen rows after the other.
template <class Load, int kColumnBytes>
struct Plain {
  static constexpr int kStep = 1, kBytes = kColumnBytes;
  static std::int64_t panel_size(std::int64_t columns) { return (columns * kBytes + 63) / 64 * 64; }
  template <int kHalves>
  QF_INLINE void chain(const unsigned char* panels, std::int64_t size, std::int64_t k, const float* x, __m256 (&acc)[kHalves]) {
#pragma GCC unroll 4
    for (int h = 0; h < kHalves; ++h) acc[h] = _mm256_fmadd_ps(Load::load(panels + h / 2 * size + k * kBytes + kBytes / 2 * (h % 2)), _mm256_set1_ps(*x), acc[h]);
  }
  static const float* decode(const unsigned char* panel, std::int64_t begin, std::int64_t count, float* tile) {
    const unsigned char* p = panel + begin * kBytes;
    if constexpr (kBytes == 64) return reinterpret_cast<const float*>(p);  // already a tile
    for (std::int64_t i = 0; i < 2 * count; ++i) _mm256_store_ps(tile + 8 * i, Load::load(p + kBytes / 2 * i));
    return tile;
  }
};

struct Halves {
  QF_INLINE __m256 load(const unsigned char* p) { return load_halves(p); }
};
struct Bfloats {
  QF_INLINE __m256 load(const unsigned char* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
  }
};
struct Floats {
  QF_INLINE __m256 load(const unsigned char* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
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
  panel_formats::tile_panels<Source, kPanels>(task, panel, [&]<int kTokens>(const float* const (&tile)[kPanels], const float* x, std::int64_t count, float* sums) {
    multiply<kTokens, kPanels>(tile, x, task.x_stride, count, sums);
  });
}

// One token: values go into the chains as they are decoded.
template <class Source, int kPanels>
[[gnu::noinline]] void one_token(const MatmulTask& task, std::int64_t panel) {
  const std::int64_t size = Source::panel_size(task.columns);
  const unsigned char* weights = task.weights + panel * size;
  const float* x = task.x + task.token_begin * task.x_stride;
  float* y = task.y + task.token_begin * task.y_stride + panel * kPanelRows;
  const std::int64_t rows = task.rows - panel * kPanelRows < kPanels * kPanelRows ? task.rows - panel * kPanelRows : kPanels * kPanelRows;
  alignas(32) float lanes[kPanels * kPanelRows] = {};
  for (std::int64_t r = 0; r < rows && task.accumulate; ++r) lanes[r] = y[r];
  __m256 acc[2 * kPanels];
#pragma GCC unroll 4
  for (int h = 0; h < 2 * kPanels; ++h) acc[h] = _mm256_load_ps(lanes + 8 * h);
  for (std::int64_t k = 0; k < task.columns; k += Source::kStep) {
    Source::chain(weights, size, k, x + k, acc);
  }
#pragma GCC unroll 4
  for (int h = 0; h < 2 * kPanels; ++h) _mm256_store_ps(lanes + 8 * h, acc[h]);
  for (std::int64_t r = 0; r < rows; ++r) y[r] = lanes[r];
}

template <class Source>
void all_panels(const MatmulTask& task) {
  std::int64_t panel = task.panel_begin;
  if (task.token_end - task.token_begin == 1) {
    for (; panel + kPanelsAtOnce <= task.panel_end; panel += kPanelsAtOnce) one_token<Source, kPanelsAtOnce>(task, panel);
    for (; panel < task.panel_end; ++panel) one_token<Source, 1>(task, panel);
    return;
  }
  if (task.token_end - task.token_begin < 4)
    for (; panel + kPanelsAtOnce <= task.panel_end; panel += kPanelsAtOnce) some_panels<Source, kPanelsAtOnce>(task, panel);
  for (; panel < task.panel_end; ++panel) some_panels<Source, 1>(task, panel);
}

}  // namespace

void matmul_f32(const MatmulTask& task) {
  if (for_panel(task.ggml_type, [&task](auto panel) { all_panels<Quantized<decltype(panel)>>(task); })) return;
  switch (task.ggml_type) {
    case 0: return all_panels<Plain<Floats, 64>>(task);
    case 1: return all_panels<Plain<Halves, 32>>(task);
    case 30: return all_panels<Plain<Bfloats, 32>>(task);
    default: return;
  }
}

}  // namespace quantfleet::avx2
