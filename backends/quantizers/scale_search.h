// Searches for the scale (and minimum) of a small group of values: the part of a quantizer that decides its quality. Method:
// try a few scales around the one that maps the extreme value to the last code, round, refit the scale by weighted least
// squares, keep the best (the k-quants of llama.cpp). Pure functions in plain float arithmetic, sums in ascending order: the
// same bits on every CPU. Spec: docs/formats/quantizers.md
#pragma once

#include <cstdint>
#include <span>

namespace quantfleet {

// Rounds half to even; for |value| <= 4194303. Anything else, NaN included, gives some code but no undefined behaviour.
int nearest_code(float value);
// The same of the value kept within low .. high first; NaN gives low.
int nearest_code_within(float value, int low, int high);

// x ~ scale * (code - code_limit), code in 0 .. 2 * code_limit - 1; nineteen candidate scales.
// weights: one per value, or nullptr for the value's own square. Values all below 1e-15: codes 0, returns 0.
float fit_symmetric(std::span<const float> x, int code_limit, const float* weights, std::uint8_t* codes);

// The same model, weights x^2; one candidate scale, then up to five sweeps of coordinate descent over the codes (Q3_K).
float fit_by_descent(std::span<const float> x, int code_limit, std::uint8_t* codes);

// Candidates of fit_with_minimum: (first + step * i + code_max) codes over the range of x, i = 0 .. count.
struct Candidates {
  float first, step;
  int count;
  bool absolute_error = false;  // compare candidates by sum |error| instead of sum error^2
};
struct ScaleAndMinimum {
  float scale, minimum;  // minimum >= 0, it is subtracted
};
// x ~ scale * code - minimum, code in 0 .. code_max. A group without range: codes 0, scale 0.
ScaleAndMinimum fit_with_minimum(std::span<const float> x, const float* weights, int code_max, Candidates candidates,
                                 std::uint8_t* codes);

// x ~ scale * code, code in 0 .. code_max, x >= 0: quantizes the scales and minima of the sub-blocks themselves.
float fit_positive(std::span<const float> x, const float* weights, int code_max, std::uint8_t* codes);

}  // namespace quantfleet
