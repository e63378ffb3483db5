// Codes times codes by VPMADDUBSW and VPMADDWD for few tokens: eight rows in the lanes, up to four tokens. Q8_0 and the formats with a
// table of values, which need all of a byte, multiply magnitudes of weights by activations with the weights' signs.
// Many tokens: matmul_int8_prompt.cc.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/panels.h"
#include "backends/kernels/cpu/avx2/products.h"

namespace quantfleet::avx2 {
namespace {

// With four tokens products leave the processor's prefetchers behind; the second-level cache is asked then.
constexpr int kAheadBytes = 18 << 10;

// sum + products of kCount quads with the codes of one token.
template <class P, int kCount>
QF_INLINE __m256i dot(__m256i sum, const __m256i* quad, const std::int8_t* a) {
  constexpr int kGroup = quads_in_16_bits<P>();
  const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
  for (int g = 0; g < kCount; g += kGroup) {
    __m256i words = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int i = g; i < g + kGroup; ++i) {
      const __m256i codes = four_codes(a + 4 * i);
      __m256i products;
      if constexpr (takes_a_byte<P>()) {
        const __m256i w = _mm256_xor_si256(quad[i], _mm256_set1_epi8(-128));
        products = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(codes, w));
      } else {
        products = _mm256_maddubs_epi16(quad[i], codes);
      }
      words = i == g ? products : _mm256_add_epi16(words, products);
    }
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(words, ones));
  }
  return sum;
}

struct Tokens {
  const std::int8_t* codes;
  const float* scales;
  const std::int16_t* sums;
  const std::int32_t* corrections;
  std::int64_t columns, blocks, subs;  // per token
};

// Formats with one scale for 32 columns.
template <class P, int kTokens>
QF_INLINE void simple_block(const unsigned char* place, int half, std::int64_t block, const Tokens& x, __m256 (&acc)[kTokens]) {
  constexpr bool kCorrect = P::kOffset != 0 && !takes_a_byte<P>();
  const __m256 d = load_d<P>(place, half);
  __m256i quad[8];
  unpack_values<P>(place + P::kUnitBytes + 32 * half, quad);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m256i first = kCorrect ? _mm256_set1_epi32(x.corrections[t * x.subs + block]) : _mm256_setzero_si256();
    const __m256i S = dot<P, 8>(first, quad, x.codes + t * x.columns + 32 * block);
    const __m256 d_a = _mm256_set1_ps(x.scales[t * x.blocks + block]);
    acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(d, d_a), _mm256_cvtepi32_ps(S), acc[t]);
    if constexpr (P::kMinSign > 0) {
      const __m256 M = _mm256_set1_ps(static_cast<float>(x.sums[t * x.subs + block]));
      acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(load_m(place, half), d_a), M, acc[t]);
    }
  }
}

// Formats with integer sub-scales inside 256 columns.
template <class P, int kTokens>
QF_INLINE void super_block(const unsigned char* place, int half, std::int64_t block, const Tokens& x, __m256 (&acc)[kTokens]) {
  constexpr int kQuadsPerSub = P::kSubBlock / 4;
  constexpr bool kCorrect = P::kOffset != 0 && !takes_a_byte<P>();
  const unsigned char* codes = place + P::kUnitBytes + 32 * half;
  __m256i S[kTokens];
  for (int t = 0; t < kTokens; ++t) S[t] = _mm256_setzero_si256();
  for (int chunk = 0; chunk < 8; ++chunk, codes += P::kChunkBytes) {
    __m256i quad[8];
    unpack_values<P>(codes, quad);
#pragma GCC unroll 2
    for (int sub = 0; sub < P::kSubsPerChunk; ++sub) {
      const int j = chunk * P::kSubsPerChunk + sub;
      const __m256i scale = sub_scale<P>(place, j, half);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256i first = kCorrect ? _mm256_set1_epi32(x.corrections[t * x.subs + block * P::kSubs + j]) : _mm256_setzero_si256();
        const __m256i sum = dot<P, kQuadsPerSub>(first, quad + sub * kQuadsPerSub,
                                                 x.codes + t * x.columns + 256 * block + 32 * chunk + 16 * sub);
        S[t] = _mm256_add_epi32(S[t], _mm256_mullo_epi32(scale, sum));
      }
    }
  }
  const __m256 d = load_d<P>(place, half);
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
    acc[t] = _mm256_fmadd_ps(_mm256_mul_ps(d, _mm256_set1_ps(x.scales[t * x.blocks + block])), _mm256_cvtepi32_ps(S[t]), acc[t]);
  if constexpr (P::kMinSign != 0) {
    __m256i M[kTokens];
    for (int t = 0; t < kTokens; ++t) M[t] = _mm256_setzero_si256();
    for (int j = 0; j < P::kSubs; j += 2) {  // two 16-bit minima in a lane against two sums of codes
      const __m256i pair =
          _mm256_or_si256(sub_minimum<P>(place, j, half), _mm256_slli_epi32(sub_minimum<P>(place, j + 1, half), 16));
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t)
        M[t] = _mm256_add_epi32(M[t], _mm256_madd_epi16(pair, two_sums(x.sums + t * x.subs + block * P::kSubs + j)));
    }
    const __m256 m = load_m(place, half);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t)
      acc[t] = _mm256_fnmadd_ps(_mm256_mul_ps(m, _mm256_set1_ps(x.scales[t * x.blocks + block])), _mm256_cvtepi32_ps(M[t]), acc[t]);
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
  __m256 acc[2][kTokens];
  for (int half = 0; half < 2; ++half)
    for (int t = 0; t < kTokens; ++t) acc[half][t] = _mm256_setzero_ps();
  const auto multiply = [&](std::int64_t block, int half) __attribute__((always_inline)) {
    const unsigned char* place = panel + block * P::kBlockBytes;
    if constexpr (P::kScales) super_block<P, kTokens>(place, half, block, x, acc[half]);
    else simple_block<P, kTokens>(place, half, block, x, acc[half]);
  };
  if constexpr (kTokens == 1) {  // memory is read once, in one ascending stream, which the processor's prefetchers follow
    for (std::int64_t block = 0; block < x.blocks; ++block)
      for (int half = 0; half < 2; ++half) multiply(block, half);
  } else {
    for (std::int64_t block = 0; block < x.blocks; ++block) {
      for (int line = 0; line < P::kBlockBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(panel + block * P::kBlockBytes + kAheadBytes + line), _MM_HINT_T1);
      multiply(block, 0);
    }
    for (std::int64_t block = 0; block < x.blocks; ++block) multiply(block, 1);
  }
  for (int half = 0; half < 2; ++half) {
    const std::int64_t count = task.rows - row - 8 * half;
    for (int t = 0; t < kTokens; ++t) {
      float* y = task.y + (token + t) * task.y_stride + row + 8 * half;
      if (count >= 8) {
        _mm256_storeu_ps(y, acc[half][t]);
      } else {
        alignas(32) float lanes[8];
        _mm256_store_ps(lanes, acc[half][t]);
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

void matmul_int8(const MatmulTask& task) {
  if (task.groups) return matmul_int8_prompt(task);
  for_panel(task.ggml_type, [&task](auto panel) { all_panels<decltype(panel)>(task); });
}

}  // namespace quantfleet::avx2
