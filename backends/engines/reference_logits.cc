#include "backends/engines/reference_logits.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

namespace quantfleet {
namespace {

static_assert(std::endian::native == std::endian::little, "rows are written as they lie in memory");

constexpr char kMagic[8] = {'Q', 'F', 'R', 'E', 'F', 'L', 'O', 'G'};
constexpr std::uint32_t kVersionWhole = 1, kVersionBrief = 2;
constexpr std::uint32_t kRecordMark = 0x4d455449;  // "ITEM"
constexpr std::size_t kHeaderBytes = 16;           // magic, version, vocabulary
constexpr std::size_t kRecordHeaderBytes = 4 + 32 + 4 + 4 + 8;  // mark, key, context, count of tokens, count of rows

// CRC-32 (IEEE 802.3), reflected polynomial.
std::uint32_t crc32(std::uint32_t crc, const void* data, std::size_t size) {
  static const auto table = [] {
    std::array<std::array<std::uint32_t, 256>, 8> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t c = i;
      for (int bit = 0; bit < 8; ++bit) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[0][i] = c;
    }
    for (std::uint32_t i = 0; i < 256; ++i)
      for (int k = 1; k < 8; ++k) t[k][i] = (t[k - 1][i] >> 8) ^ t[0][t[k - 1][i] & 0xff];
    return t;
  }();
  const auto* p = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; size >= 8; size -= 8, p += 8) {  // eight bytes a step, one table each
    std::uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + 4, 4);
    low ^= crc;
    crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^ table[3][high & 0xff] ^
          table[2][high >> 8 & 0xff] ^ table[1][high >> 16 & 0xff] ^ table[0][high >> 24];
  }
  for (; size > 0; --size, ++p) crc = table[0][(crc ^ *p) & 0xff] ^ (crc >> 8);
  return ~crc;
}

Error io_error(const std::filesystem::path& path, const char* what) {
  const int number = errno;
  const Code code = number == ENOSPC ? Code::kDiskFull : number == EACCES ? Code::kPermission : number == ENOENT ? Code::kNotFound : Code::kIo;
  return {code, fmt::format("{}: {}: {}", path.string(), what, std::strerror(number))};
}

// Of one row, and of the tokens that a record holds: in brief they are not kept, the key stands for them.
std::uint64_t row_size(ReferenceRows rows, std::size_t vocabulary) { return rows == ReferenceRows::kWhole ? std::uint64_t{vocabulary} * 4 : kReferenceRowBytes; }
std::uint64_t tokens_size(ReferenceRows rows, std::int32_t count) { return rows == ReferenceRows::kWhole ? static_cast<std::uint64_t>(count) * 4 : 0; }

struct Header {
  ReferenceRows rows;
  std::uint32_t vocabulary;
};

// Leaves the file behind the header.
Result<Header> read_header(std::FILE* file, const std::filesystem::path& path) {
  const auto bad = [&](Code code, int offset, std::string_view sentence) {
    return Error{code, fmt::format("{}: byte {}: {}", path.string(), offset, sentence)};
  };
  char header[kHeaderBytes];
  const std::size_t got = std::fread(header, 1, kHeaderBytes, file);
  if (got != kHeaderBytes) return bad(Code::kTruncated, static_cast<int>(got), "the file ends inside its header of 16 bytes");
  if (std::memcmp(header, kMagic, sizeof(kMagic)) != 0) return bad(Code::kBadMagic, 0, "these are not reference logits (QFREFLOG)");
  std::uint32_t version, vocabulary;
  std::memcpy(&version, header + 8, 4);
  std::memcpy(&vocabulary, header + 12, 4);
  if (version != kVersionWhole && version != kVersionBrief)
    return bad(Code::kBadVersion, 8, fmt::format("version {}; this program reads versions 1 and 2", version));
  if (vocabulary == 0 || vocabulary > (version == kVersionBrief ? kVocabularyMax : std::size_t{0x7fffffff}))
    return bad(Code::kBadShape, 12, fmt::format("a vocabulary of {} tokens", vocabulary));
  return Header{version == kVersionWhole ? ReferenceRows::kWhole : ReferenceRows::kBrief, vocabulary};
}

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

