// The searches of scale_search.h for all sub-blocks of a super-block at once: lane j of a vector is sub-block j, and does the same
// operations in the same order as the scalar search, so the bytes are the same. Compiled for AVX-512, AVX2 and the base
// instruction set (SSE2, NEON); the best that the CPU has is used.
#pragma once

#include "backends/quantizers/scale_search.h"

#include <cstdint>

namespace quantfleet {

// count: 8 sub-blocks of 32 values, or 16 of 16.  x, codes [256];  scales, mins [count].
// weights [256], or nullptr for the k-quants' own without importance: with 8 sub-blocks their rms + |x|, with 16 |x|.
void fit_all_with_minimum(const float x[256], const float* weights, int count, int code_max, const Candidates& candidates,
                          float* scales, float* mins, std::uint8_t codes[256]);

// 16 sub-blocks of 16.  weights [256], or nullptr for each value's own square.
void fit_all_symmetric(const float x[256], int code_limit, const float* weights, float scales[16], std::uint8_t codes[256]);
void fit_all_by_descent(const float x[256], int code_limit, float scales[16], std::uint8_t codes[256]);

// Codes for given scales: (x + minimum) / scale in 0 .. code_max, or x / scale + code_limit. Sub-blocks whose scale is zero keep
// their codes.
void assign_all_unsigned(const float x[256], int count, const float* scales, const float* mins, int code_max, std::uint8_t codes[256]);
void assign_all_signed(const float x[256], const float scales[16], int code_limit, std::uint8_t codes[256]);

// The largest magnitude of x [n]. places [n]: how many of the ascending edges [15] each value lies above, taken as x * (1 / largest).
float places_in_table(const float* x, int n, const float edges[15], std::uint8_t* places);

}  // namespace quantfleet
