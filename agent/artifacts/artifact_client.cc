#include "agent/artifacts/artifact_client.h"

#include "agent/transport/curve.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>

namespace quantfleet::agent {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

Error io_error(const fs::path& path, const char* what) {
  const Code code = errno == ENOSPC || errno == EDQUOT ? Code::kDiskFull : errno == EACCES ? Code::kPermission : Code::kIo;
  return {code, fmt::format("{}: cannot {}: {}", path.string(), what, std::strerror(errno))};
}

class File {
 public:
  File(const fs::path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() { if (fd_ >= 0) ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  std::uint64_t size() const {
    struct stat status{};
    return ::fstat(fd_, &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  }
  bool append(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  bool read(std::string& bytes, std::uint64_t offset) const {
    for (std::size_t got = 0; got < bytes.size();) {
      const ssize_t n = ::pread(fd_, bytes.data() + got, bytes.size() - got, static_cast<off_t>(offset + got));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      got += static_cast<std::size_t>(n);
    }
    return true;
  }

 private:
  int fd_;
};

const std::string& hash_of(const ArtifactReply& reply) {
  return std::visit([](const auto& r) -> const std::string& { return r.sha256; }, reply);
}

}  // namespace

ArtifactClient::ArtifactClient(zmq::context_t& context, ArtifactCache& cache, Options options)
    : context_(context), cache_(cache), options_(std::move(options)) {}

void ArtifactClient::set_endpoint(std::string endpoint) {
  if (endpoint == options_.endpoint) return;
  options_.endpoint = std::move(endpoint);
  socket_.reset();
}

void ArtifactClient::connect() {
  socket_ = std::make_unique<zmq::socket_t>(context_, zmq::socket_type::dealer);
  apply_curve(*socket_, options_.keys, options_.coordinator_key);
  socket_->set(zmq::sockopt::maxmsgsize, static_cast<std::int64_t>(2 * kChunkBytes));
  socket_->connect(options_.endpoint);
}

void ArtifactClient::send(const ArtifactRequest& request) {
  if (!socket_) connect();
  const Frames frames = encode(request);
  socket_->send(zmq::buffer(frames.header), zmq::send_flags::sndmore);
  socket_->send(zmq::buffer(frames.bytes), zmq::send_flags::none);
}

Result<ArtifactReply> ArtifactClient::receive(const std::string& sha256, const StopFlag& stop) {
  const auto deadline = steady_clock::now() + options_.answer_timeout;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0) {
      socket_.reset();  // with everything that is under way in it
      return Error{Code::kTimeout, fmt::format("{}: no answer about artifact {}", options_.endpoint, sha256.substr(0, 12))};
    }
    zmq::pollitem_t items[] = {{socket_->handle(), 0, ZMQ_POLLIN, 0}, {nullptr, stop.fd(), ZMQ_POLLIN, 0}};
    zmq::poll(items, 2, left);
    if (stop.is_set()) {
      socket_.reset();
      return Error{Code::kCancelled, "the transfer was stopped"};
    }
    if (!(items[0].revents & ZMQ_POLLIN)) continue;
    zmq::message_t header, bytes;
    if (!socket_->recv(header, zmq::recv_flags::dontwait)) continue;
    bool whole = header.more() && socket_->recv(bytes, zmq::recv_flags::none).has_value();
    while (whole && bytes.more()) {  // more frames than there should be
      whole = socket_->recv(bytes, zmq::recv_flags::none).has_value();
    }
    Result<ArtifactReply> reply = decode_artifact_reply(header.to_string_view(), bytes.to_string_view());
    if (!reply) return reply.error();
    if (hash_of(*reply) == sha256) return reply;  // else: a late answer to an earlier question
  }
}

Result<fs::path> ArtifactClient::fetch(const std::string& sha256, const StopFlag& stop) {
  if (!is_sha256(sha256)) return Error{Code::kBadValue, fmt::format("\"{:.80}\" is not a SHA-256", sha256)};
  if (std::optional<fs::path> cached = cache_.find(sha256)) return *cached;
  const fs::path path = cache_.partial(sha256);
  File file(path, O_WRONLY | O_CREAT | O_APPEND);
  if (file.fd() < 0) return io_error(path, "write");

  std::uint64_t have = file.size();             // whole chunks or not: bytes arrive in order
  std::optional<std::uint64_t> size;            // known with the first chunk
  std::uint64_t asked = have;                   // next offset to ask for
  std::set<std::uint64_t> open;                 // offsets asked for
  std::map<std::uint64_t, std::string> early;   // arrived before their turn
  int silences = 0;
  while (!size || have < *size) {
    const std::size_t credits = size ? kChunkCredits : 1;
    while (open.size() + early.size() < credits && (!size || asked < *size)) {
      send(FetchChunk{sha256, asked});
      open.insert(asked);
      asked += kChunkBytes;
    }
    Result<ArtifactReply> reply = receive(sha256, stop);
    if (!reply) {
      if (reply.error().code != Code::kTimeout) return reply.error();
      if (++silences >= options_.silences_max) return Error{Code::kUnreachable, reply.error().detail};
      open.clear();
      early.clear();
      asked = have;
      continue;
    }
    if (const auto* refused = std::get_if<ArtifactRefused>(&*reply)) return refused->error;
    auto* chunk = std::get_if<Chunk>(&*reply);
    if (!chunk || !open.erase(chunk->offset_bytes)) continue;
    silences = 0;
    if (size && chunk->size_bytes != *size) return Error{Code::kBadValue, "the artifact's size changed on the way"};
    size = chunk->size_bytes;
    if (have > *size) {  // a partial file that is too long is not a part of this artifact
      if (::ftruncate(file.fd(), 0) != 0) return io_error(path, "empty");
      have = asked = 0;
      open.clear();
      continue;
    }
    const std::uint64_t expected = std::min<std::uint64_t>(kChunkBytes, *size - chunk->offset_bytes);
    if (chunk->offset_bytes > *size || chunk->bytes.size() != expected)
      return Error{Code::kBadValue, fmt::format("a chunk at {} has {} bytes, expected {}", chunk->offset_bytes, chunk->bytes.size(), expected)};
    early[chunk->offset_bytes] = std::move(chunk->bytes);
    for (auto next = early.find(have); next != early.end(); next = early.find(have)) {
      if (!file.append(next->second)) return io_error(path, "write");
      have += next->second.size();
      early.erase(next);
      if (have == *size) break;
    }
  }
  return cache_.admit_partial(sha256);
}

Status ArtifactClient::store(const fs::path& path, const Artifact& artifact, const StopFlag& stop) {
  const File file(path, O_RDONLY);
  if (file.fd() < 0) return io_error(path, "read");
  std::uint64_t asked = 0;
  std::set<std::uint64_t> open;
  int silences = 0;
  bool complete = false;
  while (!complete) {
    while (open.size() < static_cast<std::size_t>(kChunkCredits) && (asked < artifact.size_bytes || (artifact.size_bytes == 0 && open.empty()))) {
      std::string bytes(std::min<std::uint64_t>(kChunkBytes, artifact.size_bytes - asked), '\0');
      if (!file.read(bytes, asked)) return io_error(path, "read");
      send(StoreChunk{artifact.sha256, asked, artifact.size_bytes, artifact.kind, std::move(bytes)});
      open.insert(asked);
      asked += kChunkBytes;
    }
    Result<ArtifactReply> reply = receive(artifact.sha256, stop);
    if (!reply) {
      if (reply.error().code != Code::kTimeout) return reply.error();
      if (++silences >= options_.silences_max) return Error{Code::kUnreachable, reply.error().detail};
      asked = 0;  // the coordinator may have lost what it had: offer all again, it answers "complete" early if not
      open.clear();
      continue;
    }
    if (const auto* refused = std::get_if<ArtifactRefused>(&*reply)) return refused->error;
    const auto* answer = std::get_if<ChunkStored>(&*reply);
    if (!answer) continue;
    open.erase(answer->offset_bytes);
    silences = 0;
    complete = answer->complete;
    if (!complete && open.empty() && asked >= artifact.size_bytes)
      return Error{Code::kIo, fmt::format("artifact {} was stored in whole but not accepted", artifact.sha256.substr(0, 12))};
  }
  if (const auto admitted = cache_.admit(path, artifact.sha256); !admitted) return admitted.error();
  return {};
}

}  // namespace quantfleet::agent
