#include "backends/kernels/aligned_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <mutex>
#include <new>

namespace quantfleet {
namespace {

constexpr std::size_t kHugePage = std::size_t(1) << 21;
// Bytes; below, the heap serves better. Buffers that grow beside pages of the KV cache would leave it full of holes.
constexpr std::size_t kMapFrom = std::size_t(1) << 18;
constexpr std::size_t kSlab = std::size_t(1) << 28;  // address space; memory only where it was written to

// 4 KiB, or 16 or 64 KiB on some aarch64 systems (Raspberry Pi 5): what lies outside is given back in whole pages.
std::size_t page_bytes() {
  static const auto bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return bytes;
}

std::size_t round_up(std::size_t bytes, std::size_t to) { return (bytes + to - 1) / to * to; }

// `bytes` whole pages, aligned to `alignment`: maps more and gives back what lies outside.
std::byte* map_aligned(std::size_t bytes, std::size_t alignment) {
  const std::size_t reserved = bytes + alignment - page_bytes();
  void* memory = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(memory);
  auto* data = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(begin), alignment));
  if (data > begin) ::munmap(begin, static_cast<std::size_t>(data - begin));
  if (const std::size_t after = reserved - static_cast<std::size_t>(data - begin) - bytes; after > 0) ::munmap(data + bytes, after);
  return data;
}

}  // namespace

struct AlignedBuffer::Slab {
  std::byte* begin;
  std::size_t size_bytes;
  std::size_t used = 0;  // under `mutex`

  static inline std::mutex mutex;
  static inline std::weak_ptr<Slab> latest;  // its buffers own it

  explicit Slab(std::size_t bytes) : begin(map_aligned(bytes, kHugePage)), size_bytes(bytes) {
    ::madvise(begin, bytes, MADV_HUGEPAGE);  // a wish: failure changes only the speed
  }
  ~Slab() { ::munmap(begin, size_bytes); }
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  void give_back(std::byte* data, std::size_t bytes) {
    const std::lock_guard lock(mutex);
    const auto offset = static_cast<std::size_t>(data - begin), first = round_up(offset, page_bytes());
    const std::size_t end = (offset + bytes) / page_bytes() * page_bytes();
    if (end > first) ::madvise(begin + first, end - first, MADV_DONTNEED);
    if (offset + bytes == used) used = offset;
  }
};

std::byte* AlignedBuffer::reserve_in_slab(std::size_t size_bytes) {
  assert(size_bytes_ == 0);
  if (size_bytes < kMapFrom) return reserve(size_bytes);
  const std::size_t rounded = round_up(size_bytes, 64);
  const std::lock_guard lock(Slab::mutex);
  std::shared_ptr<Slab> slab = Slab::latest.lock();
  if (!slab || slab->size_bytes - slab->used < rounded) {
    slab = std::make_shared<Slab>(std::max(kSlab, round_up(rounded, kHugePage)));
    Slab::latest = slab;
  }
  std::byte* data = slab->begin + slab->used;
  slab->used += rounded;
  data_ = std::unique_ptr<std::byte[], Free>(data, Free(rounded, std::move(slab)));
  size_bytes_ = rounded;
  return data;
}

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
  if (slab) slab->give_back(data, mapped_bytes);
  else if (mapped_bytes > 0) ::munmap(data, mapped_bytes);
  else std::free(data);
}

}  // namespace quantfleet
