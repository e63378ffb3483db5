// The formats whose weights are integers under a scale, and how to read them as such (numerics.md rules 1, 2).
// A format's floats are defined in backends/formats; the same bits are read here as codes, sub-scales and minima.
#pragma once

#include "backends/kernels/cpu/tasks.h"

namespace quantfleet {

const IntegerFormat* find_integer_format(std::uint32_t ggml_type);  // nullptr: f32 activations only

}  // namespace quantfleet
