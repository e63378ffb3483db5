// Codes under group scales times one token, the same loops for all instruction sets: values go from the codes into the chains. Panels run
// side by side, because a chain waits for each of its sums.
//   Lanes: a family's vectors (its grouped_codes.h). Vector v of some panels has part v % kParts of panel v / kParts
#pragma once

#include "backends/kernels/cpu/grouped_formats.h"

namespace quantfleet::grouped_formats {

template <class Lanes, int kVectors>
struct Chains {
  typename Lanes::Vector sum[kVectors], scale[kVectors], zero[kVectors];
};

// read(v) and body(v, i) for vectors v and columns i of a chunk, in the order that leaves most in registers.
template <class Lanes, int kVectors, class Read, class Body>
QF_INLINE void for_chunk(Read read, Body body) {
  if constexpr (Lanes::kVectorByVector) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      read(v);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) body(v, i);
    }
  } else {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) read(v);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) body(v, i);
  }
}

// Columns [begin, end) of panels from `codes` on, all of a group.  less: of Zeros::kWhole what to take off raised codes.
// kExact: FP8 numbers themselves, for scales that cannot take their divisor.
template <class Lanes, int kBits, int kNumbers, Zeros kZeros, bool kExact, int kVectors, class Table>
QF_INLINE void multiply_group(const GroupedTask& task, const unsigned char* codes, std::int64_t begin, std::int64_t end, const Table& table,
                              const float (*less)[kVectors][Lanes::kRows], Chains<Lanes, kVectors>& chains) {
  const unsigned char* place = codes + 2 * kBits * begin;
  for (std::int64_t k = begin; k < end; k += 8, place += 16 * kBits) {
    typename Lanes::template CodesOf<kBits, kNumbers> chunk[kVectors];
    const auto read = [&](int v) __attribute__((always_inline)) { Lanes::read_stream(chunk[v], place + v / Lanes::kParts * task.panel_bytes, v % Lanes::kParts); };
    for_chunk<Lanes, kVectors>(read, [&](int v, int i) __attribute__((always_inline)) {
      typename Lanes::Vector value;
      if constexpr (kZeros == Zeros::kWhole) value = Lanes::sub(chunk[v].raised(i), Lanes::load(less[i % kPeriod<kBits>][v]));
      else value = chunk[v].value(i, table);
      if constexpr (kZeros == Zeros::kAny) value = Lanes::sub(value, chains.zero[v]);
      if constexpr (kExact) value = Lanes::mul(value, Lanes::all(kDivided<kNumbers>));
      chains.sum[v] = Lanes::fma(Lanes::mul(value, chains.scale[v]), task.x[k + i], chains.sum[v]);
    });
  }
}

template <class Lanes, int kPanels>
QF_INLINE void store_sums(const GroupedTask& task, int panel, const typename Lanes::Vector* sum) {
#pragma GCC unroll 8
  for (int v = 0; v < kPanels * Lanes::kParts; ++v) Lanes::store_rows(task, 16 * (panel + v / Lanes::kParts) + Lanes::kRows * (v % Lanes::kParts), sum[v]);
}

template <class Lanes, int kBits, int kNumbers, bool kZeros, int kPanels, class Table>
QF_INLINE void multiply_panels(const GroupedTask& task, int panel, const Table& table) {
  constexpr int kVectors = kPanels * Lanes::kParts;
  const unsigned char* codes = task.codes + panel * task.panel_bytes;
  alignas(64) float less[kPeriod<kBits>][kVectors][Lanes::kRows];
  Chains<Lanes, kVectors> chains;
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) chains.sum[v] = Lanes::all(0);
  for (std::int64_t group = 0, begin = 0; begin < task.end; ++group, begin += task.group_size) {
    bool all_whole = kNumbers == 0, all_take = true;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const std::int64_t at = (panel + v / Lanes::kParts) * task.panel_bytes;
      chains.scale[v] = Lanes::numbers(task, task.scales + at, group, v % Lanes::kParts);
      if constexpr (kNumbers >= 2) all_take = all_take && Lanes::take_divisor(chains.scale[v]);
      if constexpr (kZeros) chains.zero[v] = Lanes::numbers(task, task.zeros + at, group, v % Lanes::kParts);
      if constexpr (kZeros && kNumbers == 0) {
        all_whole = all_whole && Lanes::whole(chains.zero[v]);
        for (int i = 0; i < kPeriod<kBits>; ++i) Lanes::store(less[i][v], Lanes::add(table.of[i], chains.zero[v]));
      }
    }
    const std::int64_t end = task.end - begin < task.group_size ? task.end : begin + task.group_size;
    if constexpr (kNumbers >= 2) {
      if (!all_take) {
        multiply_group<Lanes, kBits, kNumbers, Zeros::kNone, true, kVectors>(task, codes, begin, end, table, less, chains);
        continue;
      }
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) chains.scale[v] = Lanes::mul(chains.scale[v], Lanes::all(kDivided<kNumbers>));  // exact
    }
    if constexpr (!kZeros) multiply_group<Lanes, kBits, kNumbers, Zeros::kNone, false, kVectors>(task, codes, begin, end, table, less, chains);
    else if (kNumbers == 0 && all_whole) multiply_group<Lanes, kBits, kNumbers, kNumbers == 0 ? Zeros::kWhole : Zeros::kAny, false, kVectors>(task, codes, begin, end, table, less, chains);
    else multiply_group<Lanes, kBits, kNumbers, Zeros::kAny, false, kVectors>(task, codes, begin, end, table, less, chains);
  }
  store_sums<Lanes, kPanels>(task, panel, chains.sum);
}

