// Codes times codes by VPDPBUSD for few tokens: unsigned weights, signed activations, sixteen rows in the lanes, up to eight
// tokens whose sums stay in registers while a panel streams by: in ascending order, which the processor's prefetchers follow. Offsets
// enter as the sums' first value (exact integers).
// Many tokens: matmul_int8_prompt.cc.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/panels.h"

namespace quantfleet::avx512 {
namespace {

// With more than two tokens products leave the processor's prefetchers behind; the second-level cache is asked then.
constexpr int kAheadBytes = 18 << 10;

template <int kTokens, int kBytes>
QF_INLINE void prefetch(const unsigned char* p) {
  if constexpr (kTokens > 2)
#pragma GCC unroll 9
    for (int line = 0; line < kBytes; line += 64) _mm_prefetch(reinterpret_cast<const char*>(p + kAheadBytes + line), _MM_HINT_T1);
}

template <int kTokens>
struct Tokens {
  const std::int8_t* codes;
  const float* scales;
  const std::int16_t* sums;
  const std::int32_t* corrections;
  std::int64_t columns, blocks, subs;  // per token
};

// dot[t] += kQuads quads of weights times codes of token t. One token alone gets two chains: a product waits four cycles for
// the one before it.
template <int kQuads, int kTokens>
QF_INLINE void multiply_quads(const __m512i* quad, const std::int8_t* codes, std::int64_t columns, __m512i (&dot)[kTokens]) {
  if constexpr (kTokens == 1 && kQuads == 8) {
    __m512i second = _mm512_dpbusd_epi32(_mm512_setzero_si512(), quad[1], four_codes(codes + 4));
    dot[0] = _mm512_dpbusd_epi32(dot[0], quad[0], four_codes(codes));
#pragma GCC unroll 4
    for (int g = 2; g < kQuads; g += 2) {
      dot[0] = _mm512_dpbusd_epi32(dot[0], quad[g], four_codes(codes + 4 * g));
      second = _mm512_dpbusd_epi32(second, quad[g + 1], four_codes(codes + 4 * g + 4));
    }
    dot[0] = _mm512_add_epi32(dot[0], second);
    return;
  }
#pragma GCC unroll 8
  for (int g = 0; g < kQuads; ++g)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) dot[t] = _mm512_dpbusd_epi32(dot[t], quad[g], four_codes(codes + t * columns + 4 * g));
}

// Formats with one scale for 32 columns.
template <class P, int kTokens>
QF_INLINE void simple_block(const unsigned char* place, std::int64_t block, const Tokens<kTokens>& x, __m512 (&acc)[kTokens]) {
  prefetch<kTokens, P::kBlockBytes>(place);
  const __m512 d = load_d<P>(place), m = P::kMinSign > 0 ? load_m(place) : d;
  __m512i quad[8];
  unpack_values<P>(place + P::kUnitBytes, quad);
  __m512i S[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
    S[t] = P::kOffset ? _mm512_set1_epi32(x.corrections[t * x.subs + block]) : _mm512_setzero_si512();
  multiply_quads<8, kTokens>(quad, x.codes + 32 * block, x.columns, S);
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    const __m512 d_a = _mm512_set1_ps(x.scales[t * x.blocks + block]);
    acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, d_a), _mm512_cvtepi32_ps(S[t]), acc[t]);
    if constexpr (P::kMinSign > 0) {
      const __m512 M = _mm512_set1_ps(static_cast<float>(x.sums[t * x.subs + block]));
      acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(m, d_a), M, acc[t]);
    }
  }
}

