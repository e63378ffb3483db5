// A block of memory for weights and scratch: aligned to cache lines, on huge pages when it is large, and never shrunk.
// Large blocks are mapped by themselves: in a heap, the gaps that alignment leaves between hundreds of them stay resident.
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
    Free() : mapped_bytes(0) {}
    explicit Free(std::size_t bytes) : mapped_bytes(bytes) {}
    std::size_t mapped_bytes;      // 0: from the heap
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_bytes_ = 0;
};

}  // namespace quantfleet
