// The artifact socket on its own thread: chunks of the artifact directory, in and out, so that heartbeats never wait
// behind a model file. Agents bound the chunks under way themselves (kChunkCredits); each question has one answer.
#pragma once

#include "coordinator/artifacts/artifact_directory.h"
#include "coordinator/transport/server_socket.h"

#include <atomic>
#include <memory>
#include <thread>

namespace quantfleet::coordinator {

class ArtifactServer {
 public:
  static Result<std::unique_ptr<ArtifactServer>> start(zmq::context_t& context, const std::string& endpoint, const KeyPair& keys,
                                                       ArtifactDirectory& artifacts);
  ~ArtifactServer();
  const std::string& endpoint() const { return endpoint_; }

 private:
  ArtifactServer(ServerSocket socket, ArtifactDirectory& artifacts);
  void serve();

  ArtifactDirectory& artifacts_;
  std::string endpoint_;
  ServerSocket socket_;   // used by thread_ only
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace quantfleet::coordinator
