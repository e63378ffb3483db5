// Codes whose width differs from column to column (EXL2). They lie by width within a window, and sums go through ascending columns: the
// codes of a window are brought into columns as bytes, all widths alike, from where they become numbers eight rows at a time.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"

namespace quantfleet::avx2 {
namespace {

constexpr int kPanelsAtOnce = 2, kHalves = 2 * kPanelsAtOnce;

// Bits `from` to `from + width - 1` of every byte brought to `to`.
QF_INLINE __m128i part(__m128i bytes, int from, int width, int to) {
  const __m128i bits = _mm_and_si128(_mm_srli_epi16(bytes, from), _mm_set1_epi8(static_cast<char>((1 << width) - 1)));
  return _mm_slli_epi16(bits, to);
}

// Eight columns of codes of mixed widths, sixteen rows each, less 2^(bits - 1).
template <int kBits>
QF_INLINE void unpack_planes(const unsigned char* p, __m128i (&codes)[8]) {
  const auto load = [](const unsigned char* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); };
  constexpr int kFour = kBits & 4, kTwo = kBits & 2, kOne = kBits & 1;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    codes[i] = kBits == 8 ? load(p + 16 * i) : _mm_setzero_si128();
    if constexpr (kFour != 0) codes[i] = part(load(p + 16 * (i % 4)), i < 4 ? 0 : 4, 4, 0);
    if constexpr (kTwo != 0) codes[i] = _mm_or_si128(codes[i], part(load(p + 16 * (kFour + i / 4)), 2 * (i % 4), 2, kFour));
    if constexpr (kOne != 0) codes[i] = _mm_or_si128(codes[i], part(load(p + 16 * (kFour + kTwo)), i, 1, kFour + kTwo));
    codes[i] = _mm_sub_epi8(codes[i], _mm_set1_epi8(static_cast<char>(1 << (kBits - 1))));
  }
}

// A run of chunks of one width from column k's place on; where it ends.
template <int kBits>
QF_INLINE std::int64_t unpack_run(const GroupedTask& task, const unsigned char* panel, std::int64_t begin, std::int64_t k, std::int64_t end, std::int8_t* columns) {
  const unsigned char* place = panel + 16 * static_cast<std::int64_t>(task.chunk_begin[k / 8]);
  do {
    __m128i codes[8];
    unpack_planes<kBits>(place, codes);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      if (k + i < end) _mm_store_si128(reinterpret_cast<__m128i*>(columns + 16 * (task.order[k + i] - begin)), codes[i]);
    place += 16 * kBits;
    k += 8;
  } while (k < end && task.chunk_bits[k / 8] == kBits);
  return k;
}

// Columns [begin, end), a window, of a panel.  columns [kMixedWindow][16]
void unpack_window(const GroupedTask& task, const unsigned char* panel, std::int64_t begin, std::int64_t end, std::int8_t* columns) {
  for (std::int64_t k = begin; k < end;) {
    switch (task.chunk_bits[k / 8]) {
      case 2: k = unpack_run<2>(task, panel, begin, k, end, columns); break;
      case 3: k = unpack_run<3>(task, panel, begin, k, end, columns); break;
      case 4: k = unpack_run<4>(task, panel, begin, k, end, columns); break;
      case 5: k = unpack_run<5>(task, panel, begin, k, end, columns); break;
      case 6: k = unpack_run<6>(task, panel, begin, k, end, columns); break;
      case 7: k = unpack_run<7>(task, panel, begin, k, end, columns); break;
      default: k = unpack_run<8>(task, panel, begin, k, end, columns); break;
    }
  }
}

QF_INLINE __m256 numbers_of(const std::int8_t* column) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(column))));
}

template <bool kZeros>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel) {
  alignas(64) std::int8_t columns[kPanelsAtOnce * kMixedWindow * 16];
  const std::int64_t numbers = 16 * task.groups;
  __m256 acc[kHalves];
  for (int p = 0; p < kPanelsAtOnce; ++p) widen_numbers<kZeros>(task, panel + p < task.panels ? panel + p : panel, task.tile + 2 * p * numbers);
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h) acc[h] = _mm256_setzero_ps();
  for (std::int64_t begin = 0; begin < task.end; begin += kMixedWindow) {
    const std::int64_t end = task.end - begin < kMixedWindow ? task.end : begin + kMixedWindow;
    for (int p = 0; p < kPanelsAtOnce; ++p)  // a last single panel runs twice
      unpack_window(task, task.codes + (panel + p < task.panels ? panel + p : panel) * task.panel_bytes, begin, end, columns + p * kMixedWindow * 16);
    for (std::int64_t k = begin; k < end; ++k) {
      const __m256 x = _mm256_set1_ps(task.x[k]);
      const float* of_group = task.tile + 16 * task.group_of[k];
#pragma GCC unroll 4
      for (int h = 0; h < kHalves; ++h) {
        const float* of_rows = of_group + h / 2 * 2 * numbers + 8 * (h % 2);
        __m256 value = numbers_of(columns + 16 * (h / 2 * kMixedWindow + k - begin) + 8 * (h % 2));
        if constexpr (kZeros) value = _mm256_sub_ps(value, _mm256_load_ps(of_rows + numbers));
        acc[h] = _mm256_fmadd_ps(_mm256_mul_ps(value, _mm256_load_ps(of_rows)), x, acc[h]);
      }
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHalves; ++h)
    if (panel + h / 2 < task.panels) store_rows(task, 16 * (panel + h / 2) + 8 * (h % 2), acc[h]);
}

}  // namespace

void decode_mixed(const GroupedTask& task) {
  alignas(64) std::int8_t columns[kMixedWindow * 16];
  for (std::int64_t begin = task.begin; begin < task.end; begin += kMixedWindow) {
    const std::int64_t end = task.end - begin < kMixedWindow ? task.end : begin + kMixedWindow;
    unpack_window(task, task.codes, begin, end, columns);
    for (std::int64_t k = begin; k < end; ++k)
      for (int half = 0; half < 2; ++half) {
        __m256 value = numbers_of(columns + 16 * (k - begin) + 8 * half);
        if (task.zeros) value = _mm256_sub_ps(value, row_numbers(task, task.zeros, task.group_of[k], half));
        _mm256_store_ps(task.tile + 16 * (k - task.begin) + 8 * half, _mm256_mul_ps(value, row_numbers(task, task.scales, task.group_of[k], half)));
      }
  }
}

void multiply_mixed(const GroupedTask& task) {
  for (int panel = 0; panel < task.panels; panel += kPanelsAtOnce) {
    if (task.zeros) multiply_panels<true>(task, panel);
    else multiply_panels<false>(task, panel);
  }
}

}  // namespace quantfleet::avx2
