// Codes under group scales to floats, eight columns of sixteen rows at a time: a lane is a row.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"
#include "backends/kernels/cpu/grouped_decode.h"

namespace quantfleet::avx512 {
namespace {

struct Lanes {
  using Vector = __m512;
  static constexpr int kRows = 16;
  template <class Codes>
  QF_INLINE_MEMBER static void read(Codes& codes, const unsigned char* place, int) { codes.read(place); }
  QF_INLINE_MEMBER static Vector numbers(const GroupedTask& task, const unsigned char* numbers, std::int64_t group, int) { return row_numbers(task, numbers, group); }
  template <int kNumbers>
  QF_INLINE_MEMBER static void store(float* target, Vector number, Vector zero, Vector scale) {
    _mm512_store_ps(target, _mm512_mul_ps(_mm512_sub_ps(_mm512_mul_ps(number, _mm512_set1_ps(kDivided<kNumbers>)), zero), scale));
  }
};

template <int kBits, int kNumbers>
[[gnu::noinline]] void decode(const GroupedTask& task) {
  const CodeTable<kBits, kNumbers> table(task.number, task.offset);
  grouped_formats::decode_rows<Lanes, kBits, kNumbers, Codes<kBits, kNumbers>>(task, 0, table);
}

}  // namespace

void decode_grouped(const GroupedTask& task) {
  if (task.mixed) return decode_mixed(task);
  for_codes(task, [&task]<int kBits, int kNumbers>() { decode<kBits, kNumbers>(task); });
}

}  // namespace quantfleet::avx512
