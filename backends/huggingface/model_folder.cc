#include "backends/huggingface/model_folder.h"

#include "backends/formats/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace quantfleet::huggingface {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlock = 512;
constexpr std::size_t kFilesMax = 10'000;

// Where the fields of a header lie.
struct Field {
  std::size_t begin, size;
};
constexpr Field kName = {0, 100}, kMode = {100, 8}, kOwner = {108, 8}, kGroup = {116, 8}, kSize = {124, 12}, kTime = {136, 12}, kSum = {148, 8}, kType = {156, 1},
                kMagic = {257, 6}, kVersion = {263, 2}, kPrefix = {345, 155};

std::string_view text_of(std::span<const std::byte> header, Field field) {
  const std::string_view text(reinterpret_cast<const char*>(header.data()) + field.begin, field.size);
  return text.substr(0, text.find('\0'));
}

// Octal digits, or, from 8 GiB on, a binary number behind a first bit of 1.
bool number_of(std::span<const std::byte> header, Field field, std::uint64_t& number) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(header.data()) + field.begin;
  number = 0;
  if ((bytes[0] & 0x80) != 0) {
    for (std::size_t i = 1; i + 8 < field.size; ++i)
      if (bytes[i] != 0) return false;
    for (std::size_t i = field.size - 8; i < field.size; ++i) number = number << 8 | bytes[i];
    return bytes[0] == 0x80;
  }
  bool any = false;
  for (std::size_t i = 0; i < field.size; ++i) {
    if (bytes[i] == 0 || bytes[i] == ' ') {
      if (any) return true;
      continue;
    }
    if (bytes[i] < '0' || bytes[i] > '7' || number >> 60 != 0) return false;
    number = number << 3 | static_cast<std::uint64_t>(bytes[i] - '0');
    any = true;
  }
  return any;
}

// Of the header's bytes, its own place taken as spaces.
std::uint64_t sum_of(std::span<const std::byte> header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) sum += i >= kSum.begin && i < kSum.begin + kSum.size ? ' ' : static_cast<unsigned char>(header[i]);
  return sum;
}

std::array<char, kBlock> header_of(std::string_view name, std::uint64_t bytes) {
  std::array<char, kBlock> header{};
  const auto put = [&](Field field, std::string_view text) { std::memcpy(header.data() + field.begin, text.data(), std::min(text.size(), field.size)); };
  put(kName, name);
  put(kMode, "0000644");
  put(kOwner, "0000000");
  put(kGroup, "0000000");
  if (bytes < std::uint64_t{1} << 33) {
    put(kSize, fmt::format("{:011o}", bytes));
  } else {
    header[kSize.begin] = static_cast<char>(0x80);
    for (std::size_t i = 0; i < 8; ++i) header[kSize.begin + kSize.size - 1 - i] = static_cast<char>(bytes >> (8 * i) & 0xff);
  }
  put(kTime, "00000000000");
  put(kType, "0");
  put(kMagic, "ustar");
  put(kVersion, "00");
  put(kSum, fmt::format("{:06o}", sum_of(std::as_bytes(std::span(header)))));
  header[kSum.begin + 7] = ' ';
  return header;
}

bool belongs_to_model(std::string_view name) {
  return !name.starts_with('.') && (name.ends_with(".json") || name.ends_with(".safetensors") || name.ends_with(".jinja") || name == "tokenizer.model" || name == "merges.txt");
}

class Directory final : public ModelFolder {
 public:
  Directory(fs::path path, std::vector<std::string> names) : path_(std::move(path)), names_(std::move(names)) {}
  const fs::path& path() const override { return path_; }
  std::string name() const override { return fs::absolute(path_ / "").lexically_normal().parent_path().filename().string(); }
  std::vector<std::string> names() const override { return names_; }
  bool contains(const std::string& name) const override { return std::binary_search(names_.begin(), names_.end(), name); }
  Result<std::span<const std::byte>> bytes(const std::string& name) const override {
    auto found = mapped_.find(name);
    if (found == mapped_.end()) {
      auto file = MappedFile::open(path_ / name, "a file of a model");
      if (!file) return file.error();
      found = mapped_.emplace(name, std::move(*file)).first;
    }
    return found->second.bytes();
  }
  std::vector<fs::path> holders(const std::vector<std::string>& names) const override {
    std::vector<fs::path> paths;
    for (const std::string& name : names) paths.push_back(path_ / name);
    return paths;
  }

 private:
  fs::path path_;
  std::vector<std::string> names_;
  mutable std::map<std::string, MappedFile> mapped_;
};

class Archive final : public ModelFolder {
 public:
  Archive(fs::path path, MappedFile file) : path_(std::move(path)), file_(std::move(file)) {}
  Status read() {
    auto files = files_of_archive(file_.bytes(), name_);
    if (!files) return at(path_.string(), files.error());
    files_ = std::move(*files);
    if (name_.empty()) name_ = path_.stem().string();
    return {};
  }
  const fs::path& path() const override { return path_; }
  std::string name() const override { return name_; }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files_) names.push_back(name);
    return names;
  }
  bool contains(const std::string& name) const override { return files_.contains(name); }
  Result<std::span<const std::byte>> bytes(const std::string& name) const override {
    const auto found = files_.find(name);
    if (found == files_.end()) return Error{Code::kNotFound, fmt::format("{}: no such file in the archive", place(name))};
    return found->second;
  }
  std::vector<fs::path> holders(const std::vector<std::string>&) const override { return {path_}; }

 private:
  fs::path path_;
  MappedFile file_;
  std::string name_;
  std::map<std::string, std::span<const std::byte>> files_;
};

}  // namespace

bool is_model_archive(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[5] = {};
  return file.seekg(static_cast<std::streamoff>(kMagic.begin)) && file.read(magic, sizeof magic) && std::string_view(magic, sizeof magic) == "ustar";
}

