// Codes under group scales times one token, four rows a vector.
#include "backends/kernels/cpu/neon/neon.h"
#include "backends/kernels/cpu/neon/grouped_codes.h"
#include "backends/kernels/cpu/grouped_product.h"

namespace quantfleet::neon {

void multiply_grouped(const GroupedTask& task) { grouped_formats::multiply_grouped<GroupedLanes>(task); }

}  // namespace quantfleet::neon
