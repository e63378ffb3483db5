// Codes under group scales to floats, sixteen rows a vector.
#include "backends/kernels/cpu/grouped_decode.h"
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"

namespace quantfleet::avx512 {

void decode_grouped(const GroupedTask& task) { grouped_formats::decode_grouped<GroupedLanes>(task); }

}  // namespace quantfleet::avx512
