#include "agent/artifacts/artifact_cache.h"
#include "agent/artifacts/artifact_client.h"
#include "agent/transport/curve.h"
#include "agent/transport/keys.h"
#include "backends/formats/file_hash.h"
#include "tests/folder.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <span>
#include <thread>

using namespace quantfleet;
using namespace quantfleet::agent;
namespace fs = std::filesystem;
using test::Folder, test::contents;

namespace {

std::string hash_of(const std::string& bytes) { return sha256_of_bytes(std::as_bytes(std::span(bytes))); }
void write(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }
// An artifact server with one artifact: answers every question, or leaves some unanswered.
class Server {
 public:
  Server(zmq::context_t& context, std::string bytes, int silent_answers = 0) : keys(make_key_pair()), bytes_(std::move(bytes)), silent_(silent_answers) {
    socket_ = zmq::socket_t(context, zmq::socket_type::router);
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::curve_server, 1);
    socket_.set(zmq::sockopt::curve_secretkey, keys.secret_z85);
    socket_.bind("tcp://127.0.0.1:*");
    endpoint = socket_.get(zmq::sockopt::last_endpoint);
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() { finish(); }
  // Behind it, `stored` belongs to the caller: a slow machine's repeated question could still be answered before.
  void finish() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

  KeyPair keys;
  std::string endpoint;
  std::string stored;
  std::atomic<std::uint64_t> first_offset = std::uint64_t(-1);  // the lowest that was asked for

 private:
  void serve() {
    while (!stop_) {
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      zmq::poll(&item, 1, std::chrono::milliseconds(20));
      if (!(item.revents & ZMQ_POLLIN)) continue;
      zmq::message_t route, header, body;
      (void)socket_.recv(route);
      (void)socket_.recv(header);
      (void)socket_.recv(body);
      if (silent_-- > 0) continue;
      const ArtifactRequest request = decode_artifact_request(header.to_string_view(), body.to_string_view()).value();
      ArtifactReply reply;
      if (const auto* fetch = std::get_if<FetchChunk>(&request)) {
        first_offset = std::min<std::uint64_t>(first_offset, fetch->offset_bytes);
        reply = Chunk{fetch->sha256, fetch->offset_bytes, bytes_.size(), bytes_.substr(fetch->offset_bytes, kChunkBytes)};
      } else {
        const auto& store = std::get<StoreChunk>(request);
        stored.resize(store.offset_bytes);
        stored += store.bytes;
        reply = ChunkStored{store.sha256, store.offset_bytes, stored.size() == store.size_bytes};
      }
      const Frames frames = encode(reply);
      socket_.send(route, zmq::send_flags::sndmore);
      socket_.send(zmq::buffer(frames.header), zmq::send_flags::sndmore);
      socket_.send(zmq::buffer(frames.bytes), zmq::send_flags::none);
    }
  }
  std::string bytes_;
  int silent_;
  zmq::socket_t socket_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

std::string some_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::uint32_t x = 1;
  for (char& byte : bytes) byte = static_cast<char>((x = x * 1664525u + 1013904223u) >> 24);
  return bytes;
}

}  // namespace

TEST_CASE("an artifact arrives in chunks, resumes where it stopped, and is verified", "[artifacts]") {
  Folder folder;
  const std::string bytes = some_bytes(3 * kChunkBytes + 12345), hash = hash_of(bytes);
  zmq::context_t context;
  const int silent = GENERATE(0, 2);
  Server server(context, bytes, silent);
  ArtifactCache cache = ArtifactCache::open({folder.path / "cache", {}, 1u << 30}).value();
  ArtifactClient client(context, cache, {server.endpoint, make_key_pair(), server.keys.public_z85, std::chrono::milliseconds(300), 20});
  StopFlag stop;
  SECTION("from nothing") {
    const auto path = client.fetch(hash, stop);
    REQUIRE(path.has_value());
    CHECK(contents(path.value()) == bytes);
    CHECK(client.fetch(hash, stop).has_value());  // from the cache
  }
  SECTION("from a part") {
    write(cache.partial(hash), bytes.substr(0, 2 * kChunkBytes));
    const auto path = client.fetch(hash, stop);
    REQUIRE(path.has_value());
    CHECK(contents(path.value()) == bytes);
    CHECK(server.first_offset == 2 * kChunkBytes);  // however often a slow machine repeats its questions
  }
  SECTION("from a damaged part: refused, then fetched whole") {
    write(cache.partial(hash), "x" + bytes.substr(1, kChunkBytes - 1));
    const auto path = client.fetch(hash, stop);
    REQUIRE_FALSE(path.has_value());
    CHECK(path.error().code == Code::kHashMismatch);
    CHECK(client.fetch(hash, stop).has_value());
  }
}

