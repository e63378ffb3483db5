#include "backends/formats/half_float.h"
#include "backends/kernels/cpu/kv_page_layout.h"
#include "backends/kernels/cpu/scalar/scalar.h"
#include "backends/kernels/cpu/tasks.h"

#include <cstring>

namespace quantfleet::scalar {
namespace {

float half_at(const unsigned char* at) {
  std::uint16_t half;
  std::memcpy(&half, at, sizeof(half));
  return half_to_float(half);
}

}  // namespace

void load_kv(const KvPageTask& task) {
  const KvPagePlaces places = kv_page_places(task.kind, task.head_dim);
  const unsigned char *k = task.head, *v = task.head + places.v;
  const std::int64_t n = task.head_dim;
  for (std::int64_t d = 0; d < n; ++d)
    for (std::int64_t p = 0; p < kPagePositions; ++p) {
      float& key = task.k[kPagePositions * d + p];
      float& value = task.v[n * p + d];
      if (task.kind == KvKind::kF16) {
        key = half_at(k + 2 * (kPagePositions * d + p));
        value = half_at(v + 2 * (n * p + d));
        continue;
      }
      const float k_scale = half_at(task.head + places.k_scales + 2 * (kPagePositions * (d / kKvBlock) + p));
      const float v_scale = half_at(task.head + places.v_scales + 2 * (places.blocks * p + d / kKvBlock));
      int k_code, v_code;
      if (task.kind == KvKind::kQ8_0) {
        k_code = static_cast<std::int8_t>(k[kPagePositions * d + p]);
        v_code = static_cast<std::int8_t>(v[n * p + d]);
      } else {
        const int k_byte = k[kPagePositions * (d / 2) + p], v_byte = v[n / 2 * p + d % (n / 2)];
        k_code = (d % 2 ? k_byte >> 4 : k_byte & 15) - 8;
        v_code = (d >= n / 2 ? v_byte >> 4 : v_byte & 15) - 8;
      }
      key = k_scale * static_cast<float>(k_code);
      value = v_scale * static_cast<float>(v_code);
    }
}

}  // namespace quantfleet::scalar
