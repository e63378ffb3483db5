// Codes under group scales to floats, eight rows a vector.
#include "backends/kernels/cpu/grouped_decode.h"
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"

namespace quantfleet::avx2 {

void decode_grouped(const GroupedTask& task) { grouped_formats::decode_grouped<GroupedLanes>(task); }

}  // namespace quantfleet::avx2
