// Codes under group scales to floats, eight columns of sixteen rows at a time, in two halves of eight rows: a lane is a row.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"
#include "backends/kernels/cpu/grouped_decode.h"

namespace quantfleet::avx2 {
namespace {

struct Lanes {
  using Vector = __m256;
  static constexpr int kRows = 8;
  template <class Codes>
  QF_INLINE_MEMBER static void read(Codes& codes, const unsigned char* place, int half) { codes.read(place, half); }
  QF_INLINE_MEMBER static Vector numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int half) { return row_numbers(task, numbers, group, half); }
  template <int kNumbers>
  QF_INLINE_MEMBER static void store(float* target, Vector number, Vector zero, Vector scale) {
    _mm256_store_ps(target, _mm256_mul_ps(_mm256_sub_ps(_mm256_mul_ps(number, _mm256_set1_ps(kDivided<kNumbers>)), zero), scale));
  }
};

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task, int half) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  grouped_formats::decode_rows<Lanes, kBits, kNumbers, Codes<kBits, kNumbers>>(task, half, table);
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.mixed) return decode_mixed(task);
  for (int half = 0; half < 2; ++half) for_codes(task, [&]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task, half); });
}

}  // namespace quantfleet::avx2
