// Any text may be submitted as a plan: it is refused in a sentence, or its canonical text reads back as the same plan.
#include "contract/job_spec.h"

#include <cstdlib>

using namespace quantfleet;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto& spec : {job_spec_from_yaml(text, "fuzz.yaml"), job_spec_from_json(text, "fuzz.json")}) {
    if (!spec) continue;
    const std::string canonical = canonical_json(*spec);
    const auto again = job_spec_from_json(canonical, "canonical");
    if (!again || canonical_json(*again) != canonical) std::abort();
  }
  return 0;
}
