// The searches of scale_search.h and the assignment of codes, as one instruction set computes them: plain pointers, because the
// files of this folder are compiled for one instruction set each and define no inline function that others could get.
#pragma once

#include "backends/quantizers/scale_search.h"

#include <cstdint>
#include <span>

namespace quantfleet {

// x, weights, codes: [256], a super-block of 8 sub-blocks of 32 values or 16 of 16; scales, minima [8] or [16].
struct LaneSearches {
  const char* name;
  // weights nullptr: rms of the sub-block + |x| for 8 sub-blocks, |x| for 16.
  void (*with_minimum_8)(const float* x, const float* weights, int code_max, const Candidates& candidates, float* scales,
                         float* minima, std::uint8_t* codes);
  void (*with_minimum_16)(const float* x, const float* weights, int code_max, const Candidates& candidates, float* scales,
                          float* minima, std::uint8_t* codes);
  void (*symmetric)(const float* x, int code_limit, const float* weights, float* scales, std::uint8_t* codes);
  void (*by_descent)(const float* x, int code_limit, float* scales, std::uint8_t* codes);
  // code = (x + minimum) / scale, or x / scale + code_limit; sub-blocks whose scale is zero keep their codes.
  void (*assign_unsigned)(const float* x, int count, const float* scales, const float* minima, int code_max, std::uint8_t* codes);
  void (*assign_signed)(const float* x, int count, const float* scales, int code_limit, std::uint8_t* codes);
  // The largest magnitude of x [n], and of each value over it how many of the ascending edges [15] it lies above.
  float (*table_places)(const float* x, int n, const float* edges, std::uint8_t* places);
};

std::span<const LaneSearches* const> available_lane_searches();  // what this CPU runs, best first

}  // namespace quantfleet
