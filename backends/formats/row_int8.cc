#include "backends/formats/row_int8.h"

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

namespace quantfleet {
namespace {

void decode(const std::byte* blocks, std::int64_t count_blocks, float* values) {
  for (std::int64_t block = 0; block < count_blocks; ++block) {
    std::int32_t columns = 0;
    float scale = 0;
    __builtin_memcpy(&columns, blocks, 4);
    __builtin_memcpy(&scale, blocks + 4, 4);
    const auto* codes = reinterpret_cast<const std::int8_t*>(blocks + kRowInt8HeaderBytes);
    for (std::int32_t k = 0; k < columns; ++k) values[k] = static_cast<float>(codes[k]) * scale;
    values += columns;
    blocks += kRowInt8HeaderBytes + columns;
  }
}

}  // namespace

const BlockFormat* row_int8_format(std::int64_t columns, float input_scale, float outlier_threshold) {
  static std::mutex mutex;
  static std::map<std::tuple<std::int64_t, float, float>, std::unique_ptr<const RowInt8Format>> formats;
  const std::lock_guard lock(mutex);
  auto& format = formats[{columns, input_scale, outlier_threshold}];
  if (!format) {
    const int width = static_cast<int>(columns);
    format = std::make_unique<const RowInt8Format>(RowInt8Format{{"INT8", kRowInt8Type, width, kRowInt8HeaderBytes + width, width, decode}, input_scale, outlier_threshold});
  }
  return &format->block;
}

const RowInt8Format* as_row_int8(const BlockFormat& format) {
  return format.ggml_type == kRowInt8Type ? reinterpret_cast<const RowInt8Format*>(&format) : nullptr;
}

}  // namespace quantfleet
