// The searches with 16 lanes, compiled for this file's instruction set.
namespace quantfleet {
namespace {
constexpr int kWidth = 16;
}
}  // namespace quantfleet

#include "backends/quantizers/lanes/search_body.h"

namespace quantfleet {

extern const LaneSearches kLaneSearchesAvx512;
const LaneSearches kLaneSearchesAvx512 = searches_named("avx512");

}  // namespace quantfleet
