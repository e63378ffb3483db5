// The operations of training, compiled for this folder's instruction set.
#include "backends/kernels/cpu/train_ops_lanes.h"

namespace quantfleet {
namespace {

// a * b + c, rounded once.
[[gnu::always_inline]] inline Lanes fused(Lanes a, Lanes b, Lanes c) {
  for (int i = 0; i < 16; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
}

}  // namespace
}  // namespace quantfleet

#include "backends/kernels/cpu/train_ops_body.h"

namespace quantfleet {

extern const TrainOps kTrainOpsScalar;
const TrainOps kTrainOpsScalar = train_ops_named("scalar");

}  // namespace quantfleet
