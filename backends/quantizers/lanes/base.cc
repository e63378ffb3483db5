// The searches with 4 lanes, compiled for this file's instruction set.
namespace quantfleet {
namespace {
constexpr int kWidth = 4;
}
}  // namespace quantfleet

#include "backends/quantizers/lanes/search_body.h"

namespace quantfleet {

extern const LaneSearches kLaneSearchesBase;
const LaneSearches kLaneSearchesBase = searches_named("base");

}  // namespace quantfleet
