// How a head's K and V lie in a page of the cache (kv_pages.h), n = head_dim, B = ceil(n / 32). Plain arithmetic with internal
// linkage, for files of every instruction set. Lanes of K are positions, lanes of V are d, as in F32.
//   F16     K half [n][16];  V half [16][n]
//   Q8_0    K codes int8 [n][16], K scales half [B][16];  V codes int8 [16][n], V scales half [16][B]
//   Q4_0    the same with two codes in a byte: K [n/2][16], low half: even d;  V [16][n/2], low half: d < n/2
#pragma once

#include "backends/kernels/operations.h"

#include <cstdint>

namespace quantfleet {

inline constexpr int kKvBlock = 32;

struct KvPagePlaces {
  std::int64_t k_scales, v, v_scales, end;  // bytes from the head's start
  int blocks;
};

[[maybe_unused]] static inline KvPagePlaces kv_page_places(KvKind kind, int head_dim) {
  const int blocks = (head_dim + kKvBlock - 1) / kKvBlock;
  const std::int64_t values = std::int64_t{kPagePositions} * head_dim;
  const std::int64_t codes = kind == KvKind::kF32 ? 4 * values : kind == KvKind::kF16 ? 2 * values : kind == KvKind::kQ8_0 ? values : values / 2;
  const std::int64_t scales = kind == KvKind::kQ8_0 || kind == KvKind::kQ4_0 ? 2ll * kPagePositions * blocks : 0;
  return {codes, codes + scales, 2 * codes + scales, 2 * (codes + scales), blocks};
}

}  // namespace quantfleet
