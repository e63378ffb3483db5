// Codes times codes by VPMADDUBSW for many tokens (cpu/prompt_panels.h), all sixteen rows and four tokens at a time. As many products are
// added in 16 bits as cannot overflow; VPMADDWD adds them up and multiplies by the sub-scale in one. Codes that need all of a byte are two
// numbers of four bits, 16 high + low, and pass two tokens at a time. All of it exact integers: numerics.md rules 1 and 2.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/panels.h"
#include "backends/kernels/cpu/avx2/products.h"
#include "backends/kernels/cpu/prompt_panels.h"

namespace quantfleet::avx2 {
namespace {

using panel_formats::PromptGroup;
using panel_formats::kPieceBytes;
using panel_formats::prompt_panels;

// A panel's piece: eight rows, and eight behind them. Only what a format has is filled in.
struct Operands {
  alignas(64) unsigned char quads[kGroupColumns / 4][64];  // codes, or their low four bits
  alignas(64) unsigned char high[kGroupColumns / 4][64];
  alignas(64) std::int32_t scales[16][16];  // of sub-blocks; in both halves of a lane
  alignas(64) std::int32_t pairs[8][16];    // of sub-blocks 2 j and 2 j + 1, 16 bits each
  alignas(64) std::int32_t minima[8][16];   // likewise
  alignas(64) float d[8][16];               // of blocks
  alignas(64) float m[8][16];
};

// How the integers combine: formats that share it share the loops.
template <int kBlock_, int kSubBlock_, bool kScales_, int kOffset_, int kMinSign_, bool kBytes_, int kTogether_>
struct Sums {
  static constexpr int kBlock = kBlock_, kSubBlock = kSubBlock_;
  static constexpr bool kScales = kScales_;
  static constexpr int kOffset = kOffset_, kMinSign = kMinSign_;
  static constexpr bool kBytes = kBytes_;                          // codes need all of a byte
  static constexpr int kTogether = kTogether_;                     // quads whose products are added in 16 bits
  static constexpr int kParts = kBytes ? 4 : 2;                    // operands of a quad: eight rows each
  static constexpr int kTokens = kBytes ? 2 : 4;                   // at once: kParts * kTokens sums in registers
};
template <class P>
constexpr int kNibblesTogether = P::kSubBlock < 32 ? P::kSubBlock / 4 : 8;
template <class P>
using SumsOf = Sums<P::kBlock, P::kSubBlock, P::kScales, P::kOffset, P::kMinSign, takes_a_byte<P>(),
                    takes_a_byte<P>() ? kNibblesTogether<P> : quads_in_16_bits<P>()>;

QF_INLINE __m256i load(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
QF_INLINE void store(void* p, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(p), v); }
QF_INLINE __m256i pair(__m256i low, __m256i high) {
  return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(high, 16));
}

template <class P>
QF_INLINE void unpack(const unsigned char* panel, std::int64_t begin, int count, Operands& out) {
  for (int half = 0; half < 2; ++half) {
    for (int chunk = 0; chunk < count / 32; ++chunk) {
      __m256i quad[8];
      unpack_values<P>(chunk_at<P>(panel, begin + 32 * chunk) + 32 * half, quad);
#pragma GCC unroll 8
      for (int g = 0; g < 8; ++g) {
        if constexpr (takes_a_byte<P>()) {
          const __m256i low = _mm256_set1_epi8(15);
          store(out.high[8 * chunk + g] + 32 * half, _mm256_and_si256(_mm256_srli_epi16(quad[g], 4), low));
          quad[g] = _mm256_and_si256(quad[g], low);
        }
        store(out.quads[8 * chunk + g] + 32 * half, quad[g]);
      }
    }
    const unsigned char* place = block_at<P>(panel, begin);
    for (int block = 0; block < count / P::kBlock; ++block, place += P::kBlockBytes) {
      _mm256_store_ps(out.d[block] + 8 * half, load_d<P>(place, half));
      if constexpr (P::kMinSign != 0) _mm256_store_ps(out.m[block] + 8 * half, load_m(place, half));
      if constexpr (P::kScales)
        for (int j = 0; j < P::kSubs; j += 2) {
          const __m256i even = sub_scale<P>(place, j, half), odd = sub_scale<P>(place, j + 1, half);
          store(out.scales[j] + 8 * half, pair(even, even));
          store(out.scales[j + 1] + 8 * half, pair(odd, odd));
          store(out.pairs[j / 2] + 8 * half, pair(even, odd));
          if constexpr (P::kMinSign != 0) store(out.minima[j / 2] + 8 * half, pair(sub_minimum<P>(place, j, half), sub_minimum<P>(place, j + 1, half)));
        }
    }
  }
}

#define QF_FOR_TOKENS _Pragma("GCC unroll 4") for (int t = 0; t < S::kTokens; ++t)
#define QF_FOR_HALVES _Pragma("GCC unroll 2") for (int half = 0; half < 2; ++half)
#define QF_FOR_PARTS _Pragma("GCC unroll 4") for (int part = 0; part < S::kParts; ++part)

// total[half][t] += scale * sum of the products of kQuads quads from `quad` on.
template <class S, int kQuads>
QF_INLINE void multiply_quads(const Operands& w, const TokenGroup& x, int first, int quad, const __m256i (&scale)[2], __m256i (&total)[2][S::kTokens]) {
#pragma GCC unroll 8
  for (int begin = 0; begin < kQuads; begin += S::kTogether) {
    __m256i words[S::kParts][S::kTokens];
#pragma GCC unroll 8
    for (int g = quad + begin; g < quad + begin + S::kTogether; ++g) {
      __m256i codes[S::kParts];
      QF_FOR_PARTS codes[part] = load((part < 2 ? w.quads : w.high)[g] + 32 * (part % 2));
      QF_FOR_TOKENS {
        const __m256i a = four_codes(x.codes[g][first + t]);
        QF_FOR_PARTS {
          const __m256i products = _mm256_maddubs_epi16(codes[part], a);
          words[part][t] = g == quad + begin ? products : _mm256_add_epi16(words[part][t], products);
          asm("" : "+x"(words[part][t]));  // compilers would sum up in another order, which takes more registers than there are
        }
      }
    }
    QF_FOR_TOKENS QF_FOR_PARTS {
      const __m256i factor = part < 2 ? scale[part % 2] : _mm256_slli_epi16(scale[part % 2], 4);
      total[part % 2][t] = _mm256_add_epi32(total[part % 2][t], _mm256_madd_epi16(words[part][t], factor));
    }
  }
}

// total[half][t] = sum over pairs of sub-blocks of numbers of the weights times sums of the activations' codes.
template <class S>
QF_INLINE void multiply_sums(const std::int32_t (*numbers)[16], const TokenGroup& x, int first, __m256i (&total)[2][S::kTokens]) {
  QF_FOR_TOKENS QF_FOR_HALVES total[half][t] = _mm256_setzero_si256();
  for (int j = 0; j < S::kBlock / S::kSubBlock / 2; ++j) {
    const __m256i of[2] = {load(numbers[j]), load(numbers[j] + 8)};
    QF_FOR_TOKENS {
      const __m256i a = two_sums(x.sums[j][first + t]);
      QF_FOR_HALVES total[half][t] = _mm256_add_epi32(total[half][t], _mm256_madd_epi16(of[half], a));
    }
  }
}

// Sums after the piece's `count` columns, for S::kTokens tokens from `first` on.  sums: [kGroupTokens][16]; begin: they are zeros
template <class S>
[[gnu::noinline]] void multiply(const Operands& w, const TokenGroup& x, int first, int count, bool begin, float* sums) {
  if (begin)
    QF_FOR_TOKENS QF_FOR_HALVES _mm256_store_ps(sums + 16 * (first + t) + 8 * half, _mm256_setzero_ps());
#pragma GCC unroll 1
  for (int block = 0; block < count / S::kBlock; ++block) {
    __m256i total[2][S::kTokens];
    if constexpr (S::kScales && S::kOffset != 0) {
      multiply_sums<S>(w.pairs, x, first, total);
      QF_FOR_TOKENS QF_FOR_HALVES total[half][t] = _mm256_mullo_epi32(total[half][t], _mm256_set1_epi32(-S::kOffset));
    } else {
      QF_FOR_TOKENS QF_FOR_HALVES total[half][t] = S::kOffset != 0 ? _mm256_set1_epi32(x.corrections[block][first + t]) : _mm256_setzero_si256();
    }
#pragma GCC unroll 1
    for (int j = 0; j < S::kBlock / S::kSubBlock; ++j) {
      __m256i scale[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
      if constexpr (S::kScales) QF_FOR_HALVES scale[half] = load(w.scales[j] + 8 * half);
      multiply_quads<S, S::kSubBlock / 4>(w, x, first, (block * S::kBlock + j * S::kSubBlock) / 4, scale, total);
    }
    __m256i below[2][S::kTokens];
    if constexpr (S::kMinSign < 0) multiply_sums<S>(w.minima, x, first, below);
    QF_FOR_TOKENS QF_FOR_HALVES {
      float* place = sums + 16 * (first + t) + 8 * half;
      const __m256 d_a = _mm256_set1_ps(x.scales[block][first + t]);
      __m256 acc = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_load_ps(w.d[block] + 8 * half), d_a), _mm256_cvtepi32_ps(total[half][t]), _mm256_load_ps(place));
      if constexpr (S::kMinSign != 0) {
        const __m256 m = _mm256_mul_ps(_mm256_load_ps(w.m[block] + 8 * half), d_a);
        if constexpr (S::kMinSign > 0) acc = _mm256_fmadd_ps(m, _mm256_set1_ps(static_cast<float>(x.sums[block / 2][first + t][block % 2])), acc);
        else acc = _mm256_fnmadd_ps(m, _mm256_cvtepi32_ps(below[half][t]), acc);
      }
      _mm256_store_ps(place, acc);
    }
  }
}

template <class P>
QF_INLINE void multiply_group(const Operands& operands, const PromptGroup& group) {
  using S = SumsOf<P>;
  // What is read next is asked for in four slices meanwhile.
  constexpr std::int64_t kSliceBytes = (kPieceBytes<P> + 255) / 256 * 64;
  const unsigned char *slice = group.next + group.index * (kGroupTokens / S::kTokens) * kSliceBytes, *const end = group.next + kPieceBytes<P>;
  for (int t = 0; t < group.count_tokens; t += S::kTokens, slice += kSliceBytes) {
    for (const unsigned char* line = slice; line < slice + kSliceBytes && line < end; line += 64) _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
    multiply<S>(operands, *group.tokens, t, group.columns, group.begin, group.sums);
  }
}

}  // namespace

void matmul_int8_prompt(const MatmulTask& task) {
  for_panel(task.ggml_type, [&task](auto panel) {
    using P = decltype(panel);
    prompt_panels<P, Operands>(task, unpack<P>, multiply_group<P>);
  });
}

}  // namespace quantfleet::avx2
