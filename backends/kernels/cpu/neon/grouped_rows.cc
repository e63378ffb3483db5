// Codes under group scales to floats, four rows a vector.
#include "backends/kernels/cpu/grouped_decode.h"
#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/grouped_codes.h"

namespace quantfleet::neon {

void decode_grouped(const GroupedTask& task) { grouped_formats::decode_grouped<GroupedLanes>(task); }

}  // namespace quantfleet::neon