TEST_CASE("an artifact is stored in chunks and kept in the cache", "[artifacts]") {
  Folder folder;
  const std::string bytes = some_bytes(2 * kChunkBytes + 7), hash = hash_of(bytes);
  zmq::context_t context;
  Server server(context, "");
  ArtifactCache cache = ArtifactCache::open({folder.path / "cache", {}, 1u << 30}).value();
  ArtifactClient client(context, cache, {server.endpoint, make_key_pair(), server.keys.public_z85, std::chrono::milliseconds(1000), 5});
  write(folder.path / "made", bytes);
  StopFlag stop;
  REQUIRE(client.store(folder.path / "made", Artifact{hash, bytes.size(), "model", {}}, stop).has_value());
  server.finish();
  CHECK(server.stored == bytes);
  CHECK(cache.find(hash).has_value());
}

TEST_CASE("the least recently used artifacts go first, the pinned ones stay", "[artifacts]") {
  Folder folder;
  ArtifactCache cache = ArtifactCache::open({folder.path / "cache", {}, 250}).value();
  const auto admit = [&](char letter) {
    const std::string bytes(100, letter);
    write(folder.path / "file", bytes);
    REQUIRE(cache.admit(folder.path / "file", hash_of(bytes)).has_value());
    return hash_of(bytes);
  };
  const std::string a = admit('a');
  cache.unpin_all();
  fs::last_write_time(folder.path / "cache" / a, fs::file_time_type::clock::now() - std::chrono::hours(1));
  const std::string b = admit('b');
  SECTION("by age") {
    const std::string c = admit('c');
    CHECK(cache.hashes().size() == 2);
    CHECK_FALSE(cache.find(a).has_value());
  }
  SECTION("what the lease uses is never evicted") {
    CHECK(cache.find(a).has_value());
    const std::string c = admit('c');
    CHECK(cache.hashes().size() == 3);
  }
}

TEST_CASE("a seeded file is found by its hash, whatever its name", "[artifacts]") {
  Folder folder;
  fs::create_directories(folder.path / "seed");
  write(folder.path / "seed/my model.gguf", "weights");
  ArtifactCache cache = ArtifactCache::open({folder.path / "cache", folder.path / "seed", 1u << 20}).value();
  const auto path = cache.find(hash_of("weights"));
  REQUIRE(path.has_value());
  CHECK(contents(*path) == "weights");
  CHECK_FALSE(cache.find(hash_of("other")).has_value());
  CHECK_FALSE(cache.find("../../etc/passwd").has_value());
}

TEST_CASE("key pairs survive as files, a damaged one is named", "[keys]") {
  Folder folder;
  const KeyPair made = read_or_make_key_pair(folder.path / "keys/agent").value();
  CHECK(is_z85_key(made.public_z85));
  CHECK(read_key_pair(folder.path / "keys/agent").value().secret_z85 == made.secret_z85);
  CHECK(public_key_from((folder.path / "keys/agent.public").string()).value() == made.public_z85);
  CHECK_FALSE(write_key_pair(folder.path / "keys/agent", made).has_value());
  CHECK((fs::status(folder.path / "keys/agent.secret").permissions() & fs::perms::others_read) == fs::perms::none);
  write(folder.path / "keys/agent.secret", "nonsense");
  const auto damaged = read_key_pair(folder.path / "keys/agent");
  REQUIRE_FALSE(damaged.has_value());
  CHECK(damaged.error().detail.find("agent.secret") != std::string::npos);
}

TEST_CASE("an artifact socket announced without a host is on the coordinator's host", "[transport]") {
  CHECK(resolve_endpoint("tcp://*:7412", "tcp://10.0.0.1:7410") == "tcp://10.0.0.1:7412");
  CHECK(resolve_endpoint("tcp://0.0.0.0:7412", "tcp://lab:7410") == "tcp://lab:7412");
  CHECK(resolve_endpoint("tcp://:7412", "tcp://[::1]:7410") == "tcp://[::1]:7412");
  CHECK(resolve_endpoint("tcp://10.0.0.9:7412", "tcp://10.0.0.1:7410") == "tcp://10.0.0.9:7412");
}
