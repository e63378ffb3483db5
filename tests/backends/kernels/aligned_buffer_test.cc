#include "backends/kernels/aligned_buffer.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <optional>
#include <vector>

using namespace quantfleet;

namespace {

constexpr std::size_t kMatrix = 3'000'000;  // no whole number of huge pages

}  // namespace

TEST_CASE("buffers in slabs lie side by side, on cache lines, each its own bytes", "[aligned_buffer]") {
  std::vector<AlignedBuffer> buffers(10);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    std::byte* data = buffers[i].reserve_in_slab(kMatrix + i);
    CHECK(reinterpret_cast<std::uintptr_t>(data) % 64 == 0);
    CHECK(buffers[i].size_bytes() >= kMatrix + i);
    std::memset(data, static_cast<int>(i), kMatrix + i);
    if (i > 0 && data > buffers[i - 1].data()) CHECK(data - buffers[i - 1].data() < static_cast<std::ptrdiff_t>(kMatrix + 128));
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    CHECK(buffers[i].data()[0] == static_cast<std::byte>(i));
    CHECK(buffers[i].data()[kMatrix + i - 1] == static_cast<std::byte>(i));
  }
}

TEST_CASE("what a slab's buffer gives back is empty memory, its neighbours keep theirs", "[aligned_buffer]") {
  AlignedBuffer first;
  std::memset(first.reserve_in_slab(kMatrix), 1, kMatrix);
  std::optional<AlignedBuffer> second(std::in_place);
  std::memset(second->reserve_in_slab(kMatrix), 2, kMatrix);
  const std::byte* place = second->data();
  second.reset();
  AlignedBuffer third;
  CHECK(third.reserve_in_slab(kMatrix) == place);  // the end of the slab is taken again
  CHECK(third.data()[kMatrix / 2] == std::byte(0));
  CHECK(first.data()[kMatrix - 1] == std::byte(1));
}

TEST_CASE("a buffer larger than a slab has one of its own", "[aligned_buffer]") {
  AlignedBuffer small, large;
  small.reserve_in_slab(kMatrix);
  constexpr std::size_t kLarge = (std::size_t(1) << 28) + 12345;  // address space; only two pages are written to
  std::byte* data = large.reserve_in_slab(kLarge);
  data[0] = data[kLarge - 1] = std::byte(7);
  CHECK(large.size_bytes() >= kLarge);
  CHECK(data[kLarge - 1] == std::byte(7));
}
