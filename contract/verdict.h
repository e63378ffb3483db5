// The four answers to "did quantization cost accuracy?".
#pragma once

#include <string_view>

namespace quantfleet {

enum class Verdict {
  kSame,     // shown: not worse by more than the margin, and not shown better
  kWorse,    // shown: worse
  kBetter,   // shown: better
  kUnknown,  // too few items to show either
};

constexpr std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kSame: return "SAME";
    case Verdict::kWorse: return "WORSE";
    case Verdict::kBetter: return "BETTER";
    case Verdict::kUnknown: return "UNKNOWN";
  }
  return "UNKNOWN";
}

}  // namespace quantfleet
