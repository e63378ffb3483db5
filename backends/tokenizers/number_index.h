// Which of the numbers 0, 1, 2, ... has a key, where the keys lie elsewhere: a hash table with open addressing and linear probing, of
// 4 bytes a slot and two slots a number. Beside its number a slot keeps 8 bits of the hash, so that keys are rarely compared in vain.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace quantfleet {

class NumberIndex {
 public:
  static constexpr std::uint32_t kMaxNumbers = (1u << 24) - 1;

  explicit NumberIndex(std::size_t count = 0) : slots_(2 * count + 1, kEmpty) { assert(count <= kMaxNumbers); }

  // same(number): whether the key is that of `number`. -1: no number has it.
  template <class Same>
  std::int32_t find(std::uint64_t hash, const Same& same) const {
    const std::uint32_t slot = slots_[place(hash, same)];
    return slot == kEmpty ? -1 : static_cast<std::int32_t>(slot >> 8);
  }

  // At most as many numbers as were announced. A number that has the key already gives way.
  template <class Same>
  void put(std::uint64_t hash, std::uint32_t number, const Same& same) {
    slots_[place(hash, same)] = number << 8 | tag(hash);
  }

 private:
  static constexpr std::uint32_t kEmpty = ~0u;  // no number: kMaxNumbers with the tag 255

  static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash & 255); }

  // The slot with the key, or the empty one where it belongs: as far into the table as the hash's upper half lies below 2^32.
  template <class Same>
  std::size_t place(std::uint64_t hash, const Same& same) const {
    std::size_t at = static_cast<std::size_t>((hash >> 32) * slots_.size() >> 32);
    for (; slots_[at] != kEmpty; at = at + 1 == slots_.size() ? 0 : at + 1)
      if ((slots_[at] & 255) == tag(hash) && same(slots_[at] >> 8)) break;
    return at;
  }

  std::vector<std::uint32_t> slots_;
};

}  // namespace quantfleet
