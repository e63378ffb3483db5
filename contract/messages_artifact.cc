// Questions and answers of the artifact socket: a small JSON header and a frame of raw bytes.
#include "contract/message_fields.h"

namespace quantfleet {
namespace {

constexpr std::size_t kHeaderBytesMax = 64u << 10;

}  // namespace

// Offsets and sizes stay below a petabyte, so that offset + chunk never overflows.
template <class Io>
void fields(Io& io, FetchChunk& m) {
  io.hash("sha256", m.sha256);
  io.integer("offset_bytes", m.offset_bytes, 0, limits::kBytesMax);
}

template <class Io>
void fields(Io& io, StoreChunk& m) {
  io.hash("sha256", m.sha256);
  io.integer("offset_bytes", m.offset_bytes, 0, limits::kBytesMax);
  io.integer("size_bytes", m.size_bytes, 0, limits::kBytesMax);
  io.text("kind", m.kind, fields_io::kWord);
}

template <class Io>
void fields(Io& io, Chunk& m) {
  io.hash("sha256", m.sha256);
  io.integer("offset_bytes", m.offset_bytes, 0, limits::kBytesMax);
  io.integer("size_bytes", m.size_bytes, 0, limits::kBytesMax);
}

template <class Io>
void fields(Io& io, ChunkStored& m) {
  io.hash("sha256", m.sha256);
  io.integer("offset_bytes", m.offset_bytes, 0, limits::kBytesMax);
  io.flag("complete", m.complete);
}

template <class Io>
void fields(Io& io, ArtifactRefused& m) {
  io.text("sha256", m.sha256, 64);
  io.object("error", m.error);
}

namespace {

std::string bytes_of(const StoreChunk& m) { return m.bytes; }
std::string bytes_of(const Chunk& m) { return m.bytes; }
std::string bytes_of(const auto&) { return {}; }

// The raw frame belongs to chunks only, is at most kChunkBytes and stays inside the artifact.
template <class T>
Status attach(T& message, std::string_view bytes) {
  if constexpr (requires { message.bytes; }) {
    if (bytes.size() > kChunkBytes)
      return Error{Code::kTooLarge, fmt::format("a chunk of {} bytes, at most {}", bytes.size(), kChunkBytes)};
    if (message.offset_bytes > message.size_bytes || bytes.size() > message.size_bytes - message.offset_bytes) {
      return Error{Code::kBadValue, fmt::format("{} bytes at offset {} do not fit an artifact of {} bytes", bytes.size(),
                                                message.offset_bytes, message.size_bytes)};
    }
    message.bytes = std::string(bytes);
  } else if (!bytes.empty()) {
    return Error{Code::kBadValue, "a second frame with bytes, where none belongs"};
  }
  return {};
}

template <class Variant>
Frames encode_frames(const Variant& message) {
  return {encode_variant(message), std::visit([](const auto& m) { return bytes_of(m); }, message)};
}

template <class Variant>
Result<Variant> decode_frames(std::string_view header, std::string_view bytes) {
  Result<Variant> message = decode_variant<Variant>(header, kHeaderBytesMax);
  if (!message) return message;
  const Status attached = std::visit([&](auto& m) { return attach(m, bytes); }, *message);
  if (!attached) return attached.error();
  return message;
}

}  // namespace

inline constexpr const char* tag_of(const FetchChunk*) { return "fetch_chunk"; }
inline constexpr const char* tag_of(const StoreChunk*) { return "store_chunk"; }
inline constexpr const char* tag_of(const Chunk*) { return "chunk"; }
inline constexpr const char* tag_of(const ChunkStored*) { return "chunk_stored"; }
inline constexpr const char* tag_of(const ArtifactRefused*) { return "artifact_refused"; }

Frames encode(const ArtifactRequest& request) { return encode_frames(request); }
Frames encode(const ArtifactReply& reply) { return encode_frames(reply); }

Result<ArtifactRequest> decode_artifact_request(std::string_view header, std::string_view bytes) {
  return decode_frames<ArtifactRequest>(header, bytes);
}

Result<ArtifactReply> decode_artifact_reply(std::string_view header, std::string_view bytes) {
  return decode_frames<ArtifactReply>(header, bytes);
}

}  // namespace quantfleet
