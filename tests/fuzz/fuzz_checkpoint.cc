// Any bytes as a training checkpoint: refused with a sentence or read, and on refusal nothing has changed.
#include "backends/training/checkpoint.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

using namespace quantfleet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int file = ::memfd_create("checkpoint", 0);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size)) std::abort();
  std::vector<float> weights(16, 1.0f), m(16, 2.0f), v(16, 3.0f);
  std::int64_t step = -1;
  const Status read = training::read_checkpoint("/proc/self/fd/" + std::to_string(file), "recipe", step, {weights, m, v});
  ::close(file);
  if (read) return 0;
  if (read.error().detail.empty() || step != -1 || weights != std::vector<float>(16, 1.0f) || m != std::vector<float>(16, 2.0f) ||
      v != std::vector<float>(16, 3.0f))
    std::abort();
  return 0;
}