// Formats with integer sub-scales inside 256 columns.
template <class P, int kTokens>
QF_INLINE void super_block(const unsigned char* place, std::int64_t block, const Tokens<kTokens>& x, __m512 (&acc)[kTokens]) {
  constexpr int kQuadsPerSub = P::kSubBlock / 4;
  constexpr bool kPairs = P::kNibbles && kTokens == 1;  // more would not fit into the registers
  const __m512 d = load_d<P>(place), m = P::kMinSign != 0 ? load_m(place) : d;
  const unsigned char* codes = place + P::kUnitBytes;
  __m512i S[kTokens], M[kTokens];
  for (int t = 0; t < kTokens; ++t) S[t] = M[t] = _mm512_setzero_si512();
  for (int chunk = 0; chunk < 8; ++chunk, codes += P::kChunkBytes) {
    prefetch<kTokens, P::kChunkBytes>(codes);
    __m512i quad[8];
    if constexpr (kPairs) {
      unpack_pairs(codes, quad);
      const __m512i pair = sub_pair<P>(place, 2 * chunk), scales = _mm512_and_si512(pair, _mm512_set1_epi16(15)), minima = _mm512_srli_epi16(pair, 4);
      __m512i first[1] = {_mm512_setzero_si512()}, second[1] = {_mm512_setzero_si512()};
      multiply_quads<4, 1>(quad, x.codes + 256 * block + 32 * chunk, x.columns, first);
      multiply_quads<4, 1>(quad + 4, x.codes + 256 * block + 32 * chunk + 16, x.columns, second);
      // Both sums fit into 16 bits: 16 x 3 x 127; the second is four times one.
      const __m512i sums = _mm512_mask_blend_epi16(0xaaaaaaaa, first[0], _mm512_slli_epi32(second[0], 14));
      S[0] = _mm512_dpwssd_epi32(S[0], sums, scales);
      M[0] = _mm512_dpwssd_epi32(M[0], minima, two_sums(x.sums + block * P::kSubs + 2 * chunk));
      continue;
    }
    unpack_values<P>(codes, quad);
#pragma GCC unroll 2
    for (int sub = 0; sub < P::kSubsPerChunk; ++sub) {
      const int j = chunk * P::kSubsPerChunk + sub;
      __m512i dot[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t)
        dot[t] = P::kOffset ? _mm512_set1_epi32(x.corrections[t * x.subs + block * P::kSubs + j]) : _mm512_setzero_si512();
      multiply_quads<kQuadsPerSub, kTokens>(quad + sub * kQuadsPerSub, x.codes + 256 * block + 32 * chunk + 16 * sub, x.columns, dot);
      const __m512i scale = sub_scale<P>(place, j);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) S[t] = _mm512_add_epi32(S[t], _mm512_mullo_epi32(scale, dot[t]));
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
    acc[t] = _mm512_fmadd_ps(_mm512_mul_ps(d, _mm512_set1_ps(x.scales[t * x.blocks + block])), _mm512_cvtepi32_ps(S[t]), acc[t]);
  if constexpr (P::kMinSign != 0) {
    for (int j = 0; j < P::kSubs && !kPairs; j += 2) {  // two 16-bit minima in a lane against two sums of codes
      const __m512i pair = _mm512_or_si512(sub_minimum<P>(place, j), _mm512_slli_epi32(sub_minimum<P>(place, j + 1), 16));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t)
        M[t] = _mm512_dpwssd_epi32(M[t], pair, two_sums(x.sums + t * x.subs + block * P::kSubs + j));
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t)
      acc[t] = _mm512_fnmadd_ps(_mm512_mul_ps(m, _mm512_set1_ps(x.scales[t * x.blocks + block])), _mm512_cvtepi32_ps(M[t]), acc[t]);
  }
}

template <class P, int kTokens>
[[gnu::noinline]] void tile(const MatmulTask& task, const unsigned char* panel, std::int64_t token, __mmask16 rows, float* y) {
  Tokens<kTokens> x;
  x.columns = task.columns;
  x.blocks = task.columns / P::kBlock;
  x.subs = task.columns / P::kSubBlock;
  x.codes = task.codes + token * x.columns;
  x.scales = task.scales + token * x.blocks;
  x.sums = task.sums + token * x.subs;
  x.corrections = task.corrections + token * x.subs;
  __m512 acc[kTokens];
  for (int t = 0; t < kTokens; ++t) acc[t] = _mm512_setzero_ps();
  for (std::int64_t block = 0; block < x.blocks; ++block, panel += P::kBlockBytes) {
    if constexpr (P::kScales) super_block<P, kTokens>(panel, block, x, acc);
    else simple_block<P, kTokens>(panel, block, x, acc);
  }
  for (int t = 0; t < kTokens; ++t) _mm512_mask_storeu_ps(y + t * task.y_stride, rows, acc[t]);
}

template <class P>
void all_panels(const MatmulTask& task) {
  const std::int64_t size = panel_size<P>(task.columns);
  for (std::int64_t panel = task.panel_begin; panel < task.panel_end; ++panel) {
    const unsigned char* weights = task.weights + panel * size;
    const std::int64_t row = panel * kPanelRows;
    const __mmask16 rows = task.rows - row >= 16 ? 0xffff : static_cast<__mmask16>((1u << (task.rows - row)) - 1);
    std::int64_t t = task.token_begin;
    float* y = task.y + row;
    for (; t + 8 <= task.token_end; t += 8) tile<P, 8>(task, weights, t, rows, y + t * task.y_stride);
    if (t + 4 <= task.token_end) tile<P, 4>(task, weights, t, rows, y + t * task.y_stride), t += 4;
    if (t + 2 <= task.token_end) tile<P, 2>(task, weights, t, rows, y + t * task.y_stride), t += 2;
    if (t < task.token_end) tile<P, 1>(task, weights, t, rows, y + t * task.y_stride);
  }
}

}  // namespace

void matmul_int8(const MatmulTask& task) {
  if (task.groups) return matmul_int8_prompt(task);
  for_panel(task.ggml_type, [&task](auto panel) { all_panels<decltype(panel)>(task); });
}

}  // namespace quantfleet::avx512
