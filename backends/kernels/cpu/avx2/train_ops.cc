// The operations of training, compiled for this folder's instruction set.
#include "backends/kernels/cpu/train_ops_lanes.h"

#include <immintrin.h>

namespace quantfleet {
namespace {

// a * b + c, rounded once.
[[gnu::always_inline]] inline Lanes fused(Lanes a, Lanes b, Lanes c) {
  union Halves {
    Lanes lanes;
    __m256 half[2];
  } x{a}, y{b}, z{c};
  z.half[0] = _mm256_fmadd_ps(x.half[0], y.half[0], z.half[0]);
  z.half[1] = _mm256_fmadd_ps(x.half[1], y.half[1], z.half[1]);
  return z.lanes;
}

}  // namespace
}  // namespace quantfleet

#include "backends/kernels/cpu/train_ops_body.h"

namespace quantfleet {

extern const TrainOps kTrainOpsAvx2;
const TrainOps kTrainOpsAvx2 = train_ops_named("avx2");

}  // namespace quantfleet
