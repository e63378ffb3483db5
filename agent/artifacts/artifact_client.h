// The agent's end of the artifact socket: chunks of files by hash, in and out, at most kChunkCredits questions open. Blocking;
// used by the thread that carries out leases, which owns the socket. Interrupted transfers resume where they stopped.
#pragma once

#include "agent/artifacts/artifact_cache.h"
#include "agent/artifacts/artifact_source.h"
#include "agent/transport/keys.h"

#include <chrono>
#include <memory>
#include <string>

#include <zmq.hpp>

namespace quantfleet::agent {

class ArtifactClient : public ArtifactSource {
 public:
  struct Options {
    std::string endpoint;                       // "tcp://10.0.0.1:7702"
    KeyPair keys;
    std::string coordinator_key;                // Z85
    std::chrono::milliseconds answer_timeout{5000};   // silence: connect again and ask again ...
    int silences_max = 6;                             // ... this often
  };
  ArtifactClient(zmq::context_t& context, ArtifactCache& cache, Options options);

  Result<std::filesystem::path> fetch(const std::string& sha256, const StopFlag& stop) override;
  Status store(const std::filesystem::path& file, const Artifact& artifact, const StopFlag& stop) override;
  void release() override { cache_.unpin_all(); }

  void set_endpoint(std::string endpoint);      // the coordinator came back elsewhere; same thread

 private:
  void connect();
  void send(const ArtifactRequest& request);
  // The next reply about `sha256`; kTimeout after answer_timeout, kCancelled when stopped.
  Result<ArtifactReply> receive(const std::string& sha256, const StopFlag& stop);

  zmq::context_t& context_;
  ArtifactCache& cache_;
  Options options_;
  std::unique_ptr<zmq::socket_t> socket_;
};

}  // namespace quantfleet::agent
