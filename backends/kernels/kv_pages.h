// Keys and values as a cache keeps them: F32, or rounded when they are stored (docs/numerics.md, rule 4). What attention sees are
// the floats that the stored bits stand for, so everything behind the rounding is as exact as with F32.
//   F16     binary16, to nearest even
//   Q8_0    per position and head, blocks of 32 values along d (the last may be shorter): d = amax / 127, code =
//           round-half-even(x 127 / amax), value = F16(d) code
//   Q4_0    the same blocks: d = (the value of largest magnitude, the first of equals) / -8, code = min(15, floor(x / d + 8.5)),
//           value = F16(d) (code - 8)
// A block with a NaN or an infinity is NaN; so is one whose scale F16 cannot hold.
#pragma once

#include "backends/kernels/operations.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace quantfleet {

std::string_view name_of(KvKind kind);                            // "f32", "f16", "q8_0", "q4_0"
std::optional<KvKind> find_kv_kind(std::string_view name);

// Bytes of one KV head in a page: K and V of kPagePositions positions.
std::int64_t kv_head_bytes(KvKind kind, int head_dim);

// Writes K and V [head_dim] of a position (absolute) into the head's place in its page.  head_dim is even for Q4_0.
void store_kv(KvKind kind, const float* k, const float* v, int head_dim, std::int64_t position, std::byte* head);

}  // namespace quantfleet
