#include "backends/formats/safetensors.h"

#include "backends/formats/mapped_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

namespace quantfleet {
namespace {

using Json = nlohmann::json;

constexpr int kDepthMax = 4;              // header, array, shape; one to spare
constexpr std::size_t kNameBytesMax = 1024;

bool is_printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

class ParsedSafetensors final : public SafetensorsFile {
 public:
  const std::vector<SafetensorsArray>& arrays() const override { return arrays_; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::uint64_t size_bytes() const override { return size_bytes_; }

  Status read(std::span<const std::byte> bytes, std::string_view place) {
    const auto bad = [&](Code code, std::string sentence) { return Error{code, fmt::format("{}: {}", place, sentence)}; };
    size_bytes_ = bytes.size();
    std::uint64_t header_bytes = 0;
    if (bytes.size() < sizeof header_bytes)
      return bad(Code::kTruncated, fmt::format("{} bytes; a safetensors file begins with 8 bytes of length", bytes.size()));
    std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
    bytes = bytes.subspan(sizeof header_bytes);
    if (header_bytes > kSafetensorsMaxHeaderBytes)
      return bad(Code::kBadMagic, fmt::format("the first 8 bytes promise a header of {} bytes; safetensors files have at most {}",
                                              header_bytes, kSafetensorsMaxHeaderBytes));
    if (header_bytes > bytes.size())
      return bad(Code::kTruncated, fmt::format("the header has {} bytes, {} are left", header_bytes, bytes.size()));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), header_bytes);
    if (text.empty() || text.front() != '{') return bad(Code::kBadMagic, "the header does not begin with '{'");
    const auto data = bytes.subspan(header_bytes);

    std::string problem;
    std::vector<std::set<std::string>> keys;  // of the open objects
    const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
      if (depth > kDepthMax && problem.empty()) problem = "is nested too deeply";
      if (event == Json::parse_event_t::object_start) keys.emplace_back();
      if (event == Json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
      if (event == Json::parse_event_t::key && !keys.empty() && !keys.back().insert(parsed.get<std::string>()).second && problem.empty())
        problem = fmt::format("names {} twice", parsed.get<std::string>());
      return problem.empty();
    };
    const Json header = Json::parse(text, callback, false);
    if (!problem.empty()) return bad(Code::kBadValue, "the header " + problem);
    if (!header.is_object()) return bad(Code::kBadValue, "the header is not a JSON object");
    if (header.size() > kSafetensorsMaxArrays)
      return bad(Code::kTooLarge, fmt::format("{} arrays; the limit is {}", header.size(), kSafetensorsMaxArrays));
    for (const auto& [name, value] : header.items()) {
      if (name.size() > kNameBytesMax || !is_printable(name)) return bad(Code::kBadValue, "an array's name is too long or not printable");
      if (name == "__metadata__") {
        if (!value.is_object()) return bad(Code::kBadValue, "__metadata__ is not an object");
        for (const auto& [key, one] : value.items()) {
          if (!one.is_string()) return bad(Code::kBadValue, fmt::format("__metadata__.{} is not a text", key));
          metadata_[key] = one.get<std::string>();
        }
        continue;
      }
      auto array = read_array(name, value, data);
      if (!array) return at(place, array.error());
      arrays_.push_back(std::move(*array));
    }
    return check_cover(data, place);
  }

  std::optional<MappedFile> mapping;

