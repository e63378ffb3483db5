// Codes whose width differs from column to column (EXL2). They lie by width within a window, and sums go through ascending columns: the
// codes of a window are brought into columns as bytes, all widths alike, from where they become numbers sixteen rows at a time.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"

namespace quantfleet::avx512 {
namespace {

constexpr int kPanelsAtOnce = 2;

// Eight columns of codes of one width less 2^(width - 1): four columns a vector.
template <int kBits>
QF_INLINE void unpack_chunk(const unsigned char* p, __m512i (&codes)[2]) {
  codes[0] = codes[1] = _mm512_setzero_si512();
  if constexpr (kBits == 8) {
    for (int h = 0; h < 2; ++h) codes[h] = _mm512_loadu_si512(p + 64 * h);
  }
  if constexpr ((kBits & 4) != 0) {
    const __m512i v = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
    codes[0] = _mm512_and_si512(v, mask);
    codes[1] = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
    p += 64;
  }
  const __m512i lane = _mm512_setr_epi64(0, 0, 0x0001000100010001, 0x0001000100010001, 0x0002000200020002, 0x0002000200020002, 0x0003000300030003, 0x0003000300030003);
  if constexpr ((kBits & 2) != 0) {
    for (int h = 0; h < 2; ++h) {
      const __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * h)));
      const __m512i two = _mm512_and_si512(_mm512_srlv_epi16(v, _mm512_add_epi16(lane, lane)), _mm512_set1_epi8(3));
      codes[h] = _mm512_or_si512(codes[h], _mm512_slli_epi16(two, kBits & 4));
    }
    p += 32;
  }
  if constexpr ((kBits & 1) != 0) {
    const __m512i v = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    for (int h = 0; h < 2; ++h) {
      const __m512i one = _mm512_and_si512(_mm512_srlv_epi16(v, _mm512_add_epi16(lane, _mm512_set1_epi16(static_cast<short>(4 * h)))), _mm512_set1_epi8(1));
      codes[h] = _mm512_or_si512(codes[h], _mm512_slli_epi16(one, kBits & 6));
    }
  }
  for (int h = 0; h < 2; ++h) codes[h] = _mm512_sub_epi8(codes[h], _mm512_set1_epi8(static_cast<char>(1 << (kBits - 1))));
}

// A run of chunks of one width from column k's place on, of each panel; where it ends.
template <int kBits, int kPanels>
QF_INLINE std::int64_t unpack_run(const GroupedTask& task, const unsigned char* const* panels, std::int64_t begin, std::int64_t k, std::int64_t end, std::int8_t* columns) {
  std::int64_t at = 16 * static_cast<std::int64_t>(task.chunk_begin[k / 8]);
  do {
    const std::uint32_t* order = task.order + k;
    const std::int64_t count = end - k < 8 ? end - k : 8;
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) {
      __m512i codes[2];
      unpack_chunk<kBits>(panels[p] + at, codes);
      const auto store = [&](int i, __m128i column) { _mm_store_si128(reinterpret_cast<__m128i*>(columns + 16 * (p * kMixedWindow + order[i] - begin)), column); };
      if (count < 8) {
        alignas(64) __m128i each[8];
        for (int h = 0; h < 2; ++h) _mm512_store_si512(each + 4 * h, codes[h]);
        for (int i = 0; i < count; ++i) store(i, each[i]);
        continue;
      }
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        store(4 * h, _mm512_castsi512_si128(codes[h]));
        store(4 * h + 1, _mm512_extracti32x4_epi32(codes[h], 1));
        store(4 * h + 2, _mm512_extracti32x4_epi32(codes[h], 2));
        store(4 * h + 3, _mm512_extracti32x4_epi32(codes[h], 3));
      }
    }
    at += 16 * kBits;
    k += 8;
  } while (k < end && task.chunk_bits[k / 8] == kBits);
  return k;
}

