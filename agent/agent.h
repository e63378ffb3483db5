// The agent as a process: the shell around session, outbox and runner. Three threads: this one owns the control socket, the
// session and the outbox (so heartbeats never wait for work or for chunks); a second carries out leases with their artifact
// socket and their runner process; a third samples telemetry.
//
// State directory: keys/agent.{public,secret}, keys/coordinator.public, outbox.log, cache/, work/.
#pragma once

#include "agent/runner/runner_task.h"
#include "contract/error.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace quantfleet::agent {

struct AgentOptions {
  std::string coordinator;                   // "tcp://10.0.0.1:7701"
  std::string coordinator_key;               // Z85 or a file; empty: <state>/keys/coordinator.public
  std::string name;                          // empty: the host's name
  std::map<std::string, std::string> labels;
  std::map<std::string, ServerEngine> engines;  // servers that it measures through, by the names that plans use
  std::filesystem::path state;
  std::filesystem::path suites_root;
  std::filesystem::path selftest_model;      // run at the start, selftest.json beside it; empty: no self-test
  std::filesystem::path seed_artifacts;      // files to use instead of fetching them; empty: none
  std::uint64_t cache_bytes_max = std::uint64_t{64} << 30;
  std::filesystem::path runner_stderr;       // empty: the agent's own
  std::filesystem::path host_lock;           // empty: HostLock::default_prefix()
  std::vector<std::string> runner_program;   // empty: this program again
  std::string kernels;                       // "" = best of this CPU
  int threads = 0;                           // 0 = all cores
  bool pin = false;                          // each thread stays on one processor
};

// Runs until drained (SIGTERM, first SIGINT: finish the lease, take no more), stopped (a second signal: drop the lease) or
// refused by the coordinator. Returns the exit code, 0 after SIGTERM, 130 after SIGINT; prints one line per noteworthy event on stderr.
int run_agent(const AgentOptions& options);

// What the state directory's owner shows to the coordinator's: makes the key pair when there is none yet.
Result<std::string> agent_public_key(const std::filesystem::path& state);

}  // namespace quantfleet::agent
