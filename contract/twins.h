// Fresh twins: "math~20261125" is the suite "math" with new items of the same difficulty classes, made from that seed. Item by item
// the twin has its original's id, so within a run both can be paired; another seed gives other items.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace quantfleet {

inline constexpr std::string_view kSuitesWithTwins[] = {"reasoning", "math"};  // made by models/reference/corpus

struct TwinName {
  std::string original;
  std::uint64_t seed = 0;
};

bool has_twins(std::string_view suite);
std::string twin_name(std::string_view original, std::uint64_t seed);
bool is_twin(std::string_view suite);                      // its name says so
bool read_twin_name(std::string_view suite, TwinName& name);  // false: not of the form NAME~SEED with a suite that has twins

}  // namespace quantfleet
