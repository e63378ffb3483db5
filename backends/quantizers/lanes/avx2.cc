// The searches with 8 lanes, compiled for this file's instruction set.
namespace quantfleet {
namespace {
constexpr int kWidth = 8;
}
}  // namespace quantfleet

#include "backends/quantizers/lanes/search_body.h"

namespace quantfleet {

extern const LaneSearches kLaneSearchesAvx2;
const LaneSearches kLaneSearchesAvx2 = searches_named("avx2");

}  // namespace quantfleet
