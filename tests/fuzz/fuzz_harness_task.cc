// Arbitrary bytes as a task of lm-evaluation-harness over one record: an error, or a task.yaml that is one.
#include "suites/harness_task.h"
#include "suites/task.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  if (size > 65536) return 0;
  const std::string_view yaml(reinterpret_cast<const char*>(data), size);
  const auto task = translate_harness_task(yaml, "task.yaml", R"({"question":"q","choices":["a","b"],"answer":1})", "", "knowledge");
  if (task.has_value()) (void)parse_task_yaml(task->task_yaml, "translated.yaml");
  return 0;
}
