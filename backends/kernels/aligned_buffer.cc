#include "backends/kernels/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <new>

namespace quantfleet {
namespace {

constexpr std::size_t kHugePage = std::size_t(1) << 21;
// Bytes; below, the heap serves better. Buffers that grow beside pages of the KV cache would leave it full of holes.
constexpr std::size_t kMapFrom = std::size_t(1) << 18;

// 4 KiB, or 16 or 64 KiB on some aarch64 systems (Raspberry Pi 5): what lies outside is given back in whole pages.
std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

// `bytes` whole pages, aligned to `alignment`: maps more and gives back what lies outside.
std::byte* map_aligned(std::size_t bytes, std::size_t alignment) {
  const std::size_t reserved = bytes + alignment - page_bytes();
  void* memory = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(memory);
  auto* data = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(begin), alignment));
  if (data > begin) ::munmap(begin, static_cast<std::size_t>(data - begin));
  if (const std::size_t after = reserved - static_cast<std::size_t>(data - begin) - bytes; after > 0) ::munmap(data + bytes, after);
  return data;
}

}  // namespace

std::byte* AlignedBuffer::reserve(std::size_t size_bytes) {
  if (size_bytes <= size_bytes_) return data_.get();
  data_.reset();
  size_bytes_ = 0;
  if (size_bytes >= kMapFrom) {
    const std::size_t rounded = round_up(size_bytes, page_bytes());  // not to huge pages: a model has hundreds of buffers
    const bool huge = rounded >= kHugePage;
    std::byte* data = map_aligned(rounded, huge ? kHugePage : page_bytes());
    if (huge) ::madvise(data, rounded, MADV_HUGEPAGE);  // a wish: failure changes only the speed
    data_ = std::unique_ptr<std::byte[], Free>(data, Free(rounded));
    size_bytes_ = rounded;
    return data;
  }
  const std::size_t rounded = round_up(size_bytes, 64);
  void* memory = nullptr;
  if (::posix_memalign(&memory, 64, rounded) != 0) throw std::bad_alloc();
  data_ = std::unique_ptr<std::byte[], Free>(static_cast<std::byte*>(memory));
  size_bytes_ = rounded;
  return data_.get();
}

void AlignedBuffer::Free::operator()(std::byte* data) const {
  if (mapped_bytes > 0) ::munmap(data, mapped_bytes);
  else std::free(data);
}

}  // namespace quantfleet
