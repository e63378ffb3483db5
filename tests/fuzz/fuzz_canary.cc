// A fuzzer that must fail: it aborts on a three-letter input that coverage guidance finds within seconds. If it passes,
// the fuzzing set-up does not show failures.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size >= 3 && data[0] == 'b' && data[1] == 'u' && data[2] == 'g') std::abort();
  return 0;
}