Result<std::shared_ptr<const ModelFolder>> ModelFolder::open(const fs::path& path) {
  std::error_code code;
  if (fs::is_directory(path, code)) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(path, code)) {
      std::error_code ignored;
      if (entry.is_regular_file(ignored)) names.push_back(entry.path().filename().string());
    }
    if (code) return Error{Code::kIo, fmt::format("{}: reading the folder failed: {}", path.string(), code.message())};
    std::sort(names.begin(), names.end());
    return std::shared_ptr<const ModelFolder>(std::make_shared<Directory>(path, std::move(names)));
  }
  auto file = MappedFile::open(path, "a model's folder, or an archive of one");
  if (!file) return file.error();
  auto archive = std::make_shared<Archive>(path, std::move(*file));
  if (Status status = archive->read(); !status) return status.error();
  return std::shared_ptr<const ModelFolder>(std::move(archive));
}

Result<std::map<std::string, std::span<const std::byte>>> files_of_archive(std::span<const std::byte> archive, std::string& folder_name) {
  std::map<std::string, std::span<const std::byte>> files;
  std::size_t entries = 0;
  bool first = true;
  for (std::size_t place = 0; place < archive.size();) {
    const auto bad = [&](Code code, std::string_view sentence) { return Error{code, fmt::format("the header at byte {} of the archive {}", place, sentence)}; };
    if (archive.size() - place < kBlock) return Error{Code::kTruncated, fmt::format("the archive ends inside the header at byte {}", place)};
    const std::span<const std::byte> header = archive.subspan(place, kBlock);
    if (std::all_of(header.begin(), header.end(), [](std::byte byte) { return byte == std::byte{0}; })) break;
    if (text_of(header, {kMagic.begin, 5}) != "ustar") return bad(Code::kBadMagic, "has no 'ustar'");
    std::uint64_t bytes = 0, sum = 0;
    if (!number_of(header, kSum, sum) || sum != sum_of(header)) return bad(Code::kBadValue, "has another sum than it says");
    if (!number_of(header, kSize, bytes)) return bad(Code::kBadValue, "has no size");
    if (++entries > kFilesMax) return Error{Code::kTooLarge, fmt::format("the archive holds more than {} files", kFilesMax)};
    const std::size_t begin = place + kBlock;
    if (bytes > archive.size() - begin) return Error{Code::kTruncated, fmt::format("the file of {} bytes at byte {} goes beyond the archive", bytes, begin)};
    const char type = static_cast<char>(header[kType.begin]);
    if (type != '0' && type != '\0' && type != '5') return bad(Code::kUnsupported, "is of an extended kind; `tar --format=ustar` makes archives that are read");
    std::string name(text_of(header, kName));
    if (const std::string_view prefix = text_of(header, kPrefix); !prefix.empty()) name = fmt::format("{}/{}", prefix, name);
    if (name.starts_with("./")) name.erase(0, 2);
    if (type != '5') {
      const std::size_t slash = name.find('/');
      const std::string folder = slash == std::string::npos ? "" : name.substr(0, slash);
      if (first) folder_name = folder, first = false;
      const std::string file = slash == std::string::npos ? name : name.substr(slash + 1);
      if (file.empty() || folder == "..") return bad(Code::kBadValue, "has no name of a file");
      if (folder == folder_name && file.find('/') == std::string::npos) {  // what lies deeper is not the model's
        if (!files.emplace(file, archive.subspan(begin, static_cast<std::size_t>(bytes))).second) return bad(Code::kBadValue, fmt::format("names '{}' a second time", file));
      } else if (folder != folder_name) {
        return bad(Code::kBadValue, fmt::format("is of the folder '{}' and others of '{}'; an archive holds one model", folder, folder_name));
      }
    }
    place = begin + static_cast<std::size_t>((bytes + kBlock - 1) / kBlock * kBlock);
  }
  return files;
}

Status write_model_archive(const ModelFolder& folder, std::string_view name, const fs::path& archive) {
  const auto fail = [&](const char* doing) {
    const std::error_code code(errno, std::generic_category());
    const Code kind = code == std::errc::no_space_on_device ? Code::kDiskFull : code == std::errc::permission_denied ? Code::kPermission : Code::kIo;
    return Error{kind, fmt::format("{}: {} failed: {}", archive.string(), doing, code.message())};
  };
  const int file = ::open(archive.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return fail("creating it");
  const auto write = [&](std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(file, bytes.data(), std::min<std::size_t>(bytes.size(), 1u << 26));
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    return true;
  };
  const std::array<std::byte, 2 * kBlock> zeros{};
  Status status;
  for (const std::string& one : folder.names()) {
    if (!belongs_to_model(one)) continue;
    const auto bytes = folder.bytes(one);
    const std::string full = fmt::format("{}/{}", name, one);
    if (!bytes) {
      status = bytes.error();
    } else if (full.size() > kName.size) {
      status = Error{Code::kUnsupported, fmt::format("{}: the name {} is longer than {} bytes", archive.string(), full, kName.size)};
    } else {
      const std::array<char, kBlock> header = header_of(full, bytes->size());
      if (!write(std::as_bytes(std::span(header))) || !write(*bytes) || !write(std::span(zeros).first((kBlock - bytes->size() % kBlock) % kBlock))) status = fail("writing");
      else MappedFile::forget(*bytes);
    }
    if (!status) break;
  }
  if (status && (!write(zeros) || ::fsync(file) != 0)) status = fail("writing");
  if (::close(file) != 0 && status) status = fail("closing it");
  std::error_code ignored;
  if (!status) fs::remove(archive, ignored);
  return status;
}

}  // namespace quantfleet::huggingface
