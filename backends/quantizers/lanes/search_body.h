// The searches for W sub-blocks at once, W being the including file's register width in floats: lane j of a vector is sub-block
// j and does the same operations in the same order as the scalar search. Nothing here crosses a file but the table at the end.
#include "backends/quantizers/lanes/searches.h"

#include <cstdint>

namespace quantfleet {
namespace {

#define QF_INLINE [[gnu::always_inline]] static inline

constexpr float kNothing = 1e-15f;        // as in scale_search.cc
constexpr float kSmallestRange = 1e-36f;
constexpr float kRound = 12582912.0f;     // 1.5 * 2^23: adding it rounds half to even and leaves the code in the low bits

// 0 .. N - 1 as a parameter pack.
template <int... I>
struct Places {};
template <int N, int... I>
struct PlacesTo : PlacesTo<N - 1, N - 1, I...> {};
template <int... I>
struct PlacesTo<0, I...> {
  using type = Places<I...>;
};

// W floats or integers; a comparison gives integers, all bits set where it holds.
template <int W>
struct Lanes {
  typedef float Floats __attribute__((vector_size(4 * W)));
  typedef std::int32_t Ints __attribute__((vector_size(4 * W)));

  QF_INLINE Floats all(float value) { return Floats{} + value; }
  QF_INLINE Ints all(std::int32_t value) { return Ints{} + value; }
  QF_INLINE Floats load(const float* p) {
    Floats values;
    __builtin_memcpy(&values, p, sizeof values);
    return values;
  }
  template <class V>
  QF_INLINE void store(V values, void* p) {
    __builtin_memcpy(p, &values, sizeof values);
  }
  QF_INLINE Floats absolute(Floats values) { return (Floats)((Ints)values & 0x7fffffff); }
  QF_INLINE Floats root(Floats values) {
    float each[W];
    store(values, each);
    for (int j = 0; j < W; ++j) each[j] = __builtin_sqrtf(each[j]);
    return load(each);
  }
  QF_INLINE Floats to_floats(Ints values) { return (Floats)(values + 0x4b400000) - kRound; }  // codes are small
  // nearest_code, and nearest_code_within as a float plus kRound.
  QF_INLINE Ints nearest(Floats values) { return ((Ints)(values + kRound) & 0x007fffff) - 0x00400000; }
  QF_INLINE Floats nearest_within(Floats values, Floats low, Floats high) {
    values = values > low ? values : low;  // NaN becomes low
    return (values < high ? values : high) + kRound;
  }
  QF_INLINE Ints clamp(Ints values, std::int32_t low, std::int32_t high) {
    values = values < low ? all(low) : values;
    return values > high ? all(high) : values;
  }

  template <class V, int... I>
  QF_INLINE V low_halves(V a, V b, Places<I...>) { return __builtin_shufflevector(a, b, ((I % 2) * W + I / 2)...); }
  template <class V, int... I>
  QF_INLINE V high_halves(V a, V b, Places<I...>) { return __builtin_shufflevector(a, b, ((I % 2) * W + W / 2 + I / 2)...); }

  // v as one array of n W elements: the element at index p goes to the index whose bits are p's, rotated left by kBits. So a
  // matrix of 2^kBits rows becomes its transpose: each perfect shuffle of the two halves rotates by one.
  template <int kBits, int n, class V>
  QF_INLINE void rotate_indices(V (&v)[n]) {
    V next[n];
#pragma GCC unroll 8
    for (int bit = 0; bit < kBits; ++bit) {
#pragma GCC unroll 32
      for (int i = 0; i < n / 2; ++i) {
        next[2 * i] = low_halves(v[i], v[i + n / 2], typename PlacesTo<W>::type{});
        next[2 * i + 1] = high_halves(v[i], v[i + n / 2], typename PlacesTo<W>::type{});
      }
#pragma GCC unroll 32
      for (int i = 0; i < n; ++i) v[i] = next[i];
    }
  }
  static constexpr int kBits = W == 4 ? 2 : W == 8 ? 3 : 4;

