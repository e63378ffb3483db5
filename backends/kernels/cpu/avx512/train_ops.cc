// The operations of training, compiled for this folder's instruction set.
#include "backends/kernels/cpu/train_ops_lanes.h"

#include <immintrin.h>

namespace quantfleet {
namespace {

// a * b + c, rounded once.
[[gnu::always_inline]] inline Lanes fused(Lanes a, Lanes b, Lanes c) {
  return reinterpret_cast<Lanes>(
      _mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
}

}  // namespace
}  // namespace quantfleet

#include "backends/kernels/cpu/train_ops_body.h"

namespace quantfleet {

extern const TrainOps kTrainOpsAvx512;
const TrainOps kTrainOpsAvx512 = train_ops_named("avx512");

}  // namespace quantfleet
