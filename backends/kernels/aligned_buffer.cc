#include "backends/kernels/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace quantfleet {

std::byte* AlignedBuffer::reserve(std::size_t size_bytes) {
  if (size_bytes <= size_bytes_) return data_.get();
  constexpr std::size_t kHugePage = std::size_t(1) << 21;
  const std::size_t alignment = size_bytes >= 2 * kHugePage ? kHugePage : 64;
  const std::size_t rounded = (size_bytes + 63) / 64 * 64;  // not to huge pages: a model has hundreds of buffers
  data_.reset();
  size_bytes_ = 0;
  void* memory = nullptr;
  if (::posix_memalign(&memory, alignment, rounded) != 0) throw std::bad_alloc();
  auto* data = static_cast<std::byte*>(memory);
  if (alignment == kHugePage) ::madvise(data, rounded, MADV_HUGEPAGE);  // a wish: failure changes only the speed
  data_.reset(data);
  size_bytes_ = rounded;
  return data;
}

void AlignedBuffer::Free::operator()(std::byte* data) const { std::free(data); }

}  // namespace quantfleet
