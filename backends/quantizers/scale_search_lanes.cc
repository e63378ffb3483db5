#include "backends/quantizers/scale_search_lanes.h"

#include "backends/quantizers/lanes/searches.h"

#include <vector>

namespace quantfleet {

extern const LaneSearches kLaneSearchesBase;
#if defined(__x86_64__)
extern const LaneSearches kLaneSearchesAvx2;
extern const LaneSearches kLaneSearchesAvx512;
#endif

std::span<const LaneSearches* const> available_lane_searches() {
  static const std::vector<const LaneSearches*> available = [] {
    std::vector<const LaneSearches*> list;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
      list.push_back(&kLaneSearchesAvx512);
    if (__builtin_cpu_supports("avx2")) list.push_back(&kLaneSearchesAvx2);
#endif
    list.push_back(&kLaneSearchesBase);
    return list;
  }();
  return available;
}

namespace {

const LaneSearches& searches() {
  static const LaneSearches& best = *available_lane_searches().front();
  return best;
}

}  // namespace

void fit_all_with_minimum(const float x[256], const float* weights, int count, int code_max, const Candidates& candidates,
                          float* scales, float* mins, std::uint8_t codes[256]) {
  (count == 8 ? searches().with_minimum_8 : searches().with_minimum_16)(x, weights, code_max, candidates, scales, mins, codes);
}

void fit_all_symmetric(const float x[256], int code_limit, const float* weights, float scales[16], std::uint8_t codes[256]) {
  searches().symmetric(x, code_limit, weights, scales, codes);
}

void fit_all_by_descent(const float x[256], int code_limit, float scales[16], std::uint8_t codes[256]) {
  searches().by_descent(x, code_limit, scales, codes);
}

void assign_all_unsigned(const float x[256], int count, const float* scales, const float* mins, int code_max, std::uint8_t codes[256]) {
  searches().assign_unsigned(x, count, scales, mins, code_max, codes);
}

void assign_all_signed(const float x[256], const float scales[16], int code_limit, std::uint8_t codes[256]) {
  searches().assign_signed(x, 16, scales, code_limit, codes);
}

float places_in_table(const float* x, int n, const float edges[15], std::uint8_t* places) { return searches().table_places(x, n, edges, places); }

}  // namespace quantfleet
