// A block of floats on a 64-byte boundary: one cache line, one 512-bit register. Grows, never shrinks, contents are not
// kept when it grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace quantfleet {

class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(std::int64_t count) { reserve(count); }

  float* reserve(std::int64_t count) {
    if (count > count_) {
      data_.reset();
      data_.reset(static_cast<float*>(::operator new(static_cast<std::size_t>(count) * sizeof(float), kAlignment)));
      count_ = count;
    }
    return data_.get();
  }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }
  std::int64_t count() const { return count_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Free {
    void operator()(float* p) const { ::operator delete(p, kAlignment); }
  };
  std::unique_ptr<float, Free> data_;
  std::int64_t count_ = 0;
};

}  // namespace quantfleet
