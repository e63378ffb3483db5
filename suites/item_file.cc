#include "suites/item_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <tuple>

namespace quantfleet {
namespace {

constexpr int kJsonDepthMax = 64;

bool is_item_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("._:/-").find(c) != std::string_view::npos;
  });
}

std::uint64_t hash_of(std::string_view text, std::uint64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325u ^ seed;  // FNV-1a
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

std::string parse_json_line(std::string_view line, nlohmann::json& json) {
  std::vector<std::set<std::string>> keys;
  std::string complaint;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    if (depth > kJsonDepthMax) {
      complaint = fmt::format("nested deeper than {}", kJsonDepthMax);
      return false;
    }
    if (event == nlohmann::json::parse_event_t::object_start) keys.emplace_back();
    if (event == nlohmann::json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == nlohmann::json::parse_event_t::key && !keys.empty() && !keys.back().insert(value.get<std::string>()).second)
      complaint = fmt::format("key '{}' appears twice", value.get<std::string>());
    return true;
  };
  try {
    json = nlohmann::json::parse(line, watch);
    if (complaint.empty() && !json.is_object()) complaint = fmt::format("a JSON {}, an object was expected", json.type_name());
    return complaint;
  } catch (const nlohmann::json::parse_error& error) {
    return fmt::format("not valid JSON at byte {}, one object per line was expected", error.byte);
  } catch (const nlohmann::json::exception&) {
    return "not valid JSON (a number is out of range), one object per line was expected";
  }
}

Result<ItemFile> ItemFile::open(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat facts {};
  if (file < 0 || ::fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    const int error = errno;
    if (file >= 0) ::close(file);
    if (file >= 0 || error == ENOENT) return Error{Code::kNotFound, fmt::format("{}: no such file", path.string())};
    return Error{Code::kPermission, fmt::format("{}: cannot be opened for reading", path.string())};
  }
  const auto size = static_cast<std::size_t>(facts.st_size);
  if (size == 0 || size > kItemsBytesMax) {
    ::close(file);
    if (size == 0) return Error{Code::kBadValue, fmt::format("{}:1: no items, at least one was expected", path.string())};
    return Error{Code::kTooLarge, fmt::format("{}: {} bytes, at most {} are allowed", path.string(), size, kItemsBytesMax)};
  }
  void* bytes = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  ::close(file);
  if (bytes == MAP_FAILED) return Error{Code::kIo, fmt::format("{}: cannot be mapped", path.string())};
  const std::shared_ptr<const void> mapping(bytes, [bytes, size](const void*) { ::munmap(bytes, size); });
  auto items = checked(mapping, {static_cast<const char*>(bytes), size}, path.string());
  if (items && items->empty()) return Error{Code::kBadValue, fmt::format("{}:1: no items, at least one was expected", path.string())};
  return items;
}

Result<ItemFile> ItemFile::of_text(std::string text, std::string_view place) {
  const auto owner = std::make_shared<const std::string>(std::move(text));
  return checked(owner, *owner, place);
}

Result<ItemFile> ItemFile::checked(std::shared_ptr<const void> owner, std::string_view text, std::string_view place) {
  ItemFile items;
  items.owner_ = std::move(owner);
  items.text_ = text;
  struct Known {
    std::uint64_t first, second;  // two hashes of the id
    int line;
  };
  std::vector<Known> ids;
  int number = 0;
  for (std::size_t at = 0; at < text.size();) {
    ++number;
    items.begins_.push_back(at);
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const auto bad = [&](std::string_view what, Code code = Code::kBadValue) { return Error{code, fmt::format("{}:{}: {}", place, number, what)}; };
    if (end - at > kItemBytesMax) return bad(fmt::format("{} bytes, at most {} are allowed", end - at, kItemBytesMax), Code::kTooLarge);
    at = end + 1;
    const std::string_view line = items.line(items.begins_.size() - 1);
    if (line.empty()) return bad("an empty line, one JSON object was expected");
    if (number > kItemsMax) return bad(fmt::format("more than {} items", kItemsMax), Code::kTooLarge);
    nlohmann::json json;
    if (const std::string complaint = parse_json_line(line, json); !complaint.empty()) return bad(complaint);
    const auto id = json.find("id");
    if (id == json.end() || !id->is_string()) return bad("no 'id', a string was expected");
    const auto& name = id->get_ref<const std::string&>();
    if (!is_item_id(name)) return bad("'id' must have 1 to 128 of A-Z a-z 0-9 . _ : / -");
    ids.push_back({hash_of(name, 0), hash_of(name, 0x9e3779b97f4a7c15u), number});
  }
  const auto order = [](const Known& a, const Known& b) { return std::tie(a.first, a.second, a.line) < std::tie(b.first, b.second, b.line); };
  std::sort(ids.begin(), ids.end(), order);
  int repeated = 0;
  for (std::size_t i = 1; i < ids.size(); ++i)
    if (ids[i].first == ids[i - 1].first && ids[i].second == ids[i - 1].second && (repeated == 0 || ids[i].line < repeated)) repeated = ids[i].line;
  if (repeated)
    return Error{Code::kBadValue, fmt::format("{}:{}: 'id' {} was used before, each must be different", place, repeated,
                                              items[static_cast<std::size_t>(repeated) - 1].id)};
  items.begins_.shrink_to_fit();
  return items;
}

std::string_view ItemFile::line(std::size_t index) const {
  const auto begin = static_cast<std::size_t>(begins_[index]);
  std::string_view line = text_.substr(begin, std::min(text_.find('\n', begin), text_.size()) - begin);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

TaskItem ItemFile::operator[](std::size_t index) const {
  TaskItem item;
  item.line = static_cast<int>(index) + 1;
  item.fields = nlohmann::json::parse(line(index), nullptr, false);  // was checked
  if (item.fields.is_object() && item.fields.contains("id")) item.id = item.fields["id"].get<std::string>();
  return item;
}

void ItemFile::canonical(std::string_view head, const std::function<void(std::string_view)>& add) const {
  add(fmt::format("{} {}\n", head, size()));
  for (std::size_t i = 0; i < size(); ++i) add((*this)[i].fields.dump() + "\n");
}

}  // namespace quantfleet
