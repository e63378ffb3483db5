// The GGUF reader: maps a file, or takes bytes in memory, and checks all of it before anything is used. Sizes from the file
// are multiplied only after a check for overflow, and nothing is reserved for a count before the bytes left could hold it.
// A file that another program shortens while it is mapped ends the process with SIGBUS; that is the limit of mapping.
#include "backends/formats/gguf.h"
#include "backends/formats/mapped_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace quantfleet {

namespace {

using Type = GgufValue::Type;

constexpr std::uint64_t kMinKeyBytes = 8 + 1 + 4 + 1;                // length, key, type, value
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;     // length, name, dimensions, one dimension, type, offset
constexpr std::uint64_t kInt64Max = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

// Bytes of one value of a fixed-size type; 0 for strings, arrays and unknown types.
std::uint64_t fixed_bytes(Type type) {
  switch (type) {
    case Type::kUint8: case Type::kInt8: case Type::kBool: return 1;
    case Type::kUint16: case Type::kInt16: return 2;
    case Type::kUint32: case Type::kInt32: case Type::kFloat32: return 4;
    case Type::kUint64: case Type::kInt64: case Type::kFloat64: return 8;
    case Type::kString: case Type::kArray: return 0;
  }
  return 0;
}

// Names of types that GGUF files may hold and this program does not read, for the error's sentence.
std::string_view name_of_foreign_type(std::uint32_t type) {
  switch (type) {
    case 9: return "Q8_1"; case 15: return "Q8_K"; case 24: return "I8"; case 25: return "I16"; case 26: return "I32";
    case 27: return "I64"; case 28: return "F64"; default: return "";
  }
}

bool multiply(std::uint64_t a, std::uint64_t b, std::uint64_t& product) { return !__builtin_mul_overflow(a, b, &product); }

// Names go into messages and onto terminals: no control characters.
bool is_printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

// Reads little-endian numbers from front to back. The first error sticks; after it everything reads as zero.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string_view place) : bytes_(bytes), place_(place) {}

  bool ok() const { return !error_; }
  Error take_error() { return std::move(*error_); }
  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return bytes_.size() - position_; }

  void fail(Code code, std::string_view sentence) {
    if (!error_) error_ = Error{code, fmt::format("{}: {}", place_, sentence)};
  }

  template <class T>
  T number(std::string_view what) {
    T value{};
    if (!need(sizeof value, what)) return value;
    std::memcpy(&value, bytes_.data() + position_, sizeof value);
    position_ += sizeof value;
    return value;
  }

  // In the file's own bytes.
  std::string_view text(std::uint64_t limit, std::string_view what) {
    const auto size = number<std::uint64_t>(what);
    if (!ok()) return {};
    if (size > limit) {
      fail(Code::kTooLarge,
           fmt::format("{} at byte {} is {} bytes long, the limit is {}", what, position_ - 8, size, limit));
      return {};
    }
    if (!need(size, what)) return {};
    const std::string_view result(reinterpret_cast<const char*>(bytes_.data() + position_), size);
    position_ += size;
    return result;
  }

  void skip(std::uint64_t count, std::string_view what) {
    if (need(count, what)) position_ += count;
  }

  std::span<const std::byte> between(std::uint64_t begin, std::uint64_t end) const { return bytes_.subspan(begin, end - begin); }

  bool need(std::uint64_t count, std::string_view what) {
    if (!ok()) return false;
    if (count <= left()) return true;
    fail(Code::kTruncated, fmt::format("{} at byte {} needs {} bytes, the file ends after {}", what, position_, count, left()));
    return false;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view place_;
  std::uint64_t position_ = 0;
  std::optional<Error> error_;
};

// ---- metadata ---------------------------------------------------------------------------------------------------------------

bool read_bool(Cursor& in, std::string_view what) {
  const std::uint64_t position = in.position();
  const auto byte = in.number<std::uint8_t>(what);
  if (byte > 1) in.fail(Code::kBadValue, fmt::format("{} at byte {} is a bool of value {}, expected 0 or 1", what, position, byte));
  return byte == 1;
}

