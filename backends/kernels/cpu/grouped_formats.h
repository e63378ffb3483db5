// The kinds of codes under group scales, as constants that vector kernels are compiled for. Layout: grouped_task.h.
#pragma once

#include "backends/kernels/cpu/grouped_task.h"

#define QF_INLINE [[gnu::always_inline]] static inline
#define QF_INLINE_MEMBER [[gnu::always_inline]] inline

namespace quantfleet::grouped_formats {

// Codes of a string (grouped_task.h) are read through windows of 32 bits that begin every sixteen: a code lies within bits 0 to 22 of one.
template <int kBits>
inline constexpr int kWindows = 7 * kBits / 16 + 1;

// Places of codes in a window repeat after so many columns.
template <int kBits>
inline constexpr int kPeriod = kBits == 8 ? 2 : kBits == 4 ? 4 : 8;

// What FP8 numbers come out divided by when their bits are read as an F32's, whose exponents begin lower.
template <int kNumbers>
inline constexpr float kDivided = kNumbers == 2 ? 0x1p120f : kNumbers == 3 ? 0x1p112f : 1.0f;
inline constexpr float kTakesDivisor = 128;  // a scale below it can be multiplied by that instead

enum class Zeros { kNone, kAny, kWhole };  // kWhole: integers

// Calls body<bits, numbers>() for a task's codes.  numbers: 0 integers, 1 table, 2 E4M3, 3 E5M2, as CodeNumbers
template <class Body>
QF_INLINE void for_codes(const GroupedTask& task, Body body) {
  switch (task.numbers * 16 + task.bits) {
    case 1: return body.template operator()<1, 0>();
    case 2: return body.template operator()<2, 0>();
    case 3: return body.template operator()<3, 0>();
    case 4: return body.template operator()<4, 0>();
    case 5: return body.template operator()<5, 0>();
    case 6: return body.template operator()<6, 0>();
    case 7: return body.template operator()<7, 0>();
    case 8: return body.template operator()<8, 0>();
    case 17: return body.template operator()<1, 1>();
    case 20: return body.template operator()<4, 1>();
    case 40: return body.template operator()<8, 2>();
    case 56: return body.template operator()<8, 3>();
    default: return;
  }
}

}  // namespace quantfleet::grouped_formats
