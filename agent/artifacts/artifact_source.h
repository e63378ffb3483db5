// Where a lease gets its input files and leaves its output: over the network with a cache (artifact_client.h), or straight
// in the coordinator's artifact directory when everything runs in one process (cli/run.cc).
#pragma once

#include "agent/runner/runner_process.h"
#include "contract/error.h"
#include "contract/messages.h"

#include <filesystem>
#include <string>

namespace quantfleet::agent {

class ArtifactSource {
 public:
  virtual ~ArtifactSource() = default;
  // A local file whose bytes have this hash. It stays until the next call of release().
  virtual Result<std::filesystem::path> fetch(const std::string& sha256, const StopFlag& stop) = 0;
  // Hands `file` (of artifact.sha256) over; it is gone from its place afterwards. Done when the other side has verified it.
  virtual Status store(const std::filesystem::path& file, const Artifact& artifact, const StopFlag& stop) = 0;
  // The lease has ended: fetched files may be evicted.
  virtual void release() = 0;
};

}  // namespace quantfleet::agent
