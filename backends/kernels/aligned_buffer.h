// A block of memory for weights and scratch: aligned to cache lines, on huge pages when it is large, and never shrunk.
// Large blocks are mapped by themselves: in a heap, the gaps that alignment leaves between hundreds of them stay resident.
// What lives as long as a model (weights, keys and values) lies side by side in slabs of huge pages: a matrix of 2.4 MB alone would
// have a sixth of its bytes on small pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace quantfleet {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size_bytes) { reserve(size_bytes); }

  // At least size_bytes; what was inside is lost when it grows. Throws std::bad_alloc.
  std::byte* reserve(std::size_t size_bytes);

  // The same in a slab; at most once for a buffer.
  std::byte* reserve_in_slab(std::size_t size_bytes);

  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  std::size_t size_bytes() const { return size_bytes_; }

 private:
  struct Slab;
  struct Free {
    Free() : mapped_bytes(0) {}
    explicit Free(std::size_t bytes, std::shared_ptr<Slab> in = {}) : mapped_bytes(bytes), slab(std::move(in)) {}
    std::size_t mapped_bytes;    // 0: from the heap
    std::shared_ptr<Slab> slab;  // that holds the bytes; else they were mapped alone
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  std::size_t size_bytes_ = 0;
};

}  // namespace quantfleet
