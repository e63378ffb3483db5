// Codes times codes for many tokens (cpu/prompt_panels.h), for the two integer products of aarch64: the including file has defined
// `multiply_quads`, which adds the products of some quads, eight rows by four tokens. Weights are signed here, codes less their offset, so
// that no correction is needed. All of it exact integers: numerics.md rules 1 and 2.
#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/panels.h"
#include "backends/kernels/cpu/prompt_panels.h"

namespace quantfleet::neon {
namespace {

using panel_formats::PromptGroup;

// A panel's piece. Only what a format has is filled in.
struct Operands {
  alignas(64) std::int8_t quads[kGroupColumns / 4][64];
  alignas(64) std::int32_t scales[16][16];  // of sub-blocks
  alignas(64) std::int16_t minima[16][16];
  alignas(64) float d[8][16];               // of blocks
  alignas(64) float m[8][16];
};

template <class P>
QF_INLINE void unpack_piece(const unsigned char* panel, std::int64_t begin, int columns, Operands& out) {
  for (int quarter = 0; quarter < 4; ++quarter) {
    for (int chunk = 0; chunk < columns / 32; ++chunk) {
      int8x16_t quad[8];
      unpack_values<P>(chunk_at<P>(panel, begin + 32 * chunk) + 16 * quarter, quad);
      for (int g = 0; g < 8; ++g) {
        if constexpr (P::kOffset != 0 && !is_signed<P>()) quad[g] = vsubq_s8(quad[g], vdupq_n_s8(P::kOffset));
        vst1q_s8(out.quads[8 * chunk + g] + 16 * quarter, quad[g]);
      }
    }
    const unsigned char* place = block_at<P>(panel, begin);
    for (int block = 0; block < columns / P::kBlock; ++block, place += P::kBlockBytes) {
      vst1q_f32(out.d[block] + 4 * quarter, load_d<P>(place, quarter));
      if constexpr (P::kMinSign != 0) vst1q_f32(out.m[block] + 4 * quarter, load_m(place, quarter));
      if constexpr (P::kScales)
        for (int j = 0; j < P::kSubs; ++j) {
          vst1q_s32(out.scales[j] + 4 * quarter, sub_scale<P>(place, j, quarter));
          if constexpr (P::kMinSign != 0) vst1_s16(out.minima[j] + 4 * quarter, vmovn_s32(sub_minimum<P>(place, j, quarter)));
        }
    }
  }
}

#define QF_FOR_SUMS _Pragma("GCC unroll 2") for (int h = 0; h < 2; ++h) _Pragma("GCC unroll 4") for (int t = 0; t < 4; ++t)

// Sums after the piece, for eight rows from `row` on and four tokens from `first` on.
template <class P>
[[gnu::noinline]] void multiply(const Operands& w, const PromptGroup& group, int row, int first) {
  const TokenGroup& x = *group.tokens;
  float* sums = group.sums + 16 * first + row;  // a token's sixteen rows, the next token's
  float32x4_t acc[2][4];
  QF_FOR_SUMS acc[h][t] = group.begin ? vdupq_n_f32(0) : vld1q_f32(sums + 16 * t + 4 * h);
#pragma GCC unroll 1
  for (int block = 0; block < group.columns / P::kBlock; ++block) {
    int32x4_t total[2][4];
    QF_FOR_SUMS total[h][t] = vdupq_n_s32(0);
    if constexpr (P::kScales) {
#pragma GCC unroll 1
      for (int j = 0; j < P::kSubs; ++j) {
        int32x4_t dot[2][4];
        QF_FOR_SUMS dot[h][t] = vdupq_n_s32(0);
        multiply_quads<P::kSubBlock / 4>(w.quads + j * P::kSubBlock / 4, row, x.codes + j * P::kSubBlock / 4, first, dot);
        const int32x4_t scale[2] = {vld1q_s32(w.scales[j] + row), vld1q_s32(w.scales[j] + row + 4)};
        QF_FOR_SUMS total[h][t] = vmlaq_s32(total[h][t], scale[h], dot[h][t]);
      }
    } else {
      multiply_quads<8>(w.quads + 8 * block, row, x.codes + 8 * block, first, total);
    }
    const float32x4_t d[2] = {vld1q_f32(w.d[block] + row), vld1q_f32(w.d[block] + row + 4)};
    QF_FOR_SUMS acc[h][t] = vfmaq_f32(acc[h][t], vmulq_n_f32(d[h], x.scales[block][first + t]), vcvtq_f32_s32(total[h][t]));
    if constexpr (P::kMinSign != 0) {
      const float32x4_t m[2] = {vld1q_f32(w.m[block] + row), vld1q_f32(w.m[block] + row + 4)};
      if constexpr (P::kMinSign > 0) {
        QF_FOR_SUMS acc[h][t] = vfmaq_f32(acc[h][t], vmulq_n_f32(m[h], x.scales[block][first + t]),
                                          vdupq_n_f32(static_cast<float>(x.sums[block / 2][first + t][block % 2])));
      } else {
        QF_FOR_SUMS total[h][t] = vdupq_n_s32(0);
#pragma GCC unroll 1
        for (int j = 0; j < P::kSubs; ++j) {
          const int16x4_t minimum[2] = {vld1_s16(w.minima[j] + row), vld1_s16(w.minima[j] + row + 4)};
          QF_FOR_SUMS total[h][t] = vmlal_n_s16(total[h][t], minimum[h], x.sums[j / 2][first + t][j % 2]);
        }
        QF_FOR_SUMS acc[h][t] = vfmsq_f32(acc[h][t], vmulq_n_f32(m[h], x.scales[block][first + t]), vcvtq_f32_s32(total[h][t]));
      }
    }
  }
  QF_FOR_SUMS vst1q_f32(sums + 16 * t + 4 * h, acc[h][t]);
}

template <class P>
QF_INLINE void multiply_group(const Operands& operands, const PromptGroup& group) {
  for (int first = 0; first < group.count_tokens; first += 4)
    for (int row = 0; row < kPanelRows; row += 8) multiply<P>(operands, group, row, first);
}

template <class P>
void prompt(const MatmulTask& task) {
  panel_formats::prompt_panels<P, Operands>(task, unpack_piece<P>, multiply_group<P>);
}

}  // namespace
}  // namespace quantfleet::neon
