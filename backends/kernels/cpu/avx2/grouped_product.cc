// Codes under group scales times one token, eight rows a vector.
#include "backends/kernels/cpu/avx2/avx2.h"
#include "backends/kernels/cpu/avx2/grouped_codes.h"
#include "backends/kernels/cpu/grouped_product.h"

namespace quantfleet::avx2 {

void multiply_grouped(const GroupedTask& task) { grouped_formats::multiply_grouped<GroupedLanes>(task); }

}  // namespace quantfleet::avx2