std::int64_t read_signed(Cursor& in, Type type, std::string_view what) {
  switch (type) {
    case Type::kInt8: return in.number<std::int8_t>(what);
    case Type::kInt16: return in.number<std::int16_t>(what);
    case Type::kInt32: return in.number<std::int32_t>(what);
    default: return in.number<std::int64_t>(what);
  }
}

std::uint64_t read_unsigned(Cursor& in, Type type, std::string_view what) {
  switch (type) {
    case Type::kUint8: return in.number<std::uint8_t>(what);
    case Type::kUint16: return in.number<std::uint16_t>(what);
    case Type::kUint32: return in.number<std::uint32_t>(what);
    default: return in.number<std::uint64_t>(what);
  }
}

double read_float(Cursor& in, Type type, std::string_view what) {
  return type == Type::kFloat32 ? static_cast<double>(in.number<float>(what)) : in.number<double>(what);
}

GgufValue read_array(Cursor& in, std::string_view what, std::uint64_t& elements_left) {
  GgufValue value{Type::kArray, {}, GgufArray(0, std::span<const std::byte>())};
  const std::uint64_t position = in.position();
  const auto element = in.number<std::uint32_t>(what);
  const auto count = in.number<std::uint64_t>(what);
  if (!in.ok()) return value;
  if (element > static_cast<std::uint32_t>(Type::kFloat64)) {
    in.fail(Code::kBadValue, fmt::format("{} at byte {} is an array of unknown type {}", what, position, element));
    return value;
  }
  value.element_type = static_cast<Type>(element);
  if (value.element_type == Type::kArray) {
    in.fail(Code::kUnsupported, fmt::format("{} at byte {} is an array of arrays, which is not supported", what, position));
    return value;
  }
  const std::uint64_t limit = std::min(kGgufMaxArrayElements, elements_left);
  if (count > limit) {
    in.fail(Code::kTooLarge, fmt::format("{} at byte {} has {} elements, the limit is {}", what, position + 4, count, limit));
    return value;
  }
  elements_left -= count;
  const std::uint64_t begin = in.position(), least_bytes = value.element_type == Type::kString ? 8 : fixed_bytes(value.element_type);
  if (!in.need(count * least_bytes, what)) return value;  // count <= 2^22: no overflow
  switch (value.element_type) {
    case Type::kString:
      for (std::uint64_t i = 0; i < count && in.ok(); ++i) in.text(kGgufMaxStringBytes, what);
      break;
    case Type::kBool:
      for (std::uint64_t i = 0; i < count && in.ok(); ++i) read_bool(in, what);
      break;
    default: in.skip(count * least_bytes, what);
  }
  if (in.ok()) value.data = GgufArray(count, in.between(begin, in.position()));
  return value;
}

GgufValue read_value(Cursor& in, std::string_view what, std::uint64_t& elements_left) {
  GgufValue value;
  const std::uint64_t position = in.position();
  const auto type = in.number<std::uint32_t>(what);
  if (!in.ok()) return value;
  if (type > static_cast<std::uint32_t>(Type::kFloat64)) {
    in.fail(Code::kBadValue, fmt::format("{} at byte {} has unknown type {}", what, position, type));
    return value;
  }
  value.type = static_cast<Type>(type);
  switch (value.type) {
    case Type::kInt8: case Type::kInt16: case Type::kInt32: case Type::kInt64:
      value.data = read_signed(in, value.type, what);
      break;
    case Type::kUint8: case Type::kUint16: case Type::kUint32: case Type::kUint64:
      value.data = read_unsigned(in, value.type, what);
      break;
    case Type::kFloat32: case Type::kFloat64: value.data = read_float(in, value.type, what); break;
    case Type::kBool: value.data = read_bool(in, what); break;
    case Type::kString: value.data = std::string(in.text(kGgufMaxStringBytes, what)); break;
    case Type::kArray: return read_array(in, what, elements_left);
  }
  return value;
}

