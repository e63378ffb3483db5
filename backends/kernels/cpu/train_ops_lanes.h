// Lanes: 16 floats as one, two or four registers of whatever instruction set the including file is compiled for.
#include "backends/kernels/elementary.h"
#include "backends/kernels/train_ops.h"

#pragma GCC diagnostic ignored "-Wpsabi"  // Lanes never crosses a file

namespace quantfleet {
namespace {

typedef float Lanes __attribute__((vector_size(64)));
typedef std::int32_t LaneInts __attribute__((vector_size(64)));

}  // namespace
}  // namespace quantfleet
