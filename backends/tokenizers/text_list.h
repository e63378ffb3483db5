// Texts one behind the other in one block of memory, numbered from 0, and an index that finds the number of a text. A vocabulary has
// up to 262,000 tokens of some six bytes: as strings of their own, with hash maps over them, each would take 150.
#pragma once

#include "backends/tokenizers/number_index.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

class TextList {
 public:
  TextList() = default;
  TextList(std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) push_back(text);
  }

  // All texts together stay below 4 GiB.
  void push_back(std::string_view text) {
    bytes_ += text;
    ends_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  void reserve(std::size_t count, std::size_t size_bytes) {
    ends_.reserve(count);
    bytes_.reserve(size_bytes);
  }

  std::size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  std::size_t size_bytes() const { return bytes_.size(); }
  std::string_view operator[](std::size_t index) const {  // until the next push_back
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return {bytes_.data() + begin, ends_[index] - begin};
  }

 private:
  std::string bytes_;
  std::vector<std::uint32_t> ends_;
};

// Where several texts are equal, the one put last is found.
class TextIndex {
 public:
  explicit TextIndex(std::size_t count = 0) : index_(count) {}  // of texts that will be put

  void put(const TextList& texts, std::size_t number) {
    index_.put(hash(texts[number]), static_cast<std::uint32_t>(number), Same{texts, texts[number]});
  }
  // -1: none. `texts`: those that were put.
  std::int32_t find(const TextList& texts, std::string_view text) const { return index_.find(hash(text), Same{texts, text}); }

 private:
  struct Same {
    const TextList& texts;
    std::string_view text;
    bool operator()(std::uint32_t number) const { return texts[number] == text; }
  };
  static std::uint64_t hash(std::string_view text) { return std::hash<std::string_view>()(text); }

  NumberIndex index_;
};

}  // namespace quantfleet
