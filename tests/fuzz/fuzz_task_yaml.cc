// Arbitrary bytes as task.yaml and as items: an error or a task, never a crash. The first byte chooses.
#include "suites/prompt.h"
#include "suites/scorers/scorer.h"
#include "suites/task.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quantfleet;
  if (size == 0 || size > 65536) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2) {
    (void)ItemFile::of_text(std::string(text), "items.jsonl");
  } else if (const auto task = parse_task_yaml(text, "task.yaml"); task.has_value()) {
    (void)PromptBuilder::make(*task);
    (void)make_scorers(*task);
  }
  return 0;
}
