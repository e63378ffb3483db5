#include "backends/huggingface/sentencepiece_model.h"

#include <fmt/format.h>

#include <cstring>

namespace quantfleet::huggingface {
namespace {

constexpr std::size_t kPiecesMax = 1 << 22, kPieceBytesMax = 1 << 16;

// Fields of one message, one after the other.
class Fields {
 public:
  Fields(std::string_view bytes, std::size_t offset) : begin_(bytes.data()), at_(bytes.data()), end_(bytes.data() + bytes.size()), offset_(offset) {}

  // The next field; false at the end or after an error.
  bool next() {
    if (at_ == end_ || error_) return false;
    const std::uint64_t key = varint();
    number_ = key >> 3;
    switch (key & 7) {
      case 0: value_ = varint(); break;
      case 1: take(8); break;
      case 2: {
        const std::uint64_t size = varint();
        if (!error_ && size > static_cast<std::uint64_t>(end_ - at_)) return fail();
        take(size);
        break;
      }
      case 5: take(4); break;
      default: return fail();
    }
    if (number_ == 0) return fail();
    return !error_;
  }
  std::uint64_t number() const { return number_; }
  std::int64_t integer() const { return static_cast<std::int64_t>(value_); }
  bool flag() const { return value_ != 0; }
  std::string_view bytes() const { return bytes_; }
  float number32() const {
    float value = 0;
    if (bytes_.size() == 4) std::memcpy(&value, bytes_.data(), 4);
    return value;
  }
  std::size_t place() const { return offset_ + static_cast<std::size_t>(bytes_.data() - begin_); }  // of bytes()
  bool error() const { return error_; }
  std::size_t error_place() const { return offset_ + static_cast<std::size_t>(at_ - begin_); }

 private:
  bool fail() {
    error_ = true;
    return false;
  }
  void take(std::uint64_t size) {
    if (error_ || size > static_cast<std::uint64_t>(end_ - at_)) {
      fail();
      return;
    }
    bytes_ = {at_, static_cast<std::size_t>(size)};
    at_ += size;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && at_ != end_; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    fail();
    return 0;
  }

  const char *begin_, *at_, *end_;
  std::size_t offset_;
  std::uint64_t number_ = 0, value_ = 0;
  std::string_view bytes_;
  bool error_ = false;
};

}  // namespace

Result<SentencePieceModel> parse_sentencepiece_model(std::string_view bytes, std::string_view place) {
  const auto bad = [&](Code code, std::string sentence) { return Error{code, fmt::format("{}: {}", place, sentence)}; };
  const auto broken = [&](const Fields& fields) { return bad(Code::kTruncated, fmt::format("byte {}: no field of a SentencePiece model begins here, or it ends too early", fields.error_place())); };
  SentencePieceModel model;
  Fields whole(bytes, 0);
  while (whole.next()) {
    Fields part(whole.bytes(), whole.place());
    if (whole.number() == 1) {  // SentencePiece
      SentencePieceModel::Piece piece;
      while (part.next()) {
        if (part.number() == 1) piece.text = part.bytes();
        if (part.number() == 2) piece.score = part.number32();
        if (part.number() == 3) piece.type = static_cast<int>(part.integer());
      }
      if (piece.type < 1 || piece.type > 6 || !(piece.score - piece.score == 0) || piece.text.size() > kPieceBytesMax)
        return bad(Code::kBadValue, fmt::format("piece {} has type {}, score {} and {} bytes", model.pieces.size(), piece.type, piece.score, piece.text.size()));
      model.pieces.push_back(std::move(piece));
      if (model.pieces.size() > kPiecesMax) return bad(Code::kTooLarge, fmt::format("more than {} pieces", kPiecesMax));
    } else if (whole.number() == 2) {  // TrainerSpec
      while (part.next()) {
        if (part.number() == 3) {
          if (part.integer() < 1 || part.integer() > 4) return bad(Code::kBadValue, fmt::format("model_type is {}; 1 to 4 are known", part.integer()));
          model.kind = static_cast<SentencePieceModel::Kind>(part.integer());
        }
        if (part.number() == 24) model.spaces_behind = part.flag();  // treat_whitespace_as_suffix
        if (part.number() == 40) model.unknown = static_cast<std::int32_t>(part.integer());
        if (part.number() == 41) model.bos = static_cast<std::int32_t>(part.integer());
        if (part.number() == 42) model.eos = static_cast<std::int32_t>(part.integer());
      }
    } else if (whole.number() == 3) {  // NormalizerSpec
      while (part.next()) {
        if (part.number() == 2) model.charsmap = part.bytes();
        if (part.number() == 3) model.adds_space_prefix = part.flag();
        if (part.number() == 4) model.removes_extra_spaces = part.flag();
        if (part.number() == 5) model.escapes_spaces = part.flag();
      }
    }
    if (part.error() && whole.number() <= 3) return broken(part);
  }
  if (whole.error()) return broken(whole);
  if (model.pieces.empty()) return bad(Code::kBadValue, "has no pieces: not a SentencePiece model");
  return model;
}

}  // namespace quantfleet::huggingface