// ---- one part ---------------------------------------------------------------------------------------------------------------

struct Part {
  std::uint32_t version = 0;
  std::uint64_t alignment = 32;
  std::vector<std::pair<std::string, GgufValue>> metadata;
  std::vector<GgufTensor> tensors;

  const GgufValue* find(std::string_view key) const {
    for (const auto& [name, value] : metadata)
      if (name == key) return &value;
    return nullptr;
  }
};

// A tensor as described in the header: where its bytes lie is checked when the data section's place is known.
struct Described {
  GgufTensor tensor;
  std::uint64_t offset = 0, size_bytes = 0;
};

std::string list_dimensions(const std::vector<std::int64_t>& shape) { return fmt::format("{}", fmt::join(shape, " x ")); }

Described read_description(Cursor& in, std::uint64_t number) {
  Described described;
  GgufTensor& tensor = described.tensor;
  const std::uint64_t position = in.position();
  tensor.name = in.text(kGgufMaxTensorNameBytes, fmt::format("name of tensor {}", number));
  if (in.ok() && (tensor.name.empty() || !is_printable(tensor.name)))
    in.fail(Code::kBadValue, fmt::format("name of tensor {} at byte {} is empty or has control characters", number, position));
  if (!in.ok()) return described;
  const std::string what = "tensor " + tensor.name;
  const auto dimensions = in.number<std::uint32_t>(what);
  if (in.ok() && (dimensions < 1 || dimensions > 4))
    in.fail(Code::kBadShape, fmt::format("{} has {} dimensions, expected 1 to 4", what, dimensions));
  std::uint64_t count_values = 1;
  for (std::uint32_t i = 0; i < dimensions && in.ok(); ++i) {
    const auto n = in.number<std::uint64_t>(what);
    if (!in.ok()) break;
    if (n == 0) in.fail(Code::kBadShape, fmt::format("{} has a dimension of 0", what));
    else if (n > kInt64Max || !multiply(count_values, n, count_values) || count_values > kInt64Max)
      in.fail(Code::kTooLarge, fmt::format("{} has more values than fit in 63 bits", what));
    else tensor.shape.push_back(static_cast<std::int64_t>(n));
  }
  const auto type = in.number<std::uint32_t>(what);
  described.offset = in.number<std::uint64_t>(what);
  if (!in.ok()) return described;
  tensor.format = find_format(type);
  if (!tensor.format) {
    const std::string_view foreign = name_of_foreign_type(type);
    in.fail(Code::kUnknownFormat, foreign.empty() ? fmt::format("{} has unknown weight format number {}", what, type)
                                                  : fmt::format("{} has weight format {}, which this program does not read", what, foreign));
    return described;
  }
  const auto per_block = static_cast<std::uint64_t>(tensor.format->values_per_block);
  if (static_cast<std::uint64_t>(tensor.shape[0]) % per_block != 0) {
    in.fail(Code::kBadShape, fmt::format("{} ({}) has rows of {} values, which is not a multiple of the {} values of a {} block",
                                         what, list_dimensions(tensor.shape), tensor.shape[0], per_block, tensor.format->name));
    return described;
  }
  if (!multiply(count_values / per_block, static_cast<std::uint64_t>(tensor.format->bytes_per_block), described.size_bytes))
    in.fail(Code::kTooLarge, fmt::format("{} has more bytes than fit in 64 bits", what));
  return described;
}

Status check_alignment(const Part& part, std::string_view place, std::uint64_t& alignment) {
  const GgufValue* value = part.find("general.alignment");
  if (!value) return {};
  const auto* number = std::get_if<std::uint64_t>(&value->data);
  if (value->type != Type::kUint32 || !number)
    return Error{Code::kBadValue, fmt::format("{}: metadata key general.alignment must be a uint32", place)};
  if (!std::has_single_bit(*number) || *number > kGgufMaxAlignment)
    return Error{Code::kBadValue, fmt::format("{}: general.alignment is {}, expected a power of two up to {}", place, *number,
                                              kGgufMaxAlignment)};
  alignment = *number;
  return {};
}

