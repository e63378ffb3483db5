#include "backends/kernels/kv_pages.h"

#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/kv_page_layout.h"
#include "backends/kernels/kernels.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

namespace quantfleet {
namespace {

constexpr std::string_view kNames[] = {"f32", "f16", "q8_0", "q4_0"};

// One block of at most 32 values as codes (Q8_0: -127..127, Q4_0: 0..15) and the scale's F16 bits.
struct Block {
  std::uint16_t scale;
  std::int8_t codes[kKvBlock];
};

Block encode(KvKind kind, const float* x, int count) {
  Block block = {};
  float largest = 0, magnitude = 0;
  bool finite = true;
  for (int i = 0; i < count; ++i) {
    const float m = std::fabs(x[i]);
    finite = finite && m <= std::numeric_limits<float>::max();
    if (m > magnitude) magnitude = m, largest = x[i];
  }
  const float d = kind == KvKind::kQ8_0 ? magnitude / 127.0f : largest / -8.0f;
  const float inverse = kind == KvKind::kQ8_0 ? 127.0f / magnitude : 1.0f / d;
  block.scale = float_to_half(finite ? d : std::numeric_limits<float>::quiet_NaN());
  if ((block.scale & 0x7c00u) == 0x7c00u) block.scale = 0x7e00u;
  const bool zero = magnitude == 0 || std::isinf(inverse) || !finite;
  for (int i = 0; i < count; ++i) {
    if (kind == KvKind::kQ8_0) {
      // Adding 1.5 * 2^23 rounds to a whole number, half to even.
      block.codes[i] = zero ? std::int8_t{0} : static_cast<std::int8_t>((x[i] * inverse + 0x1.8p23f) - 0x1.8p23f);
    } else {
      block.codes[i] = zero ? std::int8_t{8} : static_cast<std::int8_t>(std::min(15, static_cast<int>(x[i] * inverse + 8.5f)));
    }
  }
  return block;
}

void put_half(std::byte* at, std::uint16_t half) { std::memcpy(at, &half, sizeof(half)); }

}  // namespace

std::string_view name_of(KvKind kind) { return kNames[static_cast<int>(kind)]; }

std::optional<KvKind> find_kv_kind(std::string_view name) {
  for (int i = 0; i < 4; ++i)
    if (kNames[i] == name) return static_cast<KvKind>(i);
  return std::nullopt;
}

std::int64_t kv_head_bytes(KvKind kind, int head_dim) { return kv_page_places(kind, head_dim).end; }

void store_kv(KvKind kind, const float* k, const float* v, int head_dim, std::int64_t position, std::byte* head) {
  const KvPagePlaces places = kv_page_places(kind, head_dim);
  const std::int64_t n = head_dim, p = position % kPagePositions;
  std::byte* const v_codes = head + places.v;
  if (kind == KvKind::kF32) {
    store_k(k, head_dim, position, reinterpret_cast<float*>(head));
    store_v(v, head_dim, position, reinterpret_cast<float*>(v_codes));
    return;
  }
  if (kind == KvKind::kF16) {
    for (std::int64_t d = 0; d < n; ++d) {
      put_half(head + 2 * (kPagePositions * d + p), float_to_half(k[d]));
      put_half(v_codes + 2 * (n * p + d), float_to_half(v[d]));
    }
    return;
  }
  assert(kind == KvKind::kQ8_0 || head_dim % 2 == 0);
  const auto put_nibble = [](std::byte& byte, bool high, std::int8_t code) {
    const auto c = static_cast<std::byte>(code);
    byte = high ? (byte & std::byte{0x0f}) | c << 4 : (byte & std::byte{0xf0}) | c;
  };
  for (int b = 0; b < places.blocks; ++b) {
    const std::int64_t begin = std::int64_t{b} * kKvBlock;
    const int count = static_cast<int>(std::min<std::int64_t>(kKvBlock, n - begin));
    const Block keys = encode(kind, k + begin, count), values = encode(kind, v + begin, count);
    put_half(head + places.k_scales + 2 * (kPagePositions * b + p), keys.scale);
    put_half(head + places.v_scales + 2 * (places.blocks * p + b), values.scale);
    for (int i = 0; i < count; ++i) {
      const std::int64_t d = begin + i;
      if (kind == KvKind::kQ8_0) {
        head[kPagePositions * d + p] = static_cast<std::byte>(keys.codes[i]);
        v_codes[n * p + d] = static_cast<std::byte>(values.codes[i]);
      } else {
        put_nibble(head[kPagePositions * (d / 2) + p], d % 2 == 1, keys.codes[i]);
        put_nibble(v_codes[n / 2 * p + d % (n / 2)], d >= n / 2, values.codes[i]);
      }
    }
  }
}

}  // namespace quantfleet
