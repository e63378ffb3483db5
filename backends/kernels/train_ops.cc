#include "backends/kernels/train_ops.h"

#include "backends/kernels/cpu_features.h"

#include <string_view>

namespace quantfleet {

extern const TrainOps kTrainOpsScalar;
#if defined(__x86_64__)
extern const TrainOps kTrainOpsAvx2;
extern const TrainOps kTrainOpsAvx512;
#endif

const TrainOps* find_train_ops(const char* name) {
  const std::string_view wanted(name);
  const auto fits = [&](const TrainOps& ops, Cpu needs) { return (wanted == "auto" || wanted == ops.name) && cpu_has(needs); };
#if defined(__x86_64__)
  if (fits(kTrainOpsAvx512, Cpu::kAvx512Vnni)) return &kTrainOpsAvx512;
  if (fits(kTrainOpsAvx2, Cpu::kAvx2)) return &kTrainOpsAvx2;
#endif
  return fits(kTrainOpsScalar, Cpu::kNone) ? &kTrainOpsScalar : nullptr;
}

}  // namespace quantfleet
