// An aligned buffer that is counted in floats.
#pragma once

#include "backends/kernels/aligned_buffer.h"

#include <cstdint>

namespace quantfleet {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::int64_t count) { reserve(count); }

  // At least `count`; what was inside is lost when it grows.
  float* reserve(std::int64_t count) {
    buffer_.reserve(static_cast<std::size_t>(count) * sizeof(float));
    return data();
  }
  float* data() { return reinterpret_cast<float*>(buffer_.data()); }
  const float* data() const { return reinterpret_cast<const float*>(buffer_.data()); }

 private:
  AlignedBuffer buffer_;
};

}  // namespace quantfleet
