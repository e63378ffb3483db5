// Scalar truth: cpu/scalar/kv_pages.cc. Sixteen values at a time: positions of K, d of V.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/kv_page_layout.h"

#include <immintrin.h>

namespace quantfleet::avx512 {
namespace {

__m512 halves(const unsigned char* at) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at))); }
__m512 half(const unsigned char* at) {
  short bits;
  __builtin_memcpy(&bits, at, 2);
  return _mm512_cvtph_ps(_mm256_set1_epi16(bits));
}
__m512 scaled(__m512i codes, __m512 scale) { return _mm512_mul_ps(scale, _mm512_cvtepi32_ps(codes)); }
__m128i bytes(const unsigned char* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
__m512i signed_codes(__m128i b) { return _mm512_cvtepi8_epi32(b); }
__m512i low_codes(__m128i b) {
  return _mm512_sub_epi32(_mm512_cvtepu8_epi32(_mm_and_si128(b, _mm_set1_epi8(15))), _mm512_set1_epi32(8));
}
__m512i high_codes(__m128i b) { return low_codes(_mm_srli_epi16(b, 4)); }

}  // namespace

void load_kv(const KvPageTask& task) {
  const int n = task.head_dim;  // a multiple of 32
  const KvPagePlaces places = kv_page_places(task.kind, n);
  const unsigned char *k = task.head, *v = task.head + places.v, *k_scales = task.head + places.k_scales, *v_scales = task.head + places.v_scales;
  if (task.kind == KvKind::kF16) {
    for (int i = 0; i < 16 * n; i += 16) {
      _mm512_storeu_ps(task.k + i, halves(k + 2 * i));
      _mm512_storeu_ps(task.v + i, halves(v + 2 * i));
    }
  } else if (task.kind == KvKind::kQ8_0) {
    for (int d = 0; d < n; ++d) _mm512_storeu_ps(task.k + 16 * d, scaled(signed_codes(bytes(k + 16 * d)), halves(k_scales + 32 * (d / kKvBlock))));
    for (int p = 0; p < 16; ++p)
      for (int d = 0; d < n; d += 16)
        _mm512_storeu_ps(task.v + n * p + d, scaled(signed_codes(bytes(v + n * p + d)), half(v_scales + 2 * (places.blocks * p + d / kKvBlock))));
  } else {
    for (int d = 0; d < n; d += 2) {
      const __m128i pair = bytes(k + 16 * (d / 2));
      const __m512 scale = halves(k_scales + 32 * (d / kKvBlock));
      _mm512_storeu_ps(task.k + 16 * d, scaled(low_codes(pair), scale));
      _mm512_storeu_ps(task.k + 16 * d + 16, scaled(high_codes(pair), scale));
    }
    for (int p = 0; p < 16; ++p)
      for (int d = 0; d < n / 2; d += 16) {
        const __m128i pair = bytes(v + n / 2 * p + d);
        const unsigned char* scale = v_scales + 2 * (places.blocks * p);
        _mm512_storeu_ps(task.v + n * p + d, scaled(low_codes(pair), half(scale + 2 * (d / kKvBlock))));
        _mm512_storeu_ps(task.v + n * p + n / 2 + d, scaled(high_codes(pair), half(scale + 2 * ((n / 2 + d) / kKvBlock))));
      }
  }
}

}  // namespace quantfleet::avx512