bool is_reference_logits(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  char magic[sizeof(kMagic)];
  return file && std::fread(magic, 1, sizeof(magic), file.get()) == sizeof(magic) && std::memcmp(magic, kMagic, sizeof(magic)) == 0;
}

Result<ReferenceFacts> read_reference_facts(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, FileCloser> file(std::fopen(path.c_str(), "rb"));
  if (!file) return io_error(path, "cannot be opened");
  const auto header = read_header(file.get(), path);
  if (!header) return header.error();
  ReferenceFacts facts{header->rows, static_cast<int>(header->vocabulary), 0};
  char head[kRecordHeaderBytes];
  if (std::fread(head, 1, kRecordHeaderBytes, file.get()) != kRecordHeaderBytes) return facts;
  std::memcpy(&facts.context_tokens, head + 36, 4);
  if (facts.context_tokens < 4 || facts.context_tokens > 1 << 20)
    return Error{Code::kBadValue, fmt::format("{}: byte {}: a window of {} tokens; 4 to 1048576 are possible", path.string(), kHeaderBytes + 36, facts.context_tokens)};
  return facts;
}

std::string rolling_key(int context_tokens, std::span<const std::int32_t> tokens) {
  std::string bytes(4 + tokens.size_bytes(), '\0');
  std::memcpy(bytes.data(), &context_tokens, 4);
  if (!tokens.empty()) std::memcpy(bytes.data() + 4, tokens.data(), tokens.size_bytes());
  std::string digest(32, '\0');
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &size, EVP_sha256(), nullptr);
  return digest;
}

Result<std::unique_ptr<ReferenceLogitsWriter>> ReferenceLogitsWriter::create(const std::filesystem::path& path, int vocabulary_tokens,
                                                                              ReferenceRows rows) {
  if (rows == ReferenceRows::kBrief && static_cast<std::size_t>(vocabulary_tokens) > kVocabularyMax)
    return Error{Code::kTooLarge, fmt::format("{}: a vocabulary of {} tokens; rows in brief number at most {}", path.string(), vocabulary_tokens, kVocabularyMax)};
  std::unique_ptr<ReferenceLogitsWriter> writer(new ReferenceLogitsWriter);
  writer->path_ = path;
  writer->vocabulary_ = static_cast<std::size_t>(vocabulary_tokens);
  writer->rows_ = rows;
  writer->file_ = std::fopen(path.c_str(), "wb");
  if (!writer->file_) return io_error(path, "cannot be opened for writing");
  const std::uint32_t numbers[2] = {rows == ReferenceRows::kWhole ? kVersionWhole : kVersionBrief, static_cast<std::uint32_t>(vocabulary_tokens)};
  if (auto s = writer->put(kMagic, sizeof(kMagic)); !s) return s.error();
  if (auto s = writer->put(numbers, sizeof(numbers)); !s) return s.error();
  if (std::fflush(writer->file_) != 0) return io_error(path, "cannot be written");
  return writer;
}

ReferenceLogitsWriter::~ReferenceLogitsWriter() {
  if (file_) std::fclose(file_);
}

Status ReferenceLogitsWriter::put(const void* bytes, std::size_t size) {
  if (std::fwrite(bytes, 1, size, file_) != size) return io_error(path_, "cannot be written");
  return {};
}

Status ReferenceLogitsWriter::begin(const std::string& key, int context_tokens, std::span<const std::int32_t> tokens, std::uint64_t count_rows) {
  std::string head(kRecordHeaderBytes, '\0');
  const std::int32_t context = context_tokens, count = static_cast<std::int32_t>(tokens.size());
  std::memcpy(&head[0], &kRecordMark, 4);
  std::memcpy(&head[4], key.data(), 32);
  std::memcpy(&head[36], &context, 4);
  std::memcpy(&head[40], &count, 4);
  std::memcpy(&head[44], &count_rows, 8);
  checksum_ = crc32(0, head.data(), head.size());
  rows_left_ = count_rows;
  std::memcpy(&seed_, key.data(), 8);
  if (auto s = put(head.data(), head.size()); !s) return s;
  if (rows_ == ReferenceRows::kBrief) return {};
  checksum_ = crc32(checksum_, tokens.data(), tokens.size_bytes());
  return put(tokens.data(), tokens.size_bytes());
}