// Columns [begin, end), a window, of some panels.  columns [kPanels][kMixedWindow][16]
template <int kPanels>
QF_INLINE void unpack_window(const GroupedTask& task, const unsigned char* const* panels, std::int64_t begin, std::int64_t end, std::int8_t* columns) {
  for (std::int64_t k = begin; k < end;) {
    switch (task.chunk_bits[k / 8]) {
      case 2: k = unpack_run<2, kPanels>(task, panels, begin, k, end, columns); break;
      case 3: k = unpack_run<3, kPanels>(task, panels, begin, k, end, columns); break;
      case 4: k = unpack_run<4, kPanels>(task, panels, begin, k, end, columns); break;
      case 5: k = unpack_run<5, kPanels>(task, panels, begin, k, end, columns); break;
      case 6: k = unpack_run<6, kPanels>(task, panels, begin, k, end, columns); break;
      case 7: k = unpack_run<7, kPanels>(task, panels, begin, k, end, columns); break;
      default: k = unpack_run<8, kPanels>(task, panels, begin, k, end, columns); break;
    }
  }
}

QF_INLINE __m512 numbers_of(const std::int8_t* column) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(column)))); }

template <bool kZeros>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel) {
  alignas(64) std::int8_t columns[kPanelsAtOnce * kMixedWindow * 16];
  const std::int64_t numbers = 16 * task.groups;
  const unsigned char* codes[kPanelsAtOnce];
  __m512 acc[kPanelsAtOnce];
  for (int p = 0; p < kPanelsAtOnce; ++p) {  // a last single panel runs twice
    const int at = panel + p < task.panels ? panel + p : panel;
    codes[p] = task.codes + at * task.panel_bytes;
    acc[p] = _mm512_setzero_ps();
    widen_numbers<kZeros>(task, at, task.tile + 2 * p * numbers);
  }
  for (std::int64_t begin = 0; begin < task.end; begin += kMixedWindow) {
    const std::int64_t end = task.end - begin < kMixedWindow ? task.end : begin + kMixedWindow;
    unpack_window<kPanelsAtOnce>(task, codes, begin, end, columns);
#pragma GCC unroll 4
    for (std::int64_t k = begin; k < end; ++k) {
      const __m512 x = _mm512_set1_ps(task.x[k]);
      const float* of_group = task.tile + 16 * task.group_of[k];
#pragma GCC unroll 2
      for (int p = 0; p < kPanelsAtOnce; ++p) {
        __m512 value = numbers_of(columns + 16 * (p * kMixedWindow + k - begin));
        if constexpr (kZeros) value = _mm512_sub_ps(value, _mm512_load_ps(of_group + (2 * p + 1) * numbers));
        acc[p] = _mm512_fmadd_ps(_mm512_mul_ps(value, _mm512_load_ps(of_group + 2 * p * numbers)), x, acc[p]);
      }
    }
  }
  for (int p = 0; p < kPanelsAtOnce && panel + p < task.panels; ++p) store_rows(task, panel + p, acc[p]);
}

}  // namespace

void decode_mixed(const GroupedTask& task) {
  alignas(64) std::int8_t columns[kMixedWindow * 16];
  for (std::int64_t begin = task.begin; begin < task.end; begin += kMixedWindow) {
    const std::int64_t end = task.end - begin < kMixedWindow ? task.end : begin + kMixedWindow;
    unpack_window<1>(task, &task.codes, begin, end, columns);
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int64_t group = task.group_of[k];
      __m512 value = numbers_of(columns + 16 * (k - begin));
      if (task.zeros) value = _mm512_sub_ps(value, row_numbers(task, task.zeros, group));
      _mm512_store_ps(task.tile + 16 * (k - task.begin), _mm512_mul_ps(value, row_numbers(task, task.scales, group)));
    }
  }
}

void multiply_mixed(const GroupedTask& task) {
  for (int panel = 0; panel < task.panels; panel += kPanelsAtOnce) {
    if (task.zeros) multiply_panels<true>(task, panel);
    else multiply_panels<false>(task, panel);
  }
}

}  // namespace quantfleet::avx512