 private:
  static Result<SafetensorsArray> read_array(const std::string& name, const Json& value, std::span<const std::byte> data) {
    const auto bad = [&](Code code, std::string sentence) { return Error{code, fmt::format("array {}: {}", name, sentence)}; };
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets"))
      return bad(Code::kBadValue, "expected an object with dtype, shape and data_offsets");
    const Json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
    SafetensorsArray array;
    array.name = name;
    if (!dtype.is_string()) return bad(Code::kBadValue, "dtype is not a text");
    array.dtype = dtype.get<std::string>();
    const int bits = safetensors_bits(array.dtype);
    if (bits == 0) return bad(Code::kUnsupported, fmt::format("dtype {} is not known", dtype.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 40)));
    if (!shape.is_array() || shape.size() > 8) return bad(Code::kBadShape, "shape is not a list of at most 8 numbers");
    std::uint64_t count = 1;
    for (const Json& dimension : shape) {
      if (!dimension.is_number_unsigned()) return bad(Code::kBadShape, "shape has something else than non-negative integers");
      const auto size = dimension.get<std::uint64_t>();
      if (size > std::uint64_t{1} << 40 || __builtin_mul_overflow(count, size, &count) || count > std::uint64_t{1} << 48)
        return bad(Code::kTooLarge, "shape has too many values");
      array.shape.push_back(static_cast<std::int64_t>(size));
    }
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
      return bad(Code::kBadValue, "data_offsets is not two non-negative integers");
    const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
    if (begin > end || end > data.size())
      return bad(Code::kTruncated, fmt::format("data_offsets {} to {} do not lie in the {} bytes of data", begin, end, data.size()));
    const std::uint64_t all_bits = count * static_cast<std::uint64_t>(bits);
    if (all_bits % 8 != 0 || end - begin != all_bits / 8)
      return bad(Code::kBadShape, fmt::format("{} values of {} take {} bytes; data_offsets give {}", count, array.dtype, all_bits / 8, end - begin));
    array.bytes = data.subspan(begin, end - begin);
    return array;
  }

  Status check_cover(std::span<const std::byte> data, std::string_view place) const {
    std::vector<const SafetensorsArray*> order;
    for (const SafetensorsArray& array : arrays_)
      if (!array.bytes.empty()) order.push_back(&array);
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) { return a->bytes.data() < b->bytes.data(); });
    const std::byte* next = data.data();
    for (const SafetensorsArray* array : order) {
      if (array->bytes.data() != next)
        return Error{Code::kBadValue, fmt::format("{}: array {} begins at {}, but the array before it ends at {}", place, array->name,
                                                  array->bytes.data() - data.data(), next - data.data())};
      next += array->bytes.size();
    }
    if (next != data.data() + data.size())
      return Error{Code::kBadValue, fmt::format("{}: {} bytes behind the last array", place, data.data() + data.size() - next)};
    return {};
  }

  std::vector<SafetensorsArray> arrays_;
  std::map<std::string, std::string> metadata_;
  std::uint64_t size_bytes_ = 0;
};

}  // namespace

std::int64_t SafetensorsArray::count_values() const {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;  // checked by the reader
  return count;
}

int safetensors_bits(std::string_view dtype) {
  static constexpr std::pair<std::string_view, int> kBits[] = {
      {"BOOL", 8},   {"U8", 8},       {"I8", 8},       {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
      {"I16", 16},   {"U16", 16},     {"F16", 16},     {"BF16", 16},   {"I32", 32},    {"U32", 32},    {"F32", 32},        {"C64", 64},
      {"F64", 64},   {"I64", 64},     {"U64", 64},     {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}};
  for (const auto& [name, bits] : kBits)
    if (name == dtype) return bits;
  return 0;
}

Result<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::open(const std::filesystem::path& path) {
  auto mapping = MappedFile::open(path, "a safetensors file");
  if (!mapping) return mapping.error();
  auto file = std::make_shared<ParsedSafetensors>();
  if (Status status = file->read(mapping->bytes(), path.string()); !status) return status.error();
  file->mapping.emplace(std::move(*mapping));
  return std::shared_ptr<const SafetensorsFile>(std::move(file));
}

Result<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::parse(std::span<const std::byte> bytes, std::string_view place) {
  auto file = std::make_shared<ParsedSafetensors>();
  if (Status status = file->read(bytes, place); !status) return status.error();
  return std::shared_ptr<const SafetensorsFile>(std::move(file));
}

}  // namespace quantfleet
