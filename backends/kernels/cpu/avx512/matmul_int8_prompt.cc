// Codes times codes by VPDPBUSD for many tokens (cpu/prompt_panels.h): eight of them at a time, eight integer sums in registers. Offsets
// enter as the integer sums' first value; where code x sub-scale fits a byte (Q2_K, Q3_K) the weights are multiplied out once for all
// tokens. All of it exact integers: numerics.md rules 1 and 2.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/panels.h"
#include "backends/kernels/cpu/prompt_panels.h"

namespace quantfleet::avx512 {
namespace {

using panel_formats::PromptGroup;
using panel_formats::kPieceBytes;
using panel_formats::prompt_panels;

// A panel's piece. Only what a format has is filled in.
struct Operands {
  alignas(64) unsigned char quads[kGroupColumns / 4][64];
  alignas(64) std::int32_t scales[16][16];  // of sub-blocks
  alignas(64) std::int32_t minima[8][16];   // of sub-blocks 2 j and 2 j + 1, 16 bits each
  alignas(64) float d[8][16];               // of blocks
  alignas(64) float m[8][16];
};

// How the integers combine: formats that share it share the loops.
template <int kBlock_, int kSubBlock_, bool kScales_, bool kCorrections_, int kTotalOffset_, int kMinSign_, int kMinSub_>
struct Sums {
  static constexpr int kBlock = kBlock_;
  static constexpr int kSubBlock = kSubBlock_;         // columns whose sum is multiplied by a sub-scale; else the block
  static constexpr bool kScales = kScales_;
  static constexpr bool kCorrections = kCorrections_;  // a sub-block's sum begins with TokenGroup::corrections
  static constexpr int kTotalOffset = kTotalOffset_;   // a block's sum begins with -this * TokenGroup::total
  static constexpr int kMinSign = kMinSign_;
  static constexpr int kMinSub = kMinSub_;             // columns under one minimum
};

template <class P>
constexpr bool kMultipliedOut = P::kNibbles || (P::kBits == CodeBits::k3 && P::kTable == CodeTable::kNone);
constexpr int kQ3Offset = 124;  // (-4 .. 3) * (-32 .. 31) + 124 is a byte

template <class P, bool kOut = kMultipliedOut<P>>
struct SumsOf {
  using Type = Sums<P::kBlock, P::kSubBlock, P::kScales, P::kOffset != 0, 0, P::kMinSign, P::kSubBlock>;
};
template <class P>
struct SumsOf<P, true> {
  using Type = Sums<256, 256, false, false, P::kOffset ? kQ3Offset : 0, P::kMinSign, P::kSubBlock>;
};

// Four quads of one sub-block times its sub-scale. A byte shuffle looks up the product with the code's low two bits: 128 bits
// hold the tables of four rows.
template <class P>
QF_INLINE void multiply_out(__m512i* quad, __m512i scale) {
  const __m512i byte = _mm512_set1_epi32(255), twice = _mm512_add_epi32(scale, scale);
  const __m512i table = _mm512_or_si512(
      _mm512_or_si512(_mm512_slli_epi32(_mm512_and_si512(scale, byte), 8), _mm512_slli_epi32(_mm512_and_si512(twice, byte), 16)),
      _mm512_slli_epi32(_mm512_add_epi32(scale, twice), 24));
  const __m512i rows = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
  // Q3_K's stored code is u = code + 4:  code * scale + 124 = (u & 3) scale + (u & 4 ? 4 scale : 0) + (124 - 4 scale), modulo 256.
  const __m512i four = _mm512_shuffle_epi8(_mm512_slli_epi32(scale, 2), rows);
  const __m512i rest = _mm512_sub_epi8(_mm512_set1_epi8(kQ3Offset), four);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    __m512i product = _mm512_shuffle_epi8(table, or_and(rows, quad[g], _mm512_set1_epi8(3)));
    if constexpr (P::kOffset != 0)
      product = _mm512_mask_add_epi8(_mm512_add_epi8(product, rest), _mm512_test_epi8_mask(quad[g], _mm512_set1_epi8(4)),
                                     _mm512_add_epi8(product, rest), four);
    quad[g] = product;
  }
}

template <class P>
QF_INLINE void unpack(const unsigned char* panel, std::int64_t begin, int count, Operands& out) {
  const unsigned char* place = block_at<P>(panel, begin);
  for (int chunk = 0; chunk < count / 32; ++chunk) {
    __m512i quad[8];
    unpack_values<P>(chunk_at<P>(panel, begin + 32 * chunk), quad);
    if constexpr (kMultipliedOut<P>) {
      multiply_out<P>(quad, sub_scale<P>(place, 2 * chunk));
      multiply_out<P>(quad + 4, sub_scale<P>(place, 2 * chunk + 1));
    }
#pragma GCC unroll 8
    for (int g = 0; g < 8; ++g) _mm512_store_si512(out.quads[8 * chunk + g], quad[g]);
  }
  for (int block = 0; block < count / P::kBlock; ++block, place += P::kBlockBytes) {
    _mm512_store_ps(out.d[block], load_d<P>(place));
    if constexpr (P::kMinSign != 0) _mm512_store_ps(out.m[block], load_m(place));
    if constexpr (P::kScales && !kMultipliedOut<P>)
      for (int j = 0; j < P::kSubs; ++j) _mm512_store_si512(out.scales[j], sub_scale<P>(place, j));
    if constexpr (P::kScales && P::kMinSign != 0)
      for (int j = 0; j < P::kSubs; j += 2)
        _mm512_store_si512(out.minima[j / 2], _mm512_or_si512(sub_minimum<P>(place, j), _mm512_slli_epi32(sub_minimum<P>(place, j + 1), 16)));
  }
}

#define QF_FOR_TOKENS _Pragma("GCC unroll 8") for (int t = 0; t < kTokens; ++t)

// What is asked for meanwhile, because few tokens leave no time to wait for memory: a place every quad. kAsk: whether at all.
struct Ahead {
  const unsigned char* weights;
  std::int64_t step;
};

// dot[t] += codes of the quads [quad, quad + kCount) of both.
template <int kTokens, bool kAsk, int kCount>
QF_INLINE void multiply_quads(const Operands& w, const TokenGroup& x, int quad, const Ahead& ahead, __m512i (&dot)[kTokens]) {
#pragma GCC unroll 8
  for (int g = 0; g < kCount; ++g) {
    if constexpr (kAsk) _mm_prefetch(reinterpret_cast<const char*>(ahead.weights + (quad + g) * ahead.step), _MM_HINT_T1);
    const __m512i codes = _mm512_load_si512(w.quads[quad + g]);
    QF_FOR_TOKENS dot[t] = _mm512_dpbusd_epi32(dot[t], codes, four_codes(x.codes[quad + g][t]));
  }
}

// Sums after the piece's `count` columns, for the first kTokens of the group.  sums: [kGroupTokens][16]; begin: they are zeros
template <class S, int kTokens, bool kAsk>
[[gnu::noinline]] void multiply(const Operands& w, const TokenGroup& x, int count, const Ahead& ahead, bool begin, float* sums) {
  __m512 acc[kTokens];
  QF_FOR_TOKENS acc[t] = begin ? _mm512_setzero_ps() : _mm512_load_ps(sums + 16 * t);
#pragma GCC unroll 1
  for (int block = 0; block < count / S::kBlock; ++block) {
    __m512i total[kTokens];
    if constexpr (S::kScales) {
      QF_FOR_TOKENS total[t] = _mm512_setzero_si512();
#pragma GCC unroll 1
      for (int j = 0; j < S::kBlock / S::kSubBlock; ++j) {
        __m512i dot[kTokens];
        QF_FOR_TOKENS dot[t] = S::kCorrections ? _mm512_set1_epi32(x.corrections[j][t]) : _mm512_setzero_si512();
        multiply_quads<kTokens, kAsk, S::kSubBlock / 4>(w, x, j * S::kSubBlock / 4, ahead, dot);
        const __m512i scale = _mm512_load_si512(w.scales[j]);
        QF_FOR_TOKENS total[t] = _mm512_add_epi32(total[t], _mm512_mullo_epi32(dot[t], scale));
      }
    } else {
      QF_FOR_TOKENS {
        if constexpr (S::kCorrections) total[t] = _mm512_set1_epi32(x.corrections[block][t]);
        else if constexpr (S::kTotalOffset != 0) total[t] = _mm512_set1_epi32(-S::kTotalOffset * x.total[t]);
        else total[t] = _mm512_setzero_si512();
      }
#pragma GCC unroll 1
      for (int quad = 0; quad < S::kBlock / 4; quad += 8) multiply_quads<kTokens, kAsk, 8>(w, x, block * S::kBlock / 4 + quad, ahead, total);
    }
    const __m512 d = _mm512_load_ps(w.d[block]);
    QF_FOR_TOKENS acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(x.scales[block][t])), _mm512_cvtepi32_ps(total[t]), acc[t]);
    if constexpr (S::kMinSign > 0) {
      const __m512 m = _mm512_load_ps(w.m[block]);
      QF_FOR_TOKENS acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(m, _mm512_set1_ps(x.scales[block][t])),
                                             _mm512_set1_ps(static_cast<float>(x.sums[block / 2][t][block % 2])), acc[t]);
    }
    if constexpr (S::kMinSign < 0) {
      QF_FOR_TOKENS total[t] = _mm512_setzero_si512();
#pragma GCC unroll 1
      for (int j = 0; j < S::kBlock / S::kMinSub / 2; ++j) {
        const __m512i minima = _mm512_load_si512(w.minima[j]);
        QF_FOR_TOKENS total[t] = _mm512_dpwssd_epi32(total[t], minima, two_sums(x.sums[j][t]));
      }
      const __m512 m = _mm512_load_ps(w.m[block]);
      QF_FOR_TOKENS acc[t] = _mm512_fnmadd_ps(_mm512_mul_ps(m, _mm512_set1_ps(x.scales[block][t])), _mm512_cvtepi32_ps(total[t]), acc[t]);
    }
  }
  QF_FOR_TOKENS _mm512_store_ps(sums + 16 * t, acc[t]);
}

template <class P>
QF_INLINE void multiply_group(const Operands& operands, const PromptGroup& group) {
  using S = typename SumsOf<P>::Type;
  constexpr std::int64_t kStep = (kPieceBytes<P> + 127) / 128;  // in 2 groups of 64 quads
  const Ahead ahead{group.next + 64 * kStep * group.index, kStep};
  const bool half = group.count_tokens <= kGroupTokens / 2;
  const auto of_group = half ? group.index < 2 ? multiply<S, kGroupTokens / 2, true> : multiply<S, kGroupTokens / 2, false>
                             : group.index < 2 ? multiply<S, kGroupTokens, true> : multiply<S, kGroupTokens, false>;
  of_group(operands, *group.tokens, group.columns, ahead, group.begin, group.sums);
}

}  // namespace

void matmul_int8_prompt(const MatmulTask& task) {
  for_panel(task.ggml_type, [&task](auto panel) {
    using P = decltype(panel);
    prompt_panels<P, Operands>(task, unpack<P>, multiply_group<P>);
  });
}

}  // namespace quantfleet::avx512
