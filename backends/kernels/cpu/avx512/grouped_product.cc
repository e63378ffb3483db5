// Codes under group scales times one token, sixteen rows a vector.
#include "backends/kernels/cpu/avx512/avx512.h"
#include "backends/kernels/cpu/avx512/grouped_codes.h"
#include "backends/kernels/cpu/grouped_product.h"

namespace quantfleet::avx512 {

void multiply_grouped(const GroupedTask& task) { grouped_formats::multiply_grouped<GroupedLanes>(task); }

}  // namespace quantfleet::avx512
