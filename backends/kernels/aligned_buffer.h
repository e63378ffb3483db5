// A block of memory for weights and scratch: aligned to cache lines, on huge pages when it is large, and never shrunk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace quantfleet {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size_bytes) { reserve(size_bytes); }

  // At least size_bytes; what was inside is lost when it grows. Throws std::bad_alloc.
  std::byte* reserve(std::size_t size_bytes);

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::size_t size_bytes() const { return size_bytes_; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_bytes_ = 0;
};

}  // namespace quantfleet