// Sets the view of every tensor; refuses what lies outside the file or on top of another tensor.
Status place_tensors(std::vector<Described>& described, std::span<const std::byte> data, std::uint64_t alignment,
                     std::string_view place) {
  for (Described& one : described) {
    if (one.offset % alignment != 0)
      return Error{Code::kBadValue, fmt::format("{}: tensor {} has offset {}, which is not a multiple of the alignment {}", place,
                                                one.tensor.name, one.offset, alignment)};
    if (one.offset > data.size() || one.size_bytes > data.size() - one.offset)
      return Error{Code::kTruncated, fmt::format("{}: tensor {} needs {} bytes at offset {}, the data section has {}", place,
                                                 one.tensor.name, one.size_bytes, one.offset, data.size())};
    one.tensor.bytes = data.subspan(one.offset, one.size_bytes);
  }
  std::vector<const Described*> order;
  order.reserve(described.size());
  for (const Described& one : described) order.push_back(&one);
  std::sort(order.begin(), order.end(), [](const Described* a, const Described* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i)
    if (order[i - 1]->offset + order[i - 1]->size_bytes > order[i]->offset)
      return Error{Code::kBadValue, fmt::format("{}: tensors {} and {} overlap at offset {}", place, order[i - 1]->tensor.name,
                                                order[i]->tensor.name, order[i]->offset)};
  return {};
}

Status read_version(Cursor& in, Part& part) {
  char magic[4] = {};
  for (char& c : magic) c = in.number<char>("magic");
  if (!in.ok()) return in.take_error();
  if (std::memcmp(magic, "GGUF", 4) != 0) {
    in.fail(Code::kBadMagic, "not a GGUF file: it does not begin with the bytes GGUF");
    return in.take_error();
  }
  part.version = in.number<std::uint32_t>("version");
  if (!in.ok()) return in.take_error();
  if (part.version != 0 && (part.version & 0xffffu) == 0)
    in.fail(Code::kBadVersion, "a big-endian GGUF file, which is not supported");
  else if (part.version != 2 && part.version != 3)
    in.fail(Code::kBadVersion, fmt::format("GGUF version {}, expected 3 or 2", part.version));
  if (!in.ok()) return in.take_error();
  return {};
}

Status read_metadata(Cursor& in, std::uint64_t count, Part& part) {
  std::uint64_t elements_left = 4 * kGgufMaxArrayElements;
  std::map<std::string, bool, std::less<>> seen;
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    const std::uint64_t position = in.position();
    std::string key(in.text(kGgufMaxKeyBytes, fmt::format("metadata key {}", i)));
    if (in.ok() && (key.empty() || !is_printable(key)))
      in.fail(Code::kBadValue, fmt::format("metadata key {} at byte {} is empty or has control characters", i, position));
    if (in.ok() && !seen.emplace(key, true).second)
      in.fail(Code::kBadValue, fmt::format("metadata key {} appears twice", key.substr(0, 200)));
    if (!in.ok()) break;
    GgufValue value = read_value(in, fmt::format("metadata key {}", std::string_view(key).substr(0, 200)), elements_left);
    part.metadata.emplace_back(std::move(key), std::move(value));
  }
  if (!in.ok()) return in.take_error();
  return {};
}