  // x [W][n], sub-block after sub-block, to lanes.
  template <int n>
  QF_INLINE void load_transposed(const float* x, Floats (&lanes)[n]) {
    for (int i = 0; i < n; ++i) lanes[i] = load(x + W * i);
    rotate_indices<kBits>(lanes);
  }
  // Codes, one a lane, to bytes [W][n]. Only the low eight bits of each count.
  template <int n>
  QF_INLINE void store_transposed(const Ints (&codes)[n], std::uint8_t* out) {
    Ints words[n / 4];  // four codes of one sub-block
    for (int i = 0; i < n / 4; ++i)
      words[i] = (codes[4 * i] & 255) | (codes[4 * i + 1] & 255) << 8 | (codes[4 * i + 2] & 255) << 16 | codes[4 * i + 3] << 24;
    rotate_indices<n == 32 ? 3 : 2>(words);
    for (int i = 0; i < n / 4; ++i) store(words[i], out + 4 * W * i);
  }
};

template <int W, int n, bool kAbsoluteError>
QF_INLINE void with_minimum(const float* all_x, const float* all_weights, int code_max, const Candidates& candidates, float* scales,
                            float* minima, std::uint8_t* codes_out) {
  using L = Lanes<W>;
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  Floats x[n], weights[n];
  L::load_transposed(all_x, x);
  if (all_weights) {
    L::load_transposed(all_weights, weights);
  } else {
    Floats rms{};
    if constexpr (n == 32) {
      Floats sum_squares{};
      for (int i = 0; i < n; ++i) sum_squares += x[i] * x[i];
      rms = L::root(sum_squares / 32.0f);
    }
    for (int i = 0; i < n; ++i) weights[i] = rms + L::absolute(x[i]);
  }
  Floats low = x[0], high = x[0], sum_w = weights[0], sum_x = sum_w * x[0];
  for (int i = 1; i < n; ++i) {
    low = x[i] < low ? x[i] : low;
    high = high < x[i] ? x[i] : high;
    sum_w += weights[i];
    sum_x += weights[i] * x[i];
  }
  low = Floats{} < low ? Floats{} : low;
  const Ints has_range = high - low > kSmallestRange;
  const Floats flat_minimum = -low;
  const Floats last_code = L::all(static_cast<float>(code_max));
  const auto error_of = [&](Floats scale, Floats minimum, const Floats(&codes)[n]) __attribute__((always_inline)) {
    Floats error{};
    for (int i = 0; i < n; ++i) {
      const Floats difference = scale * codes[i] + minimum - x[i];
      error += weights[i] * (kAbsoluteError ? L::absolute(difference) : difference * difference);
    }
    return error;
  };
  // The codes of the best candidate are those of best_inverse * (x - best_base).
  Floats codes[n], best_inverse = last_code / (high - low), best_base = low;
  Floats scale = 1.0f / best_inverse;
  for (int i = 0; i < n; ++i) codes[i] = L::nearest_within(best_inverse * (x[i] - low), Floats{}, last_code) - kRound;
  Floats best = error_of(scale, low, codes);
  for (int step = 0; step <= candidates.count; ++step) {
    const Floats inverse = (candidates.first + candidates.step * static_cast<float>(step) + last_code) / (high - low);
    Floats sum_l{}, sum_l2{}, sum_xl{};
    for (int i = 0; i < n; ++i) {
      const Floats code = L::nearest_within(inverse * (x[i] - low), Floats{}, last_code) - kRound;
      const Floats weighted = weights[i] * code;
      codes[i] = code;
      sum_l += weighted;
      sum_l2 += weighted * code;
      sum_xl += weighted * x[i];
    }
    const Floats determinant = sum_w * sum_l2 - sum_l * sum_l;
    Floats trial_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    Floats trial_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    const Ints above = trial_low > 0.0f;
    trial_scale = above ? sum_xl / sum_l2 : trial_scale;
    trial_low = above ? Floats{} : trial_low;
    const Floats error = error_of(trial_scale, trial_low, codes);
    const Ints better = (determinant > 0.0f) & (error < best);
    best = better ? error : best;
    best_inverse = better ? inverse : best_inverse;
    best_base = better ? low : best_base;
    scale = better ? trial_scale : scale;
    low = better ? trial_low : low;
  }
  Ints stored[n];
  for (int i = 0; i < n; ++i)
    stored[i] = (Ints)L::nearest_within(best_inverse * (x[i] - best_base), Floats{}, last_code) & has_range;
  L::store_transposed(stored, codes_out);
  L::store(has_range ? scale : Floats{}, scales);
  L::store(has_range ? -low : flat_minimum, minima);
}

template <int W, int kCount>
QF_INLINE void all_with_minimum(const float* x, const float* weights, int code_max, const Candidates& candidates, float* scales,
                                float* minima, std::uint8_t* codes) {
  constexpr int n = 256 / kCount;
  for (int j = 0; j < kCount; j += W) {
    const float* part = weights ? weights + n * j : nullptr;
    if (candidates.absolute_error)
      with_minimum<W, n, true>(x + n * j, part, code_max, candidates, scales + j, minima + j, codes + n * j);
    else
      with_minimum<W, n, false>(x + n * j, part, code_max, candidates, scales + j, minima + j, codes + n * j);
  }
}

// The value of largest magnitude in every lane, the first one on ties.
template <class L>
QF_INLINE typename L::Floats signed_extreme(const typename L::Floats (&x)[16]) {
  typename L::Floats largest{}, extreme{};
  for (int i = 0; i < 16; ++i) {
    const typename L::Ints above = L::absolute(x[i]) > largest;
    largest = above ? L::absolute(x[i]) : largest;
    extreme = above ? x[i] : extreme;
  }
  return extreme;
}

template <int W>
QF_INLINE void symmetric(const float* all_x, int code_limit, const float* all_weights, float* scales, std::uint8_t* codes_out) {
  using L = Lanes<W>;
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  Floats x[16], weights[16], weighted[16];
  L::load_transposed(all_x, x);
  if (all_weights) L::load_transposed(all_weights, weights);
  else
    for (int i = 0; i < 16; ++i) weights[i] = x[i] * x[i];
  for (int i = 0; i < 16; ++i) weighted[i] = weights[i] * x[i];
  const Floats extreme = signed_extreme<L>(x);
  const Ints nothing = L::absolute(extreme) < kNothing;
  const auto limit = static_cast<float>(code_limit);
  const Floats low = L::all(-limit), high = L::all(limit - 1);
  Floats scale{}, best{}, best_inverse{};
  for (int candidate = 0; candidate < 19; ++candidate) {
    const int step = candidate == 0 ? 0 : candidate - (candidate <= 9 ? 10 : 9);  // 0, -9 .. -1, 1 .. 9
    const Floats inverse = (step == 0 ? -limit : -(limit + 0.1f * static_cast<float>(step))) / extreme;
    Floats sum_lx{}, sum_l2{};
    for (int i = 0; i < 16; ++i) {
      const Floats code = L::nearest_within(inverse * x[i], low, high) - kRound;
      sum_lx += weighted[i] * code;
      sum_l2 += weights[i] * code * code;
    }
    const Ints better = candidate == 0 ? L::all(-1) : (sum_l2 > 0.0f) & (sum_lx * sum_lx > best * sum_l2);
    const Floats fitted = sum_l2 != 0.0f ? sum_lx / sum_l2 : Floats{};
    scale = better ? fitted : scale;
    best = better ? fitted * sum_lx : best;
    best_inverse = better ? inverse : best_inverse;
  }
  Ints codes[16];
  for (int i = 0; i < 16; ++i)
    codes[i] = nothing ? Ints{} : (Ints)L::nearest_within(best_inverse * x[i], low, high) + code_limit;
  L::store_transposed(codes, codes_out);
  L::store(nothing ? Floats{} : scale, scales);
}

template <int W>
QF_INLINE void by_descent(const float* all_x, int code_limit, float* scales, std::uint8_t* codes_out) {
  using L = Lanes<W>;
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  Floats x[16];
  L::load_transposed(all_x, x);
  const Floats extreme = signed_extreme<L>(x);
  const Ints nothing = L::absolute(extreme) < kNothing;
  const Floats inverse = -static_cast<float>(code_limit) / extreme;
  Ints codes[16];
  Floats sum_lx{}, sum_l2{};
  for (int i = 0; i < 16; ++i) {
    codes[i] = L::clamp(L::nearest(inverse * x[i]), -code_limit, code_limit - 1);
    const Floats code = L::to_floats(codes[i]), weight = x[i] * x[i];
    sum_lx += weight * x[i] * code;
    sum_l2 += weight * code * code;
  }
  for (int sweep = 0; sweep < 5; ++sweep)  // a lane that has come to rest stays as it is
    for (int i = 0; i < 16; ++i) {
      const Floats weight = x[i] * x[i], code = L::to_floats(codes[i]);
      Floats lx = sum_lx - weight * x[i] * code;
      const Ints positive = lx > 0.0f;
      Floats l2 = sum_l2 - weight * code * code;
      const Ints candidate = L::clamp(L::nearest(x[i] * l2 / lx), -code_limit, code_limit - 1);
      const Floats new_code = L::to_floats(candidate);
      lx += weight * x[i] * new_code;
      l2 += weight * new_code * new_code;
      const Ints better = positive & (candidate != codes[i]) & (l2 > 0.0f) & (lx * lx * sum_l2 > sum_lx * sum_lx * l2);
      codes[i] = better ? candidate : codes[i];
      sum_lx = better ? lx : sum_lx;
      sum_l2 = better ? l2 : sum_l2;
    }
  for (int i = 0; i < 16; ++i) codes[i] = nothing ? Ints{} : codes[i] + code_limit;
  L::store_transposed(codes, codes_out);
  L::store(nothing ? Floats{} : sum_l2 > 0.0f ? sum_lx / sum_l2 : Floats{}, scales);
}

// Codes of values in a row, not of lanes: the same division, rounding and bounds as super_block.cc has them.
template <int W>
QF_INLINE void assign(const float* x, int n, float scale, float minimum, int low, int high, int zero, std::uint8_t* codes) {
  using L = Lanes<W>;
  std::int32_t words[32];
  for (int i = 0; i < n; i += W)
    L::store(L::clamp(L::nearest((L::load(x + i) + minimum) / scale), low, high) + zero, words + i);
  for (int i = 0; i < n; ++i) codes[i] = static_cast<std::uint8_t>(words[i]);
}

void with_minimum_8(const float* x, const float* weights, int code_max, const Candidates& candidates, float* scales, float* minima,
                    std::uint8_t* codes) {
  all_with_minimum<kWidth == 16 ? 8 : kWidth, 8>(x, weights, code_max, candidates, scales, minima, codes);
}
void with_minimum_16(const float* x, const float* weights, int code_max, const Candidates& candidates, float* scales, float* minima,
                     std::uint8_t* codes) {
  all_with_minimum<kWidth, 16>(x, weights, code_max, candidates, scales, minima, codes);
}
void all_symmetric(const float* x, int code_limit, const float* weights, float* scales, std::uint8_t* codes) {
  for (int j = 0; j < 16; j += kWidth)
    symmetric<kWidth>(x + 16 * j, code_limit, weights ? weights + 16 * j : nullptr, scales + j, codes + 16 * j);
}
void all_by_descent(const float* x, int code_limit, float* scales, std::uint8_t* codes) {
  for (int j = 0; j < 16; j += kWidth) by_descent<kWidth>(x + 16 * j, code_limit, scales + j, codes + 16 * j);
}
void assign_unsigned(const float* x, int count, const float* scales, const float* minima, int code_max, std::uint8_t* codes) {
  const int n = 256 / count;
  for (int j = 0; j < count; ++j)
    if (scales[j] != 0) assign<kWidth>(x + n * j, n, scales[j], minima[j], 0, code_max, 0, codes + n * j);
}
void assign_signed(const float* x, int count, const float* scales, int code_limit, std::uint8_t* codes) {
  const int n = 256 / count;
  for (int j = 0; j < count; ++j)
    if (scales[j] != 0) assign<kWidth>(x + n * j, n, scales[j], 0.0f, -code_limit, code_limit - 1, code_limit, codes + n * j);
}

float table_places(const float* x, int n, const float* edges, std::uint8_t* places) {
  using L = Lanes<kWidth>;
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  const int whole = n / kWidth * kWidth;
  Floats magnitudes{};
  for (int i = 0; i < whole; i += kWidth) {
    const Floats magnitude = L::absolute(L::load(x + i));
    magnitudes = magnitude > magnitudes ? magnitude : magnitudes;
  }
  float each[kWidth], largest = 0;
  L::store(magnitudes, each);
  for (int j = 0; j < kWidth; ++j) largest = each[j] > largest ? each[j] : largest;
  for (int i = whole; i < n; ++i) largest = __builtin_fabsf(x[i]) > largest ? __builtin_fabsf(x[i]) : largest;
  const float inverse = 1.0f / (largest > 1e-38f ? largest : 1e-38f);
  Floats edge[15];
  for (int j = 0; j < 15; ++j) edge[j] = L::all(edges[j]);
  std::int32_t words[64];
  for (int begin = 0; begin < whole; begin += 64) {
    const int count = whole - begin < 64 ? whole - begin : 64;
    for (int i = 0; i < count; i += kWidth) {
      const Floats value = L::load(x + begin + i) * inverse;
      Ints place{};
#pragma GCC unroll 15
      for (int j = 0; j < 15; ++j) place -= value > edge[j];
      L::store(place, words + i);
    }
    for (int i = 0; i < count; ++i) places[begin + i] = static_cast<std::uint8_t>(words[i]);
  }
  for (int i = whole; i < n; ++i) {
    const float value = x[i] * inverse;
    int place = 0;
    for (int j = 0; j < 15; ++j) place += value > edges[j];
    places[i] = static_cast<std::uint8_t>(place);
  }
  return largest;
}

constexpr LaneSearches searches_named(const char* name) {
  return {name, with_minimum_8, with_minimum_16, all_symmetric, all_by_descent, assign_unsigned, assign_signed, table_places};
}

}  // namespace
}  // namespace quantfleet
