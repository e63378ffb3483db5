// The items of a suite: a JSONL file of which only the line's places are kept in memory. An item is read when it is asked for, so
// a million items cost some 8 bytes each while the file itself is mapped.
#pragma once

#include "contract/error.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace quantfleet {

inline constexpr std::size_t kItemsBytesMax = std::size_t{4} << 30;
inline constexpr std::size_t kItemBytesMax = 8u << 20;  // one line
inline constexpr int kItemsMax = 4'000'000;

// One line of an items file.
struct TaskItem {
  std::string id;
  nlohmann::json fields;  // the whole object, "id" included
  int line = 0;           // 1-based, in its file
};

class ItemFile {
 public:
  // Reads every line once: "PLACE:LINE: what, expected" for one that is not a JSON object with a fresh "id". Empty lines are
  // errors, except nothing after the last newline.
  static Result<ItemFile> open(const std::filesystem::path& path);
  static Result<ItemFile> of_text(std::string text, std::string_view place);

  std::size_t size() const { return begins_.size(); }
  bool empty() const { return begins_.empty(); }
  TaskItem operator[](std::size_t index) const;

  // "HEAD COUNT\n", then every item as JSON with sorted keys and a newline: what is hashed, so that layout does not change the hash.
  void canonical(std::string_view head, const std::function<void(std::string_view)>& add) const;

 private:
  static Result<ItemFile> checked(std::shared_ptr<const void> owner, std::string_view text, std::string_view place);
  std::string_view line(std::size_t index) const;

  std::shared_ptr<const void> owner_;    // of the text: a mapping or a string
  std::string_view text_;
  std::vector<std::uint64_t> begins_;    // byte offset of each line
};

// A JSON object without repeated keys into `json`; returns what is wrong with the line, or nothing.
std::string parse_json_line(std::string_view line, nlohmann::json& json);

}  // namespace quantfleet
