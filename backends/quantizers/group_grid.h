// The grids of GPTQ and AWQ: equally spaced values under one scale and zero point per group of inputs,
// value = scale (code - zero), codes of `bits` bits. Scales are rounded to binary16, as they are stored, before codes are chosen.
#pragma once

#include "backends/huggingface/linear_format.h"
#include "backends/kernels/thread_pool.h"
#include "contract/error.h"

#include <cstdint>
#include <span>

namespace quantfleet {

struct GroupGrid {
  float scale = 1;
  int zero = 0;
  int code_max = 15;

  int code_of(float value) const;
  float value_of(int code) const { return scale * static_cast<float>(code - zero); }
};

// Symmetric: scale = 2 max|w| / (2^bits - 1), zero = 2^(bits - 1). Otherwise the range of the values, with zero in it.
// search: of 80 shares of that range, 1, 0.99 .. 0.21, the first whose squared rounding error is least.
GroupGrid fit_group(const float* values, std::int64_t count, int bits, bool symmetric, bool search = false);

// Round to nearest: no error feedback.  weights [N, K], replaced by the values of their codes. group_size divides K.
huggingface::GroupedCodes round_groups(std::span<float> weights, std::int64_t rows, std::int64_t columns, int bits, std::int64_t group_size,
                                       bool symmetric, ThreadPool& pool, bool search = false);

}  // namespace quantfleet