Status ReferenceLogitsWriter::row(std::span<const float> log_probabilities, std::int32_t target) {
  if (rows_left_ == 0 || log_probabilities.size() != vocabulary_)
    return Error{Code::kBadShape, fmt::format("{}: a row too many or of another vocabulary", path_.string())};
  --rows_left_;
  if (rows_ == ReferenceRows::kBrief) {
    const auto bytes = encode(summarize(log_probabilities, target, seed_++));
    checksum_ = crc32(checksum_, bytes.data(), bytes.size());
    return put(bytes.data(), bytes.size());
  }
  checksum_ = crc32(checksum_, log_probabilities.data(), log_probabilities.size_bytes());
  return put(log_probabilities.data(), log_probabilities.size_bytes());
}

Status ReferenceLogitsWriter::finish() {
  if (rows_left_ != 0) return Error{Code::kBadShape, fmt::format("{}: {} rows are missing", path_.string(), rows_left_)};
  if (auto s = put(&checksum_, 4); !s) return s;
  if (std::fflush(file_) != 0) return io_error(path_, "cannot be written");
  return {};
}

Result<std::unique_ptr<ReferenceLogits>> ReferenceLogits::open(const std::filesystem::path& path, int vocabulary_tokens) {
  std::unique_ptr<ReferenceLogits> reader(new ReferenceLogits);
  reader->path_ = path;
  reader->vocabulary_ = static_cast<std::size_t>(vocabulary_tokens);
  reader->file_ = std::fopen(path.c_str(), "rb");
  if (!reader->file_) return io_error(path, "cannot be opened");
  std::FILE* file = reader->file_;
  struct ::stat facts{};
  if (::fstat(::fileno(file), &facts) != 0) return io_error(path, "cannot be read");
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  const auto bad = [&](Code code, std::uint64_t offset, std::string_view sentence) {
    return Error{code, fmt::format("{}: byte {}: {}", path.string(), offset, sentence)};
  };

  const auto header = read_header(file, path);
  if (!header) return header.error();
  if (header->vocabulary != static_cast<std::uint32_t>(vocabulary_tokens))
    return bad(Code::kBadShape, 12, fmt::format("made with a vocabulary of {} tokens; the model has {}", header->vocabulary, vocabulary_tokens));
  reader->rows_ = header->rows;

  for (std::uint64_t offset = kHeaderBytes; offset < size;) {
    char head[kRecordHeaderBytes];
    if (size - offset < kRecordHeaderBytes || std::fseek(file, static_cast<long>(offset), SEEK_SET) != 0 ||
        std::fread(head, 1, kRecordHeaderBytes, file) != kRecordHeaderBytes)
      return bad(Code::kTruncated, offset, "the file ends inside a record's header");
    std::uint32_t mark;
    std::int32_t count_tokens;
    std::uint64_t count_rows;
    std::memcpy(&mark, head, 4);
    std::memcpy(&count_tokens, head + 40, 4);
    std::memcpy(&count_rows, head + 44, 8);
    if (mark != kRecordMark) return bad(Code::kBadValue, offset, "a record must begin with ITEM");
    if (count_tokens < 0) return bad(Code::kBadValue, offset + 40, fmt::format("{} tokens", count_tokens));
    const std::uint64_t row_bytes = row_size(reader->rows_, reader->vocabulary_), left = size - offset - kRecordHeaderBytes;
    const std::uint64_t token_bytes = tokens_size(reader->rows_, count_tokens);
    if (token_bytes + 4 > left || count_rows > (left - token_bytes - 4) / row_bytes)
      return bad(Code::kTruncated, offset, fmt::format("the file ends inside this record of {} rows", count_rows));
    Record record;
    record.offset = offset;
    record.count_rows = count_rows;
    reader->records_.emplace(std::string(head + 4, 32), record);
    offset += kRecordHeaderBytes + token_bytes + count_rows * row_bytes + 4;
  }
  return reader;
}