Result<Part> read_part(std::span<const std::byte> bytes, std::string_view place) {
  Part part;
  Cursor in(bytes, place);
  if (Status status = read_version(in, part); !status) return status.error();
  const auto count_tensors = in.number<std::uint64_t>("number of tensors");
  const auto count_keys = in.number<std::uint64_t>("number of metadata keys");
  if (in.ok() && count_tensors > kGgufMaxTensors)
    in.fail(Code::kTooLarge, fmt::format("the header promises {} tensors, the limit is {}", count_tensors, kGgufMaxTensors));
  if (in.ok() && count_keys > kGgufMaxKeys)
    in.fail(Code::kTooLarge, fmt::format("the header promises {} metadata keys, the limit is {}", count_keys, kGgufMaxKeys));
  if (in.ok() && count_tensors * kMinTensorBytes + count_keys * kMinKeyBytes > in.left())
    in.fail(Code::kTruncated, fmt::format("the header promises {} tensors and {} metadata keys, but the file has only {} more bytes",
                                          count_tensors, count_keys, in.left()));
  if (!in.ok()) return in.take_error();
  if (Status status = read_metadata(in, count_keys, part); !status) return status.error();
  if (Status status = check_alignment(part, place, part.alignment); !status) return status.error();

  std::vector<Described> described;
  std::map<std::string, bool, std::less<>> seen;
  for (std::uint64_t i = 0; i < count_tensors && in.ok(); ++i) {
    Described one = read_description(in, i);
    if (!in.ok()) break;
    if (!seen.emplace(one.tensor.name, true).second)
      in.fail(Code::kBadValue, fmt::format("tensor {} appears twice", one.tensor.name));
    described.push_back(std::move(one));
  }
  if (!in.ok()) return in.take_error();

  // The padding before the data may be missing when there is no data (vocabulary-only files).
  const std::uint64_t data_begin = (in.position() + part.alignment - 1) / part.alignment * part.alignment;
  const auto data = data_begin <= bytes.size() ? bytes.subspan(data_begin) : std::span<const std::byte>();
  if (Status status = place_tensors(described, data, part.alignment, place); !status) return status.error();
  part.tensors.reserve(described.size());
  for (Described& one : described) part.tensors.push_back(std::move(one.tensor));
  return part;
}

// ---- files ------------------------------------------------------------------------------------------------------------------

class ParsedGguf final : public GgufFile {
 public:
  ParsedGguf(std::filesystem::path path, Part part, std::uint64_t size_bytes)
      : path_(std::move(path)), parts_{path_}, part_(std::move(part)), size_bytes_(size_bytes) {}

  const std::filesystem::path& path() const override { return path_; }
  const std::vector<std::filesystem::path>& parts() const override { return parts_; }
  std::uint64_t size_bytes() const override { return size_bytes_; }
  std::uint32_t version() const override { return part_.version; }
  std::uint64_t alignment() const override { return part_.alignment; }
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const override { return part_.metadata; }
  const std::vector<GgufTensor>& tensors() const override { return part_.tensors; }

  void forget(std::span<const std::byte> bytes) const override {
    if (!mappings_.empty()) MappedFile::forget(bytes);  // otherwise bytes in memory, which are somebody else's
  }

  void forget_all() const override {
    for (const MappedFile& mapping : mappings_) MappedFile::forget(mapping.bytes());
  }

  void keep(MappedFile mapping) { mappings_.push_back(std::move(mapping)); }

  void add_part(std::filesystem::path path, Part part, std::uint64_t size_bytes) {
    parts_.push_back(std::move(path));
    size_bytes_ += size_bytes;
    for (GgufTensor& tensor : part.tensors) part_.tensors.push_back(std::move(tensor));
  }

  // Call once everything is in place: the indexes point into the metadata and the tensors.
  Status index() {
    for (std::size_t i = 0; i < part_.metadata.size(); ++i) key_index_.emplace(part_.metadata[i].first, i);
    for (std::size_t i = 0; i < part_.tensors.size(); ++i)
      if (!tensor_index_.emplace(part_.tensors[i].name, i).second)
        return Error{Code::kBadValue,
                     fmt::format("{}: tensor {} appears in two parts", path_.string(), part_.tensors[i].name)};
    return {};
  }

