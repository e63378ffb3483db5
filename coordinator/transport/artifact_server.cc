#include "coordinator/transport/artifact_server.h"

#include "contract/messages.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

namespace quantfleet::coordinator {
namespace {

ArtifactReply answer(ArtifactDirectory& artifacts, const AgentId&, const FetchChunk& question) {
  Result<std::string> bytes = artifacts.read(question.sha256, question.offset_bytes, kChunkBytes);
  if (!bytes) return ArtifactRefused{question.sha256, bytes.error()};
  return Chunk{question.sha256, question.offset_bytes, artifacts.size_bytes(question.sha256).value_or(0), std::move(*bytes)};
}

ArtifactReply answer(ArtifactDirectory& artifacts, const AgentId& from, const StoreChunk& question) {
  const Result<bool> whole = artifacts.write(from.value, question.sha256, question.offset_bytes, question.size_bytes, question.bytes);
  if (!whole) {
    if (whole.error().code == Code::kDiskFull) fmt::print(stderr, "quantfleet coordinator: {}\n", whole.error().detail);
    return ArtifactRefused{question.sha256, whole.error()};
  }
  return ChunkStored{question.sha256, question.offset_bytes, *whole};
}

}  // namespace

Result<std::unique_ptr<ArtifactServer>> ArtifactServer::start(zmq::context_t& context, const std::string& endpoint, const KeyPair& keys,
                                                              ArtifactDirectory& artifacts) {
  Result<ServerSocket> socket = ServerSocket::bind(context, endpoint, keys, 2 * kChunkBytes);
  if (!socket) return socket.error();
  return std::unique_ptr<ArtifactServer>(new ArtifactServer(std::move(*socket), artifacts));
}

ArtifactServer::ArtifactServer(ServerSocket socket, ArtifactDirectory& artifacts)
    : artifacts_(artifacts), endpoint_(socket.endpoint()), socket_(std::move(socket)), thread_([this] { serve(); }) {}

ArtifactServer::~ArtifactServer() {
  stop_ = true;
  thread_.join();
}

void ArtifactServer::serve() {
  while (!stop_) {
    zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
    zmq::poll(&item, 1, std::chrono::milliseconds(200));
    while (!stop_) {
      const std::optional<Incoming> incoming = socket_.receive();
      if (!incoming) break;
      if (incoming->frames.size() != 2) continue;
      const Result<ArtifactRequest> request =
          decode_artifact_request(incoming->frames[0].to_string_view(), incoming->frames[1].to_string_view());
      const ArtifactReply reply =
          request ? std::visit([&](const auto& question) { return answer(artifacts_, incoming->from, question); }, *request)
                  : ArtifactReply{ArtifactRefused{"", request.error()}};
      const Frames frames = encode(reply);
      socket_.send(incoming->route, frames.header, &frames.bytes);
    }
  }
}

}  // namespace quantfleet::coordinator
