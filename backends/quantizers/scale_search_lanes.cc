#include "backends/quantizers/scale_search_lanes.h"

#include <cstring>

namespace quantfleet {

namespace {

#define QF_INLINE [[gnu::always_inline]] static inline

constexpr float kNothing = 1e-15f;        // as in scale_search.cc
constexpr float kSmallestRange = 1e-36f;

// Vectors of kCount floats and of as many integers; a comparison gives integers, all bits set where it holds.
template <int kCount>
struct Lanes {
  typedef float Floats __attribute__((vector_size(4 * kCount)));
  typedef std::int32_t Ints __attribute__((vector_size(4 * kCount)));
  static constexpr int kValues = 256 / kCount;  // of a sub-block

  QF_INLINE Floats all(float value) { return Floats{} + value; }
  QF_INLINE Ints all(std::int32_t value) { return Ints{} + value; }
  QF_INLINE Floats to_floats(Ints values) { return (Floats)(values + 0x4b400000) - 12582912.0f; }  // codes are small
  QF_INLINE Floats absolute(Floats values) { return (Floats)((Ints)values & 0x7fffffff); }
  QF_INLINE Ints nearest(Floats values) { return ((Ints)(values + 12582912.0f) & 0x007fffff) - 0x00400000; }
  QF_INLINE Ints clamp(Ints values, std::int32_t low, std::int32_t high) {
    values = values < low ? all(low) : values;
    return values > high ? all(high) : values;
  }
  QF_INLINE void load(const float* x, Floats (&lanes)[kValues]) {
    for (int i = 0; i < kValues; ++i)
      for (int j = 0; j < kCount; ++j) lanes[i][j] = x[j * kValues + i];
  }
  QF_INLINE void store(const Ints (&codes)[kValues], int offset, std::uint8_t* out) {
    for (int i = 0; i < kValues; ++i)
      for (int j = 0; j < kCount; ++j) out[j * kValues + i] = static_cast<std::uint8_t>(codes[i][j] + offset);
  }
  QF_INLINE void store(Floats values, float* out) { std::memcpy(out, &values, sizeof values); }
};

template <int kCount>
QF_INLINE void with_minimum(const float* all_x, const float* all_weights, int code_max, const Candidates& candidates, float* scales,
                            float* mins, std::uint8_t* codes_out) {
  using L = Lanes<kCount>;
  using Floats = typename L::Floats;
  using Ints = typename L::Ints;
  constexpr int n = L::kValues;
  Floats x[n], weights[n];
  L::load(all_x, x);
  L::load(all_weights, weights);
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
  Ints codes[n], trial[n];
  const auto round_all = [&](Floats inverse, Floats minimum, Ints(&out)[n]) __attribute__((always_inline)) {
    for (int i = 0; i < n; ++i) out[i] = L::clamp(L::nearest(inverse * (x[i] - minimum)), 0, code_max);
  };
  const auto error_of = [&](Floats scale, Floats minimum, const Ints(&from)[n]) __attribute__((always_inline)) {
    Floats error{};
    for (int i = 0; i < n; ++i) {
      const Floats difference = scale * L::to_floats(from[i]) + minimum - x[i];
      error += weights[i] * (candidates.absolute_error ? L::absolute(difference) : difference * difference);
    }
    return error;
  };
  Floats scale = 1.0f / (last_code / (high - low));
  round_all(last_code / (high - low), low, codes);
  Floats best = error_of(scale, low, codes);
  for (int step = 0; step <= candidates.count; ++step) {
    const Floats inverse = (candidates.first + candidates.step * static_cast<float>(step) + last_code) / (high - low);
    round_all(inverse, low, trial);
    Floats sum_l{}, sum_l2{}, sum_xl{};
    for (int i = 0; i < n; ++i) {
      const Floats code = L::to_floats(trial[i]);
      sum_l += weights[i] * code;
      sum_l2 += weights[i] * code * code;
      sum_xl += weights[i] * code * x[i];
    }
    const Floats determinant = sum_w * sum_l2 - sum_l * sum_l;
    Floats trial_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
    Floats trial_low = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
    const Ints above = trial_low > 0.0f;
    trial_scale = above ? sum_xl / sum_l2 : trial_scale;
    trial_low = above ? Floats{} : trial_low;
    const Floats error = error_of(trial_scale, trial_low, trial);
    const Ints better = (determinant > 0.0f) & (error < best);
    for (int i = 0; i < n; ++i) codes[i] = better ? trial[i] : codes[i];
    best = better ? error : best;
    scale = better ? trial_scale : scale;
    low = better ? trial_low : low;
  }
  for (int i = 0; i < n; ++i) codes[i] &= has_range;
  L::store(codes, 0, codes_out);
  L::store(has_range ? scale : Floats{}, scales);
  L::store(has_range ? -low : flat_minimum, mins);
}

// The value of largest magnitude in every lane, the first one on ties.
template <class L>
QF_INLINE typename L::Floats signed_extreme(const typename L::Floats (&x)[L::kValues]) {
  typename L::Floats largest{}, extreme{};
  for (int i = 0; i < L::kValues; ++i) {
    const typename L::Ints above = L::absolute(x[i]) > largest;
    largest = above ? L::absolute(x[i]) : largest;
    extreme = above ? x[i] : extreme;
  }
  return extreme;
}

QF_INLINE void symmetric(const float* all_x, int code_limit, const float* all_weights, float* scales, std::uint8_t* codes_out) {
  using L = Lanes<16>;
  using Floats = L::Floats;
  using Ints = L::Ints;
  Floats x[16], weights[16];
  L::load(all_x, x);
  if (all_weights) L::load(all_weights, weights);
  else
    for (int i = 0; i < 16; ++i) weights[i] = x[i] * x[i];
  const Floats extreme = signed_extreme<L>(x);
  const Ints nothing = L::absolute(extreme) < kNothing;
  const auto limit = static_cast<float>(code_limit);
  Floats scale{}, best{}, best_inverse{};
  for (int candidate = 0; candidate < 19; ++candidate) {
    const int step = candidate == 0 ? 0 : candidate - (candidate <= 9 ? 10 : 9);  // 0, -9 .. -1, 1 .. 9
    const Floats inverse = (step == 0 ? -limit : -(limit + 0.1f * static_cast<float>(step))) / extreme;
    Floats sum_lx{}, sum_l2{};
    for (int i = 0; i < 16; ++i) {
      const Floats code = L::to_floats(L::clamp(L::nearest(inverse * x[i]), -code_limit, code_limit - 1));
      sum_lx += weights[i] * x[i] * code;
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
    codes[i] = nothing ? Ints{} : L::clamp(L::nearest(best_inverse * x[i]), -code_limit, code_limit - 1) + code_limit;
  L::store(codes, 0, codes_out);
  L::store(nothing ? Floats{} : scale, scales);
}

QF_INLINE void by_descent(const float* all_x, int code_limit, float* scales, std::uint8_t* codes_out) {
  using L = Lanes<16>;
  using Floats = L::Floats;
  using Ints = L::Ints;
  Floats x[16];
  L::load(all_x, x);
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
  L::store(codes, 0, codes_out);
  L::store(nothing ? Floats{} : sum_l2 > 0.0f ? sum_lx / sum_l2 : Floats{}, scales);
}

// The same three for one instruction set.
#define QF_SEARCHES(name, ...)                                                                                                     \
  __VA_ARGS__ void with_minimum_8_##name(const float* x, const float* w, int code_max, const Candidates& c, float* s, float* m,    \
                                         std::uint8_t* q) { with_minimum<8>(x, w, code_max, c, s, m, q); }                         \
  __VA_ARGS__ void with_minimum_16_##name(const float* x, const float* w, int code_max, const Candidates& c, float* s, float* m,   \
                                          std::uint8_t* q) { with_minimum<16>(x, w, code_max, c, s, m, q); }                       \
  __VA_ARGS__ void symmetric_##name(const float* x, int limit, const float* w, float* s, std::uint8_t* q) { symmetric(x, limit, w, s, q); } \
  __VA_ARGS__ void by_descent_##name(const float* x, int limit, float* s, std::uint8_t* q) { by_descent(x, limit, s, q); }         \
  constexpr Searches k_##name{with_minimum_8_##name, with_minimum_16_##name, symmetric_##name, by_descent_##name};

struct Searches {
  void (*with_minimum_8)(const float*, const float*, int, const Candidates&, float*, float*, std::uint8_t*);
  void (*with_minimum_16)(const float*, const float*, int, const Candidates&, float*, float*, std::uint8_t*);
  void (*symmetric)(const float*, int, const float*, float*, std::uint8_t*);
  void (*by_descent)(const float*, int, float*, std::uint8_t*);
};

QF_SEARCHES(base)
#if defined(__x86_64__)
QF_SEARCHES(avx2, __attribute__((target("avx2"))))
QF_SEARCHES(avx512, __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,prefer-vector-width=512"))))

const Searches& searches() {
  static const Searches& best = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") ? k_avx512
                                : __builtin_cpu_supports("avx2") ? k_avx2
                                                                 : k_base;
  return best;
}
#else
const Searches& searches() { return k_base; }
#endif

}  // namespace

void fit_all_with_minimum(const float x[256], const float weights[256], int count, int code_max, const Candidates& candidates,
                          float* scales, float* mins, std::uint8_t codes[256]) {
  (count == 8 ? searches().with_minimum_8 : searches().with_minimum_16)(x, weights, code_max, candidates, scales, mins, codes);
}

void fit_all_symmetric(const float x[256], int code_limit, const float* weights, float scales[16], std::uint8_t codes[256]) {
  searches().symmetric(x, code_limit, weights, scales, codes);
}

void fit_all_by_descent(const float x[256], int code_limit, float scales[16], std::uint8_t codes[256]) {
  searches().by_descent(x, code_limit, scales, codes);
}

}  // namespace quantfleet