ReferenceLogits::~ReferenceLogits() {
  if (file_) std::fclose(file_);
}

// Reads the record once from end to end and compares its checksum.
Status ReferenceLogits::check(Record& record) {
  if (std::fseek(file_, static_cast<long>(record.offset), SEEK_SET) != 0) return io_error(path_, "cannot be read");
  std::string buffer(kRecordHeaderBytes, '\0');
  if (std::fread(buffer.data(), 1, buffer.size(), file_) != buffer.size()) return io_error(path_, "cannot be read");
  std::int32_t count_tokens;
  std::memcpy(&count_tokens, buffer.data() + 40, 4);
  std::uint32_t checksum = crc32(0, buffer.data(), buffer.size());
  std::uint64_t left = tokens_size(rows_, count_tokens) + record.count_rows * row_size(rows_, vocabulary_);
  buffer.resize(1 << 20);
  while (left > 0) {
    const std::size_t take = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size()));
    if (std::fread(buffer.data(), 1, take, file_) != take) return io_error(path_, "cannot be read");
    checksum = crc32(checksum, buffer.data(), take);
    left -= take;
  }
  std::uint32_t stored = 0;
  if (std::fread(&stored, 4, 1, file_) != 1) return io_error(path_, "cannot be read");
  if (stored != checksum)
    return Error{Code::kHashMismatch, fmt::format("{}: the record at byte {} is damaged: its checksum is {:08x}, not {:08x}",
                                                  path_.string(), record.offset, checksum, stored)};
  record.checked = true;
  return {};
}

Status ReferenceLogits::seek(const std::string& key, std::uint64_t count_rows) {
  const auto found = records_.find(key);
  if (found == records_.end())
    return Error{Code::kHashMismatch, fmt::format("{}: none of its {} records is for these tokens: the reference logits were made from "
                                                  "another text, window or tokenizer", path_.string(), records_.size())};
  Record& record = found->second;
  if (record.count_rows != count_rows)
    return Error{Code::kBadShape, fmt::format("{}: the record at byte {} has {} rows; {} are needed", path_.string(), record.offset,
                                              record.count_rows, count_rows)};
  if (!record.checked)
    if (auto s = check(record); !s) return s;
  std::int32_t count_tokens = 0;
  if (std::fseek(file_, static_cast<long>(record.offset + 40), SEEK_SET) != 0 || std::fread(&count_tokens, 4, 1, file_) != 1 ||
      std::fseek(file_, static_cast<long>(record.offset + kRecordHeaderBytes + tokens_size(rows_, count_tokens)), SEEK_SET) != 0)
    return io_error(path_, "cannot be read");
  return {};
}

Result<RowDivergence> ReferenceLogits::compare(std::span<const float> model, std::int32_t target) {
  if (rows_ == ReferenceRows::kBrief) {
    std::array<std::byte, kReferenceRowBytes> bytes;
    if (std::fread(bytes.data(), 1, bytes.size(), file_) != bytes.size()) return io_error(path_, "cannot be read");
    ReferenceRow row;
    if (!decode(bytes, vocabulary_, row))
      return Error{Code::kBadValue, fmt::format("{}: byte {}: this is no row in brief", path_.string(), std::ftell(file_) - static_cast<long>(kReferenceRowBytes))};
    return divergence(row, model, target);
  }
  whole_.resize(vocabulary_);
  if (std::fread(whole_.data(), sizeof(float), whole_.size(), file_) != whole_.size()) return io_error(path_, "cannot be read");
  for (const float value : whole_)
    if (!(value <= 0.0f)) return Error{Code::kBadValue, fmt::format("{}: {} is no log-probability", path_.string(), value)};
  return divergence(std::span<const float>(whole_), model, target);
}

}  // namespace quantfleet
