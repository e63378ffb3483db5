// Codes times codes, for the two integer products of aarch64: the including file has defined `dot`, which adds the products of
// a quad, four rows by four columns, with four codes of a token. Four rows in the lanes, up to four tokens.
#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/panels.h"

namespace quantfleet::neon {
namespace {

struct Tokens {
  const std::int8_t* codes;
  const float* scales;
  const std::int16_t* sums;
  const std::int32_t* corrections;
  std::int64_t columns, blocks, subs;  // per token
};

// sum + products of quads begin .. begin + kCount - 1 with a token's codes of the same columns.
template <int kCount>
QF_INLINE int32x4_t dot_quads(int32x4_t sum, const int8x16_t* quad, const std::int8_t* codes) {
  static_assert(kCount == 4 || kCount == 8);
  Sum products = begin(sum);
#pragma GCC unroll 2
  for (int g = 0; g < kCount; g += 4) {
    const int8x16_t a = vld1q_s8(codes + 4 * g);
    dot<0>(products, quad[g], a);
    dot<1>(products, quad[g + 1], a);
    dot<2>(products, quad[g + 2], a);
    dot<3>(products, quad[g + 3], a);
  }
  return total(products);
}

template <class P, int kTokens>
QF_INLINE void simple_panel(const unsigned char* panel, int quarter, const Tokens& x, float32x4_t (&acc)[kTokens]) {
  constexpr bool kCorrect = P::kOffset != 0 && !is_signed<P>();
  for (std::int64_t block = 0; block < x.blocks; ++block, panel += P::kBlockBytes) {
    int8x16_t quad[8];
    unpack_values<P>(panel + P::kUnitBytes + 16 * quarter, quad);
    const float32x4_t d = load_d<P>(panel, quarter);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const int32x4_t first = vdupq_n_s32(kCorrect ? x.corrections[t * x.subs + block] : 0);
      const int32x4_t S = dot_quads<8>(first, quad, x.codes + t * x.columns + 32 * block);
      const float d_a = x.scales[t * x.blocks + block];
      acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(d, d_a), vcvtq_f32_s32(S));
      if constexpr (P::kMinSign > 0) {
        const float32x4_t M = vdupq_n_f32(static_cast<float>(x.sums[t * x.subs + block]));
        acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(load_m(panel, quarter), d_a), M);
      }
    }
  }
}

template <class P, int kTokens>
QF_INLINE void super_panel(const unsigned char* panel, int quarter, const Tokens& x, float32x4_t (&acc)[kTokens]) {
  constexpr int kQuadsPerSub = P::kSubBlock / 4;
  constexpr bool kCorrect = P::kOffset != 0 && !is_signed<P>();
  for (std::int64_t block = 0; block < x.blocks; ++block, panel += P::kBlockBytes) {
    const unsigned char* codes = panel + P::kUnitBytes + 16 * quarter;
    int32x4_t S[kTokens];
    for (int t = 0; t < kTokens; ++t) S[t] = vdupq_n_s32(0);
    for (int chunk = 0; chunk < 8; ++chunk, codes += P::kChunkBytes) {
      int8x16_t quad[8];
      unpack_values<P>(codes, quad);
#pragma GCC unroll 2
      for (int sub = 0; sub < P::kSubsPerChunk; ++sub) {
        const int j = chunk * P::kSubsPerChunk + sub;
        const int32x4_t scale = sub_scale<P>(panel, j, quarter);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          const int32x4_t first = vdupq_n_s32(kCorrect ? x.corrections[t * x.subs + block * P::kSubs + j] : 0);
          const int32x4_t sum = dot_quads<kQuadsPerSub>(first, quad + sub * kQuadsPerSub,
                                                        x.codes + t * x.columns + 256 * block + 32 * chunk + 16 * sub);
          S[t] = vmlaq_s32(S[t], scale, sum);
        }
      }
    }
    const float32x4_t d = load_d<P>(panel, quarter);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
      acc[t] = vfmaq_f32(acc[t], vmulq_n_f32(d, x.scales[t * x.blocks + block]), vcvtq_f32_s32(S[t]));
    if constexpr (P::kMinSign != 0) {
      int32x4_t M[kTokens];
      for (int t = 0; t < kTokens; ++t) M[t] = vdupq_n_s32(0);
      for (int j = 0; j < P::kSubs; ++j) {
        const int32x4_t minimum = sub_minimum<P>(panel, j, quarter);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) M[t] = vmlaq_n_s32(M[t], minimum, x.sums[t * x.subs + block * P::kSubs + j]);
      }
      const float32x4_t m = load_m(panel, quarter);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
        acc[t] = vfmsq_f32(acc[t], vmulq_n_f32(m, x.scales[t * x.blocks + block]), vcvtq_f32_s32(M[t]));
    }
  }
}

template <class P, int kTokens>
[[gnu::noinline]] void tile(const MatmulTask& task, const unsigned char* panel, std::int64_t token, std::int64_t row) {
  Tokens x;
  x.columns = task.columns;
  x.blocks = task.columns / P::kBlock;
  x.subs = task.columns / P::kSubBlock;
  x.codes = task.codes + token * x.columns;
  x.scales = task.scales + token * x.blocks;
  x.sums = task.sums + token * x.subs;
  x.corrections = task.corrections + token * x.subs;
  for (int quarter = 0; quarter < 4 && row + 4 * quarter < task.rows; ++quarter) {
    float32x4_t acc[kTokens];
    for (int t = 0; t < kTokens; ++t) acc[t] = vdupq_n_f32(0);
    if constexpr (P::kScales) super_panel<P, kTokens>(panel, quarter, x, acc);
    else simple_panel<P, kTokens>(panel, quarter, x, acc);
    const std::int64_t count = task.rows - row - 4 * quarter;
    for (int t = 0; t < kTokens; ++t) {
      float* y = task.y + (token + t) * task.y_stride + row + 4 * quarter;
      if (count >= 4) {
        vst1q_f32(y, acc[t]);
      } else {
        float lanes[4];
        vst1q_f32(lanes, acc[t]);
        for (int i = 0; i < count; ++i) y[i] = lanes[i];
      }
    }
  }
}

template <class P>
void all_panels(const MatmulTask& task) {
  const std::int64_t size = panel_size<P>(task.columns);
  for (std::int64_t panel = task.panel_begin; panel < task.panel_end; ++panel) {
    const unsigned char* weights = task.weights + panel * size;
    const std::int64_t row = panel * kPanelRows;
    std::int64_t t = task.token_begin;
    for (; t + 4 <= task.token_end; t += 4) tile<P, 4>(task, weights, t, row);
    for (; t < task.token_end; ++t) tile<P, 1>(task, weights, t, row);
  }
}

}  // namespace
}  // namespace quantfleet::neon