// The scales, and with kZeros behind them the zero points, of all groups of a panel as floats.  floats [groups][16], twice
template <class Lanes, bool kZeros>
QF_INLINE void widen_numbers(const GroupedTask& task, int panel, float* floats) {
  for (std::int64_t g = 0; g < task.groups; ++g)
    for (int part = 0; part < Lanes::kParts; ++part) {
      float* target = floats + 16 * g + Lanes::kRows * part;
      Lanes::store(target, Lanes::numbers(task, task.scales + panel * task.panel_bytes, g, part));
      if constexpr (kZeros) Lanes::store(target + 16 * task.groups, Lanes::numbers(task, task.zeros + panel * task.panel_bytes, g, part));
    }
}

// A column's group is any; the groups' numbers lie in the tile as floats.
template <class Lanes, int kBits, bool kZeros, int kPanels, class Table>
QF_INLINE void multiply_any_groups(const GroupedTask& task, int panel, const Table& table) {
  constexpr int kVectors = kPanels * Lanes::kParts;
  const std::int64_t numbers = 16 * task.groups;
  const unsigned char* place = task.codes + panel * task.panel_bytes;
  typename Lanes::Vector sum[kVectors];
  for (int p = 0; p < kPanels; ++p) widen_numbers<Lanes, kZeros>(task, panel + p, task.tile + 2 * p * numbers);
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) sum[v] = Lanes::all(0);
  for (std::int64_t k = 0; k < task.end; k += 8, place += 16 * kBits) {
    typename Lanes::template CodesOf<kBits, 0> chunk[kVectors];
    const auto read = [&](int v) __attribute__((always_inline)) { Lanes::read_stream(chunk[v], place + v / Lanes::kParts * task.panel_bytes, v % Lanes::kParts); };
    for_chunk<Lanes, kVectors>(read, [&](int v, int i) __attribute__((always_inline)) {
      const float* scales = task.tile + 16 * task.group_of[k + i] + v / Lanes::kParts * 2 * numbers + Lanes::kRows * (v % Lanes::kParts);
      typename Lanes::Vector value = chunk[v].value(i, table);
      if constexpr (kZeros) value = Lanes::sub(value, Lanes::load(scales + numbers));
      sum[v] = Lanes::fma(Lanes::mul(value, Lanes::load(scales)), task.x[k + i], sum[v]);
    });
  }
  store_sums<Lanes, kPanels>(task, panel, sum);
}

// Codes of different widths, each from its word. A column's group is any, too.
template <class Lanes, int kPanels>
QF_INLINE void multiply_mixed_panels(const GroupedTask& task, int panel) {
  constexpr int kVectors = kPanels * Lanes::kParts;
  const std::int64_t numbers = 16 * task.groups;
  const unsigned char* codes = task.codes + panel * task.panel_bytes;
  typename Lanes::Vector sum[kVectors];
  for (int p = 0; p < kPanels; ++p) widen_numbers<Lanes, false>(task, panel + p, task.tile + p * numbers);
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) sum[v] = Lanes::all(0);
  for (std::int64_t k = 0; k < task.end; ++k) {
    const typename Lanes::MixedCodes column(task.mixed[k]);
    const float* scales = task.tile + 16 * task.group_of[k];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const int p = v / Lanes::kParts, part = v % Lanes::kParts;
      const typename Lanes::Vector scale = Lanes::load(scales + p * numbers + Lanes::kRows * part);
      sum[v] = Lanes::fma(Lanes::mul(column.value(codes + p * task.panel_bytes, part), scale), task.x[k], sum[v]);
    }
  }
  store_sums<Lanes, kPanels>(task, panel, sum);
}

// Calls some_panels for as many panels at once as there are.
template <class Lanes, class SomePanels>
QF_INLINE void all_panels(const GroupedTask& task, SomePanels some_panels) {
  int panel = 0;
  for (; panel + Lanes::kPanelsAtOnce <= task.panels; panel += Lanes::kPanelsAtOnce) some_panels.template operator()<Lanes::kPanelsAtOnce>(panel);
  for (; panel < task.panels; ++panel) some_panels.template operator()<1>(panel);
}

template <class Lanes, int kBits, int kNumbers, bool kZeros>
[[gnu::noinline]] static void multiply(const GroupedTask& task) {
  const typename Lanes::template TableOf<kBits, kNumbers> table(task.number, task.offset);
  all_panels<Lanes>(task, [&]<int kPanels>(int panel) { multiply_panels<Lanes, kBits, kNumbers, kZeros, kPanels>(task, panel, table); });
}

template <class Lanes, int kBits, bool kZeros>
[[gnu::noinline]] static void multiply_with_group_of(const GroupedTask& task) {
  const typename Lanes::template TableOf<kBits, 0> table(task.number, task.offset);
  all_panels<Lanes>(task, [&]<int kPanels>(int panel) { multiply_any_groups<Lanes, kBits, kZeros, kPanels>(task, panel, table); });
}

template <class Lanes>
QF_INLINE void multiply_grouped(const GroupedTask& task) {
  if (task.mixed) return all_panels<Lanes>(task, [&]<int kPanels>(int panel) { multiply_mixed_panels<Lanes, kPanels>(task, panel); });
  for_codes(task, [&task]<int kBits, int kNumbers>() {
    if constexpr (kNumbers == 0)
      if (task.group_of) return task.zeros ? multiply_with_group_of<Lanes, kBits, true>(task) : multiply_with_group_of<Lanes, kBits, false>(task);
    if constexpr (kNumbers < 2)
      if (task.zeros) return multiply<Lanes, kBits, kNumbers, true>(task);
    multiply<Lanes, kBits, kNumbers, false>(task);
  });
}

}  // namespace quantfleet::grouped_formats