 private:
  std::filesystem::path path_;
  std::vector<std::filesystem::path> parts_;
  Part part_;
  std::uint64_t size_bytes_;
  std::vector<MappedFile> mappings_;
};

std::optional<std::int64_t> integer(const Part& part, std::string_view key) {
  const GgufValue* value = part.find(key);
  if (!value) return std::nullopt;
  if (const auto* number = std::get_if<std::int64_t>(&value->data)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(&value->data))
    return *number <= kInt64Max ? static_cast<std::int64_t>(*number) : -1;
  return -1;
}

// The path of part `number` (from 0) of a model whose first part is `path`, or an error when the name does not say so.
Result<std::filesystem::path> path_of_part(const std::filesystem::path& path, std::int64_t number, std::int64_t count) {
  const std::string name = path.filename().string();
  const std::string first = fmt::format("-{:05}-of-{:05}.gguf", 1, count);
  if (!name.ends_with(first))
    return Error{Code::kBadValue, fmt::format("{}: the first of {} parts, so its name should end with {}", path.string(), count, first)};
  const std::string prefix = name.substr(0, name.size() - first.size());
  return path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", prefix, number + 1, count);
}

Status add_other_parts(ParsedGguf& file, const std::filesystem::path& path, std::int64_t count) {
  for (std::int64_t number = 1; number < count; ++number) {
    auto part_path = path_of_part(path, number, count);
    if (!part_path) return part_path.error();
    auto mapping = MappedFile::open(*part_path, "a GGUF file");
    if (!mapping) return mapping.error();
    auto part = read_part(mapping->bytes(), part_path->string());
    if (!part) return part.error();
    if (integer(*part, "split.no") != number || integer(*part, "split.count") != count)
      return Error{Code::kBadValue, fmt::format("{}: expected part {} of {}, but its split.no and split.count say otherwise",
                                                part_path->string(), number + 1, count)};
    file.add_part(*part_path, std::move(*part), mapping->bytes().size());
    file.keep(std::move(*mapping));
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::filesystem::path& path) {
  auto mapping = MappedFile::open(path, "a GGUF file");
  if (!mapping) return mapping.error();
  auto part = read_part(mapping->bytes(), path.string());
  if (!part) return part.error();
  const std::int64_t count = integer(*part, "split.count").value_or(1);
  const std::int64_t number = integer(*part, "split.no").value_or(0);
  const std::optional<std::int64_t> promised = integer(*part, "split.tensors.count");
  if (count < 0 || count > kGgufMaxParts || number < 0 || number >= std::max<std::int64_t>(count, 1))
    return Error{Code::kBadValue, fmt::format("{}: part {} of {} (split.no, split.count) makes no sense; the limit is {} parts",
                                              path.string(), number + 1, count, kGgufMaxParts)};
  if (number != 0)
    return Error{Code::kBadValue, fmt::format("{}: this is part {} of {}; open the first part", path.string(), number + 1, count)};
  auto file = std::make_shared<ParsedGguf>(path, std::move(*part), mapping->bytes().size());
  file->keep(std::move(*mapping));
  if (Status status = add_other_parts(*file, path, count); !status) return status.error();
  if (count > 1 && promised && *promised != static_cast<std::int64_t>(file->tensors().size()))
    return Error{Code::kBadValue, fmt::format("{}: split.tensors.count promises {} tensors, the {} parts hold {}", path.string(),
                                              *promised, count, file->tensors().size())};
  if (Status status = file->index(); !status) return status.error();
  return std::shared_ptr<const GgufFile>(std::move(file));
}

Result<std::shared_ptr<const GgufFile>> GgufFile::parse(std::span<const std::byte> bytes, std::string_view place) {
  auto part = read_part(bytes, place);
  if (!part) return part.error();
  auto file = std::make_shared<ParsedGguf>(std::filesystem::path(place), std::move(*part), bytes.size());
  if (Status status = file->index(); !status) return status.error();
  return std::shared_ptr<const GgufFile>(std::move(file));
}

}  // namespace quantfleet
